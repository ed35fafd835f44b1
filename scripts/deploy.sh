#!/usr/bin/env bash
# Puts the packages into a bucket and infra/template.yaml into an account.
set -euo pipefail

usage() {
    cat <<'EOF'
usage: scripts/deploy.sh [-h] [--env NAME] [--arch arm64|x86_64] [--dry-run] [PARAMETER=VALUE...]

Deploys target/package/ARCH (make package) with infra/template.yaml as the stack kvs-stream-writer-NAME, or brings that stack up to
date. Parameters of the template come from infra/NAME.params (one PARAMETER=VALUE a line) and from the command line, which wins. A
parameter that is named in neither keeps the value that the stack has.

Where a stack of this name was torn down before, its dead-letter queue, its state table and its sessions table were kept: the new stack
takes them in. The remains of a first deployment that failed are deleted.

  --env      which deployment (default: dev)
  --arch     which packages (default: arm64 if they are built, else x86_64)
  --dry-run  upload, make the change set, show it, change nothing

Needs credentials and a Region as every AWS tool (AWS_PROFILE, AWS_REGION). STACK names the stack otherwise, CODE_BUCKET the bucket;
AWS_ENDPOINT_URL leads to an emulator instead.
EOF
}

root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=scripts/lib.sh
. "$root/scripts/lib.sh"
env=dev arch='' changes=() packages=${PACKAGES:-$root/target/package}
parameters=()
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) usage && exit 0 ;;
        --env) env=${2:?--env needs a name} && shift 2 ;;
        --arch) arch=${2:?--arch needs a value} && shift 2 ;;
        --dry-run) changes=(--no-execute-changeset) && shift ;;
        *=*) parameters+=("$1") && shift ;;
        *) fail "$1 is unknown; -h explains" 2 ;;
    esac
done
if [ -z "$arch" ]; then
    arch=arm64
    [ -d "$packages/arm64" ] || arch=x86_64
fi
code=$packages/$arch
[ -f "$code/SHA256SUMS" ] || fail "there are no packages in $code; run: make package"
(cd "$code" && sha256sum --check --quiet SHA256SUMS) || fail "$code is not what was packed; run: make package"

# Where this commit's runbook can be read, if the clone comes from a place that shows files.
runbook_url() {
    local origin commit
    origin=$(git -C "$root" remote get-url origin 2>/dev/null) || return 0
    commit=$(git -C "$root" rev-parse HEAD 2>/dev/null) || return 0
    case $origin in
        https://*) origin=${origin#https://} && origin=${origin#*@} ;;
        git@*:*) origin=${origin#git@} && origin=${origin/://} ;;
        *) return 0 ;;
    esac
    echo "https://${origin%.git}/blob/$commit/docs/runbook.md"
}

