#!/usr/bin/env bash
# Puts the packages into a bucket and infra/template.yaml into an account.
set -euo pipefail

usage() {
    cat <<'EOF'
usage: scripts/deploy.sh [-h] [--env NAME] [--arch arm64|x86_64] [--dry-run] [PARAMETER=VALUE...]

Deploys target/package/ARCH (make package) with infra/template.yaml as the stack kvs-stream-writer-NAME, or brings that stack up to
date. Parameters of the template come from infra/NAME.params (one PARAMETER=VALUE a line) and from the command line, which wins.

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

region=${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region || true)}}
[ -n "$region" ] || fail "no Region: set AWS_REGION"
export AWS_DEFAULT_REGION=$region
account=$(aws sts get-caller-identity --query Account --output text) || fail "no credentials that work"
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
fi
for file in "$code"/*.zip "$code/sbom.cdx.json" "$code/SHA256SUMS"; do
    key=$prefix/$(basename "$file")
    aws s3api head-object --bucket "$bucket" --key "$key" >/dev/null 2>&1 ||
        aws s3api put-object --bucket "$bucket" --key "$key" --body "$file" >/dev/null
done

all=("CodeBucket=$bucket" "CodePrefix=$prefix" "Architecture=$arch")
if [ -f "$root/infra/$env.params" ]; then
    while IFS= read -r line; do
        case $line in '' | '#'*) ;; *) all+=("$line") ;; esac
    done <"$root/infra/$env.params"
fi
echo "deploy: $stack in $region of $account, code $bucket/$prefix"
aws cloudformation deploy --stack-name "$stack" --template-file "$root/infra/template.yaml" --s3-bucket "$bucket" \
    --s3-prefix templates --capabilities CAPABILITY_IAM CAPABILITY_AUTO_EXPAND --no-fail-on-empty-changeset "${changes[@]}" \
    --parameter-overrides "${all[@]}" "${parameters[@]}"
[ ${#changes[@]} -eq 0 ] || exit 0
aws cloudformation describe-stacks --stack-name "$stack" --output table --query 'Stacks[0].Outputs[].[OutputKey,OutputValue]'
