# shellcheck shell=bash
# Sourced by the scripts that talk to an account; they set root.
: "${root:?}"

# The AWS command line reads only the second of the two names that the SDKs know.
[ -z "${AWS_REGION:-}" ] || export AWS_DEFAULT_REGION=$AWS_REGION

# The AWS command line: the one that is installed, else the project's own (scripts/requirements-aws.txt).
aws() {
    local tool
    tool=$(type -P aws || true)
    if [ -z "$tool" ]; then
        tool=$(dirname "$("$root/scripts/venv.sh" aws)")/aws
    fi
    # Said aloud: for SQS the older command lines do not look into AWS_ENDPOINT_URL.
    AWS_PAGER='' "$tool" ${AWS_ENDPOINT_URL:+--endpoint-url "$AWS_ENDPOINT_URL"} "$@"
}

stack_name() { echo "${STACK:-kvs-stream-writer-$1}"; }

# A stack's status; nothing where there is no such stack.
stack_status() {
    aws cloudformation describe-stacks --stack-name "$1" --output text --query 'Stacks[0].StackStatus' 2>/dev/null || true
}

# What a stack of this name made and left behind: sets kept_dlq (a URL), kept_state and kept_sessions (names); empty is not there.
# shellcheck disable=SC2034 # read by those scripts
kept() {
    kept_dlq=$(aws sqs get-queue-url --queue-name "$1-chunks-dlq.fifo" --query QueueUrl --output text 2>/dev/null || true)
    kept_state=$(kept_table "$1-state")
    kept_sessions=$(kept_table "$1-sessions")
}

kept_table() {
    aws dynamodb describe-table --table-name "$1" --query Table.TableName --output text 2>/dev/null || true
}

# One output of a stack: output STACK NAME
output() {
    aws cloudformation describe-stacks --stack-name "$1" --output text \
        --query "Stacks[0].Outputs[?OutputKey=='$2'].OutputValue | [0]"
}

fail() {
    echo "$(basename "$0" .sh): $1" >&2
    exit "${2:-1}"
}
