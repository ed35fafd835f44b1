#!/usr/bin/env bash
# Prints what kvsw and the local stack need to know of a deployment, as shell variables.
set -euo pipefail

usage() {
    cat <<'EOF'
usage: eval "$(scripts/kvsw-env.sh [-h] [--env NAME])"

Sets QUEUE_URL, DLQ_URL, SESSIONS_TABLE, CONNECTIONS_TABLE and STATE_TABLE to those of the deployment NAME (default: dev).
Where it fails it unsets them, so that no command works on the deployment of before, and the eval fails.
EOF
}

root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=scripts/lib.sh
. "$root/scripts/lib.sh"

# give_up MESSAGE [EXIT_CODE]: what the shell that evaluates this must not keep, and why.
give_up() {
    echo 'unset QUEUE_URL DLQ_URL SESSIONS_TABLE CONNECTIONS_TABLE STATE_TABLE; false'
    fail "$@"
}

env=dev
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) usage >&2 && exit 0 ;;
        --env) [ -n "${2:-}" ] || give_up "--env needs a name" 2 && env=$2 && shift 2 ;;
        *) give_up "$1 is unknown; -h explains" 2 ;;
    esac
done
stack=$(stack_name "$env")
outputs=$(aws cloudformation describe-stacks --stack-name "$stack" --output text \
    --query 'Stacks[0].Outputs[].[OutputKey, OutputValue]' 2>&1) ||
    give_up "the outputs of the stack $stack could not be read: ${outputs#"${outputs%%[![:space:]]*}"}"
variables=
for pair in QUEUE_URL:QueueUrl DLQ_URL:DlqUrl SESSIONS_TABLE:SessionsTable CONNECTIONS_TABLE:ConnectionsTable STATE_TABLE:StateTable; do
    value=$(awk -v key="${pair#*:}" '$1 == key { print $2 }' <<<"$outputs")
    [ -n "$value" ] || give_up "the stack $stack has no output ${pair#*:}; is it one of infra/template.yaml?"
    variables+=$(printf 'export %s=%q' "${pair%%:*}" "$value")$'\n'
done
printf '%s' "$variables"
