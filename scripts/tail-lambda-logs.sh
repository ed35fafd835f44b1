#!/usr/bin/env bash
# A function's log, live.
set -euo pipefail

usage() {
    cat <<'EOF'
usage: scripts/tail-lambda-logs.sh [-h] [--env NAME] [--since 10m] [--session ID] [--all] [--once] NAME

Follows the log of connection-handler, kvs-stream-writer, session-authorizer or sweep of the deployment NAME (default: dev): one line a
decision, time and what happened. Ctrl-C ends it.

  --since    how far back it begins (default: 10m)
  --session  only lines of this session
  --all      lines as they are, metrics included
  --once     what is there, and no more
EOF
}

root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=scripts/lib.sh
. "$root/scripts/lib.sh"
env=dev since=10m session='' all=no follow=yes name=''
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) usage && exit 0 ;;
        --env) env=${2:?--env needs a name} && shift 2 ;;
        --since) since=${2:?--since needs a time} && shift 2 ;;
        --session) session=${2:?--session needs an id} && shift 2 ;;
        --all) all=yes && shift ;;
        --once) follow=no && shift ;;
        -*) fail "$1 is unknown; -h explains" 2 ;;
        *) name=$1 && shift ;;
    esac
done
case $name in
    connection-handler | kvs-stream-writer | session-authorizer | sweep) ;;
    '') usage >&2 && exit 2 ;;
    *) fail "$name is no function of this project; -h names them" 2 ;;
esac
pattern=
[ -z "$session" ] || pattern="{ \$.sessionId = \"$session\" }"
case $since in
    *h) seconds=$((${since%h} * 3600)) ;;
    *m) seconds=$((${since%m} * 60)) ;;
    *) seconds=${since%s} ;;
esac
export -f aws
export root
exec python3 -u "$root/scripts/tail_log.py" "/aws/lambda/$(stack_name "$env")-$name" "$seconds" "$pattern" "$all" "$follow"