# The value of a parameter, the last one given.
parameter() {
    local pair value=''
    for pair in "${all[@]}"; do
        [ "${pair%%=*}" != "$1" ] || value=${pair#*=}
    done
    echo "$value"
}

# An older stack of this name has left its queue and tables: an import into the new stack, before that is made whole.
take_in_what_was_kept() {
    local found=() change_set
    kept "$stack"
    [ -z "$kept_dlq" ] || found+=("DeadLetterQueue=$kept_dlq")
    [ -z "$kept_state" ] || found+=("StateTable=$kept_state")
    [ -z "$kept_sessions" ] || [ -n "$(parameter SessionsTableName)" ] || found+=("SessionsTable=$kept_sessions")
    [ ${#found[@]} -gt 0 ] || return 0
    echo "deploy: taking in what an older $stack has left: ${found[*]}"
    [ ${#changes[@]} -eq 0 ] || fail "--dry-run ends here, since that comes first: deploy without it, or teardown.sh --everything"
    change_set=$(mktemp)
    python3 "$root/scripts/adopt.py" "$root/infra/template.yaml" "$stack" "${found[@]}" -- "${all[@]}" >"$change_set"
    aws cloudformation create-change-set --cli-input-json "file://$change_set" >/dev/null
    rm "$change_set"
    local name=(--stack-name "$stack" --change-set-name take-in-what-was-kept)
    aws cloudformation wait change-set-create-complete "${name[@]}" ||
        fail "it cannot be taken in: $(aws cloudformation describe-change-set "${name[@]}" --query StatusReason --output text)"
    aws cloudformation execute-change-set "${name[@]}"
    aws cloudformation wait stack-import-complete --stack-name "$stack"
}

region=${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region || true)}}
[ -n "$region" ] || fail "no Region: set AWS_REGION"
export AWS_DEFAULT_REGION=$region
identity=$(aws sts get-caller-identity --query '[Account, Arn]' --output text) || fail "no credentials that work"
read -r account caller <<<"$identity"
bucket=${CODE_BUCKET:-kvs-stream-writer-code-$account-$region}
# Named after what is in it: new code is a new key, old code is not uploaded twice.
prefix=$arch/$(sha256sum "$code/SHA256SUMS" | cut -c1-16)
stack=$(stack_name "$env")

if ! aws s3api head-bucket --bucket "$bucket" >/dev/null 2>&1; then
    echo "deploy: making the bucket $bucket"
    location=()
    [ "$region" = us-east-1 ] || location=(--create-bucket-configuration "LocationConstraint=$region")
    aws s3api create-bucket --bucket "$bucket" "${location[@]}" >/dev/null
    aws s3api put-public-access-block --bucket "$bucket" --public-access-block-configuration \
        BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true
    # Keys are named after their content, so versions would add nothing.
    arn=$(cut -d : -f 1-2 <<<"$caller"):s3:::$bucket
    aws s3api put-bucket-policy --bucket "$bucket" --policy '{"Version":"2012-10-17","Statement":[{"Sid":"NothingInTheClear","Effect":"Deny",
        "Principal":"*","Action":"s3:*","Resource":["'"$arn"'","'"$arn"'/*"],"Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}'
fi
for file in "$code"/*.zip "$code/sbom.cdx.json" "$code/SHA256SUMS"; do
    key=$prefix/$(basename "$file")
    aws s3api head-object --bucket "$bucket" --key "$key" >/dev/null 2>&1 ||
        aws s3api put-object --bucket "$bucket" --key "$key" --body "$file" >/dev/null
done

all=("CodeBucket=$bucket" "CodePrefix=$prefix" "Architecture=$arch")
runbook=$(runbook_url)
[ -z "$runbook" ] || all+=("RunbookUrl=$runbook")
if [ -f "$root/infra/$env.params" ]; then
    while IFS= read -r line; do
        case $line in '' | '#'*) ;; *) all+=("$line") ;; esac
    done <"$root/infra/$env.params"
else
    echo "deploy: there is no infra/$env.params; parameters come from the command line alone"
fi
all+=("${parameters[@]}")
echo "deploy: $stack in $region of $account, code $bucket/$prefix"
case $(stack_status "$stack") in
    '') take_in_what_was_kept ;;
    ROLLBACK_COMPLETE | REVIEW_IN_PROGRESS)
        if [ ${#changes[@]} -eq 0 ]; then
            echo "deploy: its first deployment failed, or was only shown; deleting what is left of that"
            aws cloudformation delete-stack --stack-name "$stack"
            aws cloudformation wait stack-delete-complete --stack-name "$stack"
            take_in_what_was_kept
        fi
        ;;
esac
aws cloudformation deploy --stack-name "$stack" --template-file "$root/infra/template.yaml" --s3-bucket "$bucket" \
    --s3-prefix templates --capabilities CAPABILITY_IAM CAPABILITY_AUTO_EXPAND --no-fail-on-empty-changeset "${changes[@]}" \
    --parameter-overrides "${all[@]}"
[ ${#changes[@]} -eq 0 ] || exit 0
aws cloudformation describe-stacks --stack-name "$stack" --output table --query 'Stacks[0].Outputs[].[OutputKey,OutputValue]'
if [ -z "$(parameter AlarmEmail)$(parameter AlarmTopicArn)" ]; then
    echo "deploy: ALARMS GO NOWHERE unless an earlier deployment said where; set AlarmEmail or AlarmTopicArn in infra/$env.params" >&2
fi
