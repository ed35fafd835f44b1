#!/usr/bin/env bash
# Sends a shipped recording through a deployment and reads it back.
set -euo pipefail

usage() {
    cat <<'EOF'
usage: scripts/smoke-test.sh [-h] [--env NAME] [--recording FOLDER]
           --token TOKEN [--session ID] | --token-command COMMAND | --queue
           [--url URL]

Plays a recording at real time into the deployment NAME (default: dev), reads its stream back with kvsw, and compares the sound with ffmpeg's
decoding of the same recording. Ends with 0 only if every chunk arrived and the sound is right; what came is left in
out/smoke-test/audio.wav.

The recording goes through the WebSocket API, as a browser's would; before, a token that is none must be denied there.

  --token          a token for an active session in the role speaker; the session is its claim sessionId, or that of --session
  --token-command  a shell command that prints such a token for the session in its variable SESSION, which this script adds and ends
  --queue          no token is at hand: the recording goes into the chunk queue, past API and authorizer. That shows nothing of whether
                   anybody can connect
  --url            the API, where it is not the stack's own (ApiId)
  --recording      a folder with messages.jsonl (default: tests/end-to-end/recordings/chromium-speech-default, 30 s)

Needs kvsw (make smoke-test builds it; KVSW is another) and the rights of both policies, ReadOnlyPolicyArn and OperatorPolicyArn.
EOF
}

root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=scripts/lib.sh
. "$root/scripts/lib.sh"
env=dev recording=$root/tests/end-to-end/recordings/chromium-speech-default door=() session=() url=
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) usage && exit 0 ;;
        --env) env=${2:?--env needs a name} && shift 2 ;;
        --recording) recording=$(cd "${2:?--recording needs a folder}" && pwd) && shift 2 ;;
        --token | --token-command) door=("$1" "${2:?$1 needs a value}") && shift 2 ;;
        --session) session=("$1" "${2:?--session needs an id}") && shift 2 ;;
        --url) url=${2:?--url needs a URL} && shift 2 ;;
        --queue) door=(--queue) && shift ;;
        *) fail "$1 is unknown; -h explains" 2 ;;
    esac
done
[ ${#door[@]} -gt 0 ] || fail "how to get in? --token or --token-command through the API, --queue past it; -h explains" 2
[ -f "$recording/messages.jsonl" ] || fail "$recording holds no messages.jsonl"
variables=$("$root/scripts/kvsw-env.sh" --env "$env")
eval "$variables"
kvsw=${KVSW:-}
for build in release debug; do
    candidate=${CARGO_TARGET_DIR:-$root/target}/$build/kvsw
    [ -n "$kvsw" ] || [ ! -x "$candidate" ] || kvsw=$candidate
done
[ -n "$kvsw" ] || fail "kvsw is not built: make smoke-test builds it, or cargo build --release --package kvsw"
arguments=(--recording "$recording" --out "$root/out/smoke-test" --kvsw "$kvsw" "${door[@]}" "${session[@]}")
python=python3
if [ "${door[0]}" != --queue ]; then
    [ -n "$url" ] || url=$(output "$(stack_name "$env")" WebSocketUrl)
    [ "$url" != None ] || fail "the API is not the stack's own (ApiId): name it with --url"
    arguments+=(--url "$url")
    python=$("$root/scripts/venv.sh" smoke)
fi
export -f aws
export root
exec "$python" "$root/scripts/smoke_test.py" "${arguments[@]}"
