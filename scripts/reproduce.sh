#!/usr/bin/env bash
# Shows that the packages depend on the sources alone: builds the last commit in two other folders and compares the bytes.
set -euo pipefail

usage() {
    cat <<'EOF'
usage: scripts/reproduce.sh [-h] [--arch x86_64|arm64]

Clones the last commit into two temporary folders of different names, runs scripts/package.sh in each with a target folder of its own, and
compares all that comes out. Takes two release builds from nothing, half an hour on two cores.
EOF
}

root=$(cd "$(dirname "$0")/.." && pwd)
arch=x86_64
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) usage && exit 0 ;;
        --arch) arch=${2:?--arch needs a value} && shift 2 ;;
        *) echo "reproduce: $1 is unknown; -h explains" >&2 && exit 2 ;;
    esac
done
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for name in one another-and-longer; do
    git clone --quiet "$root" "$folder/$name/source"
    (cd "$folder/$name/source" && CARGO_TARGET_DIR="$folder/$name/build" scripts/package.sh --arch "$arch" --out "$folder/$name/package")
done
cd "$folder"
diff --recursive --brief one/package another-and-longer/package || { echo "reproduce: the packages differ" >&2 && exit 1; }
cat "one/package/$arch/SHA256SUMS"
echo "reproduce: the same bytes from two folders"
