#!/usr/bin/env bash
# Tests scripts/setup.sh and the Makefile's first step, whatever this machine has: each case runs with a PATH that holds a few everyday
# programs, and stand-ins for those that install things and write down how they were called.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failures=0

fail() {
    echo "test-setup: $case: $1" >&2
    sed 's/^/    | /' "$folder/out" >&2
    failures=$((failures + 1))
}

# script NAME BODY: a stand-in on the case's PATH.
script() { printf '#!%s\n%s\n' "$(type -P bash)" "$2" >"$folder/bin/$1" && chmod +x "$folder/bin/$1"; }

# A machine with a C compiler, Python and Rust, but without cmake, ffmpeg, mkvtoolnix and node; its user is root.
machine() { # machine CASE SYSTEM VERSION
    case=$1
    rm -rf "${folder:?}/bin" && mkdir "$folder/bin" && : >"$folder/calls" && : >"$folder/out"
    for program in awk bash cat chmod cut dirname env head make sed sh sort touch true; do
        ln -s "$(type -P "$program")" "$folder/bin/$program"
    done
    for program in cc c++ python3 flock setpriv git curl kill; do script "$program" 'exit 0'; done
    printf 'ID=%s\nVERSION_ID="%s"\nPRETTY_NAME="%s %s"\n' "$2" "$3" "$2" "$3" >"$folder/os-release"
    script uname "echo Linux"
    script id "echo 0"
    script cargo "[ \"\$1\" = --version ] && echo 'cargo 1.95.0 (of a test)' || echo cargo \"\$@\" >>'$folder/calls'"
    # Installs by putting the packages' programs on the PATH.
    script apt-get "echo apt-get \"\$@\" >>'$folder/calls'
        for package in \"\$@\"; do
            case \$package in
                cmake) programs=cmake ;; ffmpeg) programs='ffmpeg ffprobe' ;; mkvtoolnix) programs=mkvinfo ;;
                nodejs) programs=node ;; npm) programs=npm ;;
                gstreamer1.0-tools) programs='gst-launch-1.0 gst-inspect-1.0' ;; *) programs= ;;
            esac
            for program in \$programs; do touch '$folder/bin/'\$program && chmod +x '$folder/bin/'\$program; done
        done"
}

# An ordinary user; the password for sudo: none, asked, or no sudo at all.
user() {
    script id "echo 1000"
    case $1 in
        none) script sudo "[ \"\$1\" = -n ] && shift && exec \"\$@\"" ;;
        asked) script sudo "echo sudo \"\$@\" >>'$folder/asked'; echo 'sudo: a password is required' >&2; exit 1" ;;
    esac
}

# expect CODE COMMAND...: runs it on the machine.
expect() {
    local code=0
    (cd "$root" && env -i PATH="$folder/bin" HOME="$folder" OS_RELEASE="$folder/os-release" "${@:2}") >"$folder/out" 2>&1 || code=$?
    [ "$code" -eq "$1" ] || fail "exit code $code of ${*:2}, expected $1"
}
says() { grep -qF -- "$1" "$folder/out" || fail "did not say: $1"; }
called() { [ "$(cat "$folder/calls")" = "$1" ] || fail "called $(cat "$folder/calls"), expected: $1"; }

apt() { printf 'apt-get update\napt-get install --yes --no-install-recommends %s' "$1"; }
for system in 'debian 12' 'debian 13' 'ubuntu 24.04'; do
    for who in root 'a user whose sudo asks for no password'; do
        # shellcheck disable=SC2086 # a name and a version
        machine "$system, $who" $system
        [ "$who" = root ] || user none
        expect 0 scripts/setup.sh demo
        called "$(apt cmake)"
        expect 0 scripts/setup.sh demo # now there: nothing is installed again
        called "$(apt cmake)"
        expect 0 scripts/setup.sh check test
        called "$(apt cmake && echo && apt 'ffmpeg mkvtoolnix nodejs npm gstreamer1.0-tools gstreamer1.0-plugins-good')"
    done
