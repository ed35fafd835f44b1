#!/usr/bin/env bash
# Prints what kvsw and the local stack need to know of a deployment, as shell variables.
set -euo pipefail

usage() {
    cat <<'EOF'
usage: eval "$(scripts/kvsw-env.sh [-h] [--env NAME])"

Sets QUEUE_URL, DLQ_URL, SESSIONS_TABLE, CONNECTIONS_TABLE and STATE_TABLE to those of the deployment NAME (default: dev).
EOF
}

root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=scripts/lib.sh
. "$root/scripts/lib.sh"
env=dev
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) usage && exit 0 ;;
        --env) env=${2:?--env needs a name} && shift 2 ;;
        *) fail "$1 is unknown; -h explains" 2 ;;
    esac
done
stack=$(stack_name "$env")
for pair in QUEUE_URL:QueueUrl DLQ_URL:DlqUrl SESSIONS_TABLE:SessionsTable CONNECTIONS_TABLE:ConnectionsTable STATE_TABLE:StateTable; do
    value=$(output "$stack" "${pair#*:}") || fail "there is no stack $stack"
    printf 'export %s=%q\n' "${pair%%:*}" "$value"
done
