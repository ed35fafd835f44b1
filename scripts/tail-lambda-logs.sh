#!/usr/bin/env bash
# A function's log, live.
set -euo pipefail

usage() {
    cat <<'EOF'
usage: scripts/tail-lambda-logs.sh [-h] [--env NAME] [--since 10m] [--session ID] [--all] NAME

Follows the log of connection-handler, kvs-stream-writer, session-authorizer or sweep of the deployment NAME (default: dev): one line a
decision, time and what happened. Ctrl-C ends it.

  --since    how far back it begins (default: 10m)
  --session  only lines of this session
  --all      lines as they are, metrics included
EOF
}

root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=scripts/lib.sh
. "$root/scripts/lib.sh"
env=dev since=10m session='' all=no name=''
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) usage && exit 0 ;;
        --env) env=${2:?--env needs a name} && shift 2 ;;
        --since) since=${2:?--since needs a time} && shift 2 ;;
        --session) session=${2:?--session needs an id} && shift 2 ;;
        --all) all=yes && shift ;;
        -*) fail "$1 is unknown; -h explains" 2 ;;
        *) name=$1 && shift ;;
    esac
done
case $name in
    connection-handler | kvs-stream-writer | session-authorizer | sweep) ;;
    '') usage >&2 && exit 2 ;;
    *) fail "$name is no function of this project; -h names them" 2 ;;
esac
filter=()
[ -z "$session" ] || filter=(--filter-pattern "{ \$.sessionId = \"$session\" }")
follow() {
    aws logs tail "/aws/lambda/$(stack_name "$env")-$name" --follow --format short --since "$since" "${filter[@]}"
}
if [ "$all" = yes ]; then
    follow
else
    # The metrics' member is for CloudWatch, not for eyes.
    follow | python3 -u "$root/scripts/shorten_log.py"
fi
