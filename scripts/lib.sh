# Sourced by the scripts that talk to an account.

# The AWS command line: the one that is installed, else the project's own (scripts/requirements-tools.txt).
aws() {
    local tool
    tool=$(type -P aws || true)
    if [ -z "$tool" ]; then
        tool=$(dirname "$("$root/scripts/venv.sh" tools)")/aws
    fi
    AWS_PAGER='' "$tool" "$@"
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
