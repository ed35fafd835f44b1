#!/usr/bin/env bash
# Sends a shipped recording through a deployment and reads it back.
set -euo pipefail

usage() {
    cat <<'EOF'
usage: scripts/smoke-test.sh [-h] [--env NAME] [--recording FOLDER] [--queue | --token TOKEN]

Plays a recording at real time into the deployment NAME (default: dev), reads its stream back with kvsw, and compares the sound with ffmpeg's
decoding of the same recording. Ends with 0 only if every chunk arrived and the sound is right; what came is left in
out/smoke-test/audio.wav.

  --token      a token for a session in the role speaker: the recording goes through the WebSocket API, as a browser's would
  --queue      no token is at hand: the recording goes into the chunk queue, past the API (default)
  --recording  a folder with messages.jsonl (default: tests/end-to-end/recordings/chromium-speech-default, 30 s)

Needs the rights of the operators' policy, and to write into the Sessions table: it adds a session smoke-test-TIME and ends it.
With --token the session is the token's, and must be active.
EOF
}

root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=scripts/lib.sh
. "$root/scripts/lib.sh"
env=dev recording=$root/tests/end-to-end/recordings/chromium-speech-default token=''
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) usage && exit 0 ;;
        --env) env=${2:?--env needs a name} && shift 2 ;;
        --recording) recording=$(cd "${2:?--recording needs a folder}" && pwd) && shift 2 ;;
        --token) token=${2:?--token needs a token} && shift 2 ;;
        --queue) token='' && shift ;;
        *) fail "$1 is unknown; -h explains" 2 ;;
    esac
done
[ -f "$recording/messages.jsonl" ] || fail "$recording holds no messages.jsonl"
variables=$("$root/scripts/kvsw-env.sh" --env "$env")
eval "$variables"
kvsw=
for build in release debug; do
    candidate=${CARGO_TARGET_DIR:-$root/target}/$build/kvsw
    [ -n "$kvsw" ] || [ ! -x "$candidate" ] || kvsw=$candidate
done
[ -n "$kvsw" ] || fail "kvsw is not built: cargo build --release --package kvsw"
arguments=(--recording "$recording" --out "$root/out/smoke-test" --kvsw "$kvsw")
python=python3
if [ -n "$token" ]; then
    url=$(output "$(stack_name "$env")" WebSocketUrl)
    arguments+=(--url "$url" --token "$token")
    python=$("$root/scripts/venv.sh" smoke)
fi
export -f aws
export root
exec "$python" "$root/scripts/smoke_test.py" "${arguments[@]}"
