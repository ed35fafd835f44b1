#!/usr/bin/env bash
# Installs what the build and the tests need from Debian, if it is missing. Rust comes from rustup (https://rustup.rs).
set -euo pipefail

missing=()
need() { # need PROGRAM PACKAGE
    command -v "$1" >/dev/null || missing+=("$2")
}
need cc build-essential
need c++ build-essential
need make make
need cmake cmake
need git git
need ffmpeg ffmpeg
need ffprobe ffmpeg
need mkvinfo mkvtoolnix
need setpriv util-linux
need flock util-linux
need curl curl
need node nodejs
need npm npm
python_works() {
    for python in python3.11 python3.12 python3.13 python3; do
        "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && return
    done
    return 1
}
python_works || missing+=(python3 python3-venv)

if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" -ne 0 ]; then
        echo "ci-setup: missing ${missing[*]}; run: sudo apt-get install ${missing[*]}" >&2
        exit 1
    fi
    apt-get update --quiet
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends "${missing[@]}"
fi
command -v cargo >/dev/null || { echo "ci-setup: Rust is missing; install it from https://rustup.rs" >&2; exit 1; }
