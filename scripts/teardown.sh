#!/usr/bin/env bash
# Deletes a deployment, and what it kept only if told so.
set -euo pipefail

usage() {
    cat <<'EOF'
usage: scripts/teardown.sh [-h] [--env NAME] --yes [--everything]

Deletes the stack kvs-stream-writer-NAME (default: dev). The dead-letter queue and the state table stay, because they hold audio, and where
it belongs, that exists nowhere else. The session tables that the stack made go; Kinesis Video streams stay, and expire with their
retention; the bucket with the code stays.

  --yes         do it (without, it shows what would go and ends with 1)
  --everything  also delete the dead-letter queue and the state table. Parked audio is then lost.
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
dlq=$(output "$stack" DlqUrl) || fail "there is no stack $stack"
state=$(output "$stack" StateTable)
parked=$(aws sqs get-queue-attributes --queue-url "$dlq" --attribute-names ApproximateNumberOfMessages \
    --query Attributes.ApproximateNumberOfMessages --output text)
echo "teardown: $stack; $parked messages are parked in $dlq"
if [ "$sure" != yes ]; then
    echo "teardown: nothing was deleted; with --yes it would be" && exit 1
fi
aws cloudformation delete-stack --stack-name "$stack"
aws cloudformation wait stack-delete-complete --stack-name "$stack"
if [ "$everything" = yes ]; then
    aws sqs delete-queue --queue-url "$dlq"
    aws dynamodb delete-table --table-name "$state" >/dev/null
    echo "teardown: $stack, its dead-letter queue and its state table are gone"
else
    echo "teardown: $stack is gone; kept are $dlq and the table $state"
fi
