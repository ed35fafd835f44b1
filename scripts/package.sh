#!/usr/bin/env bash
# Builds the functions as Lambda runs them and packs each into a zip whose bytes depend on the sources alone.
set -euo pipefail

usage() {
    cat <<'EOF'
usage: scripts/package.sh [-h] [--arch x86_64|arm64|all] [--out FOLDER] [--from FOLDER]

Builds the functions and puts into FOLDER/ARCH (target/package by default):
  NAME.zip      one stripped file named bootstrap, for the runtime provided.al2023
  sbom.cdx.json CycloneDX list of everything that is linked
  SHA256SUMS    checksums of all of these
and, beside them, NAME/bootstrap as the template's CodeUri wants it.

The same sources give the same bytes, in whatever folder they lie: paths are remapped, times are fixed, names are sorted.

  --arch   what to build for (default: all whose Rust target is installed: rustup target add aarch64-unknown-linux-gnu)
  --out    where the packages go
  --from   pack the binaries of this folder and build nothing (x86_64 only; for tests)

arm64 is cross-compiled with cargo-zigbuild where it is installed (pip install cargo-zigbuild), otherwise with a gcc for aarch64.
EOF
}

root=$(cd "$(dirname "$0")/.." && pwd)
out=$root/target/package
arch=all
from=
functions=(connection-handler kvs-stream-writer session-authorizer sweep)
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) usage && exit 0 ;;
        --arch) arch=${2:?--arch needs a value} && shift 2 ;;
        --out) out=$(mkdir -p "${2:?--out needs a folder}" && cd "$2" && pwd) && shift 2 ;;
        --from) from=$(cd "${2:?--from needs a folder}" && pwd) && shift 2 ;;
        *) echo "package: $1 is unknown; -h explains" >&2 && exit 2 ;;
    esac
done
cd "$root"

target_of() {
    case $1 in
        x86_64) echo x86_64-unknown-linux-gnu ;;
        arm64) echo aarch64-unknown-linux-gnu ;;
        *) echo "package: the architecture $1 is none of x86_64, arm64" >&2 && exit 2 ;;
    esac
}

is_installed() { [ -d "$(rustc --print sysroot)/lib/rustlib/$1/lib" ]; }

# Paths of this machine get into panic messages and, through __FILE__, into C objects: both are mapped to names that every machine
# has. The build id would be a hash over debug sections that are stripped afterwards.
build() { # build TARGET
    local cargo_home=${CARGO_HOME:-$HOME/.cargo} target_dir=${CARGO_TARGET_DIR:-$root/target}
    local maps=("$root=/src" "$target_dir=/target" "$cargo_home=/cargo" "$(rustc --print sysroot)=/rust")
    local rust_flags=() c_flags=()
    for map in "${maps[@]}"; do
        rust_flags+=("--remap-path-prefix=$map")
        c_flags+=("-ffile-prefix-map=$map")
    done
    rust_flags+=("-Clink-arg=-Wl,--build-id=none")
    local command=(cargo build) target=$1
    if [ "$1" = aarch64-unknown-linux-gnu ] && command -v cargo-zigbuild >/dev/null; then
        command=(cargo zigbuild) target=$1.2.34 # glibc of provided.al2023
    fi
    # Encoded flags replace those of the configuration, so nothing of this machine's own gets in.
    CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f' && echo "${rust_flags[*]}") CFLAGS="${c_flags[*]}" CXXFLAGS="${c_flags[*]}" \
        CARGO_INCREMENTAL=0 SOURCE_DATE_EPOCH=315532800 \
        "${command[@]}" --release --locked --package functions --target "$target"
}

pack() { # pack FOLDER-OF-BINARIES FOLDER
    rm -rf "$2" && mkdir -p "$2"
    for name in "${functions[@]}"; do
        [ -f "$1/$name" ] || { echo "package: $1/$name is missing" >&2 && exit 1; }
        mkdir -p "$2/$name"
        strip -o "$2/$name/bootstrap" "$1/$name" 2>/dev/null || cp "$1/$name" "$2/$name/bootstrap" # another machine's are stripped already
    done
    python3 scripts/package_zip.py "$2" "${functions[@]}"
    python3 scripts/package_sbom.py "$2/sbom.cdx.json"
    (cd "$2" && sha256sum ./*.zip sbom.cdx.json | sed 's|\./||' >SHA256SUMS)
    (cd "$2" && sha256sum --check --quiet SHA256SUMS && wc -c ./*.zip | sed 's|\./||')
}

if [ -n "$from" ]; then
    pack "$from" "$out/x86_64"
    exit
fi
case $arch in all) wanted=(x86_64 arm64) ;; *) wanted=("$arch") ;; esac
for one in "${wanted[@]}"; do
    target=$(target_of "$one")
    if ! is_installed "$target"; then
        echo "package: no $one, since the Rust target is not installed: rustup target add $target" >&2
        [ "$arch" = all ] && continue
        exit 1
    fi
    build "$target"
    pack "${CARGO_TARGET_DIR:-$root/target}/$target/release" "$out/$one"
done
