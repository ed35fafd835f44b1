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

# One output of a stack: output STACK NAME
output() {
    aws cloudformation describe-stacks --stack-name "$1" --output text \
        --query "Stacks[0].Outputs[?OutputKey=='$2'].OutputValue | [0]"
}

fail() {
    echo "$(basename "$0" .sh): $1" >&2
    exit "${2:-1}"
}
