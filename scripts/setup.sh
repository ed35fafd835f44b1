#!/usr/bin/env bash
# Makes sure of the programs that a command of the Makefile needs; the Makefile calls it first.
set -euo pipefail

usage() {
    cat <<'END'
usage: scripts/setup.sh [-h] COMMAND...

Makes sure of what `make COMMAND` needs; COMMAND is one of build, demo, bench, test, check, package, speaker, browsers, quality. What is there is
left alone. What is missing is installed by apt on Debian 12 and 13 and on Ubuntu 24.04, as root or with a sudo that asks for no password. Elsewhere, and
where that fails, it is named with the command that installs it, and the exit code is 2.

OS_RELEASE is the file that tells the system (default: /etc/os-release).
END
}

# One line for each program: its package for apt, its formula for brew (-: macOS has it, or can do without), who needs it.
# `build` is everything that compiles; the other names are commands of the Makefile.
table() {
    cat <<'END'
make           make                      -            build demo browsers quality bench test check package
cc             build-essential           xcode        build demo browsers quality bench test check package
c++            build-essential           xcode        build demo browsers quality bench test check package
cmake          cmake                     cmake        build demo browsers quality bench test check package
python         python3-venv              python@3.13  demo browsers quality bench test check package
flock          util-linux                flock        demo browsers quality bench test check package
setpriv        util-linux                -            demo browsers quality bench test
git            git                       git          check package
ffmpeg         ffmpeg                    ffmpeg       bench test browsers quality
ffprobe        ffmpeg                    ffmpeg       test
mkvinfo        mkvtoolnix                mkvtoolnix   test
curl           curl                      curl         test
kill           procps                    -            test
node           nodejs                    node         test speaker browsers quality
npm            npm                       node         test speaker browsers quality
gst-launch-1.0 gstreamer1.0-tools        gstreamer    test
matroskademux  gstreamer1.0-plugins-good gstreamer    test
chromium       chromium                  -            browsers quality
firefox-esr    firefox-esr               -            browsers
pulseaudio     pulseaudio                -            browsers
pactl          pulseaudio-utils          -            browsers
flite          flite                     -            quality
END
}

is_ubuntu() { (. "${OS_RELEASE:-/etc/os-release}" && [ "${ID:-}" = ubuntu ]) 2>/dev/null; }

# Whether a program of the table is there, and of use.
works() {
    case $1 in
        python)
            for python in python3.11 python3.12 python3.13 python3; do
                "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && return
            done
            return 1
            ;;
        # Ubuntu has them as snaps, which a test cannot drive: tests/browsers says so.
        chromium | firefox-esr) [ -n "$(type -P "$1")" ] || is_ubuntu ;;
        matroskademux) gst-inspect-1.0 matroskademux >/dev/null 2>&1 ;; # a plugin, no program
        *) [ -n "$(type -P "$1")" ] ;;
    esac
}

# macos, apt, or the name of a system that this script does not know.
system() {
    if [ "$(uname -s)" = Darwin ]; then
        echo macos
        return
    fi
    # shellcheck disable=SC1090
    . "${OS_RELEASE:-/etc/os-release}" 2>/dev/null || true
    case ${ID:-}-${VERSION_ID:-} in
        debian-12 | debian-13 | ubuntu-24.04) echo apt ;;
        *) echo "${PRETTY_NAME:-this system}" ;;
    esac
}

# missing COLUMN: that column (program, apt, brew) of the table's lines that the commands need and whose program is not there; each
# value once.
missing() {
    local value program apt brew commands command found=' '
    while read -r program apt brew commands; do
        [ "$system-$brew" = macos-- ] && continue
        for command in $wanted; do
            case " $commands " in *" $command "*) ;; *) continue ;; esac
            works "$program" && continue
            case $1 in program) value=$program ;; apt) value=$apt ;; brew) value=$brew ;; esac
            case $found in *" $value "*) ;; *) found="$found$value " ;; esac
        done
    done <<<"$(table)"
    # shellcheck disable=SC2086 # words, without the spaces around them
    echo $found
}

# stop WHY [COMMAND]: COMMAND is what the person has to type.
stop() {
    echo "setup: $1" >&2
    [ -z "${2:-}" ] || printf '\n    %s\n\n' "$2" >&2
    exit 2
}

install_by_apt() {
    local packages install what
    packages=$(missing apt)
    what="missing: $(missing program). Type this, then the same command again:"
    install="apt-get update && apt-get install --yes --no-install-recommends $packages"
    local as_root=(env DEBIAN_FRONTEND=noninteractive sh -c "$install")
    if [ "$(id -u)" -eq 0 ]; then
        echo "setup: installing $packages" >&2
    elif sudo -n true 2>/dev/null; then
        echo "setup: installing $packages with sudo" >&2
        as_root=(sudo -n "${as_root[@]}")
    elif works sudo; then
        stop "$what" "sudo sh -c '$install'"
    else
        stop "$what" "su -c '$install'"
    fi
    "${as_root[@]}" >&2 || stop "apt-get could not install $packages"
    [ -z "$(missing program)" ] || stop "$packages installed, but still missing: $(missing program)"
}

install_programs() {
    case $system in
        apt) install_by_apt ;;
        macos)
            # Never tried: this project has not been run on macOS yet.
            case " $(missing brew) " in
                *' xcode '*) stop "no C compiler. Type this, then the same command again:" "xcode-select --install" ;;
            esac
            works brew || stop "missing: $(missing program), and Homebrew, which installs them: https://brew.sh"
            stop "missing: $(missing program). Type this, then the same command again:" "brew bundle --file '$root/Brewfile'"
            ;;
        *) stop "missing: $(missing program). How to install them on $system is not known here; Debian's packages are $(missing apt)" ;;
    esac
}

# Cargo of the toolchain that rust-toolchain.toml pins; rustup fetches that where it is missing.
rust() {
    works cargo || stop "Rust is missing; get it from https://rustup.rs, then type the same command again"
    if ! cargo --version >/dev/null; then
        works rustup || stop "cargo does not work; get Rust from https://rustup.rs"
        echo "setup: installing the toolchain of rust-toolchain.toml" >&2
        rustup toolchain install >&2 || stop "rustup could not install the toolchain of rust-toolchain.toml"
    fi
    local least found
    least=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    found=$(cargo --version | cut -d ' ' -f 2)
    [ "$(printf '%s\n' "$least" "$found" | sort -V | head -n 1)" = "$least" ] ||
        stop "Rust $found is too old, $least is needed; get it from https://rustup.rs"
}

[ $# -gt 0 ] || { usage >&2 && exit 2; }
case $1 in -h | --help) usage && exit ;; esac
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
for command in "$@"; do
    case $command in build | demo | bench | test | check | package | speaker | browsers | quality) ;; *) stop "$command is unknown; -h explains" ;; esac
done
wanted=$*
system=$(system)
[ -z "$(missing program)" ] || install_programs
rust
