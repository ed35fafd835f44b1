#!/usr/bin/env bash
# Deletes a deployment, and what it kept only if told so.
set -euo pipefail

usage() {
    cat <<'EOF'
usage: scripts/teardown.sh [-h] [--env NAME] --yes [--everything]

Deletes the stack kvs-stream-writer-NAME (default: dev). Its dead-letter queue, its state table and the sessions table that it made stay,
because they hold audio that exists nowhere else, where it belongs, and whose it is; scripts/deploy.sh takes them into the next stack of
this name. Kinesis Video streams stay, and expire with their retention (kvsw sweep deletes them); the bucket with the code stays, since
other deployments use it.

  --yes         do it (without, it shows what would go and ends with 1)
  --everything  also delete the queue and the tables, now or after an earlier teardown. Parked audio is then lost.
EOF
}

root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=scripts/lib.sh
. "$root/scripts/lib.sh"
env=dev sure=no everything=no
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) usage && exit 0 ;;
        --env) env=${2:?--env needs a name} && shift 2 ;;
        --yes) sure=yes && shift ;;
        --everything) everything=yes && shift ;;
        *) fail "$1 is unknown; -h explains" 2 ;;
    esac
done
stack=$(stack_name "$env")
status=$(stack_status "$stack")
kept "$stack"
left="${kept_dlq:+$kept_dlq }${kept_state:+table $kept_state }${kept_sessions:+table $kept_sessions}"
[ -n "$status$left" ] || fail "there is no stack $stack, and nothing is left of one"
parked=0
[ -z "$kept_dlq" ] || parked=$(aws sqs get-queue-attributes --queue-url "$kept_dlq" --attribute-names ApproximateNumberOfMessages \
    --query Attributes.ApproximateNumberOfMessages --output text)
echo "teardown: $stack: ${status:-no stack}; $parked messages are parked; kept beyond the stack: ${left:-nothing}"
if [ "$sure" != yes ]; then
    echo "teardown: nothing was deleted; with --yes it would be" && exit 1
fi
if [ -n "$status" ]; then
    aws cloudformation delete-stack --stack-name "$stack"
    aws cloudformation wait stack-delete-complete --stack-name "$stack"
fi
if [ "$everything" != yes ]; then
    echo "teardown: $stack is gone; kept: ${left:-nothing}"
    [ -z "$left" ] || echo "teardown: the next deployment takes it in; scripts/teardown.sh --env $env --yes --everything deletes it"
    exit 0
fi
[ -z "$kept_dlq" ] || aws sqs delete-queue --queue-url "$kept_dlq"
for table in $kept_state $kept_sessions; do
    aws dynamodb delete-table --table-name "$table" >/dev/null
    aws dynamodb wait table-not-exists --table-name "$table"
done
echo "teardown: $stack, its dead-letter queue and its tables are gone; SQS gives the queue's name out again after a minute"
