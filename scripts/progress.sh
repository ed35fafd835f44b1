#!/usr/bin/env bash
# Runs cargo so that a person sees how far it is: on a terminal cargo's own bar, elsewhere a line for each tenth of the way.
#
#   scripts/progress.sh "what is being done, and about how long it takes" cargo build ...
set -euo pipefail

echo "$1" >&2
shift
[ ! -t 2 ] || exec "$@"
CARGO_TERM_PROGRESS_WHEN=always CARGO_TERM_PROGRESS_WIDTH=80 "$@" 2>&1 | awk '
    BEGIN { RS = "[\r\n]" }
    /^ *Building \[/ && match($0, /\] [0-9]+\/[0-9]+/) {
        split(substr($0, RSTART + 2, RLENGTH - 2), step, "/")
        if (10 * step[1] >= (shown + 1) * step[2]) {
            shown = int(10 * step[1] / step[2])
            printf "    %d of %d steps\n", step[1], step[2]
            fflush()
        }
        next
    }
    /^ *(Building|Compiling|Downloading|Downloaded) / || /^ +$/ { next }
    { print; fflush() }' >&2
