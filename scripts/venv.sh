#!/usr/bin/env bash
# Makes the project's own Python environment .venv-NAME from scripts/requirements-NAME.txt and prints its Python.
# Does nothing when the environment already holds exactly these requirements, so it may be called before every use.
#
#   scripts/venv.sh ministack | localstack | tools
set -euo pipefail

name=${1:?usage: scripts/venv.sh NAME, where scripts/requirements-NAME.txt exists}
root=$(cd "$(dirname "$0")/.." && pwd)
requirements=$root/scripts/requirements-$name.txt
venv=$root/.venv-$name
stamp=$venv/requirements.sha256
[ -f "$requirements" ] || { echo "venv.sh: no $requirements" >&2; exit 2; }

fresh() { [ -f "$stamp" ] && sha256sum --status --check "$stamp" 2>/dev/null; }

find_python() {
    for candidate in python3.11 python3.12 python3.13 python3; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "venv.sh: needs Python 3.11 or newer with venv (Debian: apt-get install python3-venv)" >&2
    exit 1
}

if ! fresh; then
    exec 9>"$root/.venv-$name.lock"
    flock 9 # one builder at a time; the others wait and then find it fresh
    if ! fresh; then
        echo "venv.sh: building .venv-$name (once)" >&2
        rm -rf "$venv"
        "$(find_python)" -m venv "$venv" >&2
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements" >&2
        sha256sum "$requirements" >"$stamp"
    fi
fi
echo "$venv/bin/python"