done

for sudo in asked missing; do
    machine "a user, sudo: $sudo" debian 12
    user "$sudo"
    as_root='sudo sh'
    [ "$sudo" = asked ] || as_root=su
    expect 2 make demo
    says "missing: cmake."
    says "    $as_root -c 'apt-get update && apt-get install --yes --no-install-recommends cmake'"
    called '' # neither apt-get nor a build
    expect 2 make test
    says "    $as_root -c 'apt-get update && apt-get install --yes --no-install-recommends cmake ffmpeg mkvtoolnix nodejs npm gstreamer1.0-tools gstreamer1.0-plugins-good'"
    called ''
done

machine 'apt-get fails' debian 12
script apt-get 'exit 100'
expect 2 scripts/setup.sh demo
says "could not install cmake"

machine 'apt-get installs something else' debian 12
script apt-get 'exit 0'
expect 2 scripts/setup.sh demo
says "still missing: cmake"

machine 'Python without venv' debian 12
script python3 'exit 1'
user missing
expect 2 scripts/setup.sh demo
says "install --yes --no-install-recommends cmake python3-venv'"

machine 'an unknown system' fedora 43
expect 2 make demo
says "missing: cmake. How to install them on fedora 43 is not known here"
called ''
touch "$folder/bin/cmake" && chmod +x "$folder/bin/cmake"
expect 0 scripts/setup.sh demo # nothing is missing, so the system does not matter

machine 'macOS with Homebrew' - -
script uname 'echo Darwin'
script brew "echo brew \"\$@\" >>'$folder/calls'"
rm "$folder/bin/setpriv" # macOS has none, and can do without
expect 2 make test
says "missing: cmake ffmpeg ffprobe mkvinfo node npm gst-launch-1.0 matroskademux. Type this"
says "brew bundle --file '$root/Brewfile'"
called ''

machine 'no Rust' debian 13
rm "$folder/bin/cargo"
expect 2 scripts/setup.sh demo
says "Rust is missing; get it from https://rustup.rs"

machine 'Rust without the pinned toolchain' debian 13
script cargo "[ -e '$folder/bin/toolchain' ] && echo 'cargo 1.95.0 (of a test)'"
script rustup "echo rustup \"\$@\" >>'$folder/calls'; touch '$folder/bin/toolchain'"
expect 0 scripts/setup.sh build
called "$(apt cmake && echo && echo rustup toolchain install)"

machine "a distribution's old Rust" debian 13
script cargo "echo 'cargo 1.85.0 (of a test)'"
expect 2 scripts/setup.sh build
says "Rust 1.85.0 is too old"

machine 'a command that is none' debian 12
expect 2 scripts/setup.sh tset
says "tset is unknown"
called ''

case='the Brewfile'
wanted=$(sed -n "/^table()/,/^}/p" "$root/scripts/setup.sh" | awk 'NF >= 4 && $3 != "-" && $3 != "xcode" { print $3 }' | sort -u)
[ "$wanted" = "$(sed -n 's/^brew "\(.*\)"/\1/p' "$root/Brewfile" | sort -u)" ] || fail "does not list what the table of setup.sh names"

# What `make demo` compiles is what `make test` needs, features and all (tests/end-to-end/Cargo.toml): else dependencies are compiled twice.
case='features of the dependencies'
features() {
    (cd "$root" && cargo tree --locked --workspace --prefix none --edges "$1" --format '{p} {f}') | grep -v ' (\*)$' | sort -u
}
features normal,build >"$folder/programs"
features normal,build,dev >"$folder/everything"
comm -23 "$folder/programs" "$folder/everything" >"$folder/out"
[ ! -s "$folder/out" ] || fail "these have more features in tests; name those in tests/end-to-end/Cargo.toml"

[ "$failures" -eq 0 ] || exit 1
echo "test-setup: set-up is right on Debian, Ubuntu, macOS and elsewhere"
