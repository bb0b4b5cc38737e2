#!/usr/bin/env bash
# Makes the IAM role through which Sluicegate delivers to one stream or log group. See README.md.
set -euo pipefail

usage() {
    cat <<'EOF'
Usage: setup.sh --target ARN --principal ARN [options]

  --target ARN        the Kinesis stream, Firehose delivery stream or CloudWatch log group
  --principal ARN     the role or user that Sluicegate itself runs as
  --role NAME         the role to make or extend (default: sluicegate-delivery)
  --external-id ID    what Sluicegate must present (default: a fresh random one for a new role)
  --api URL           take the external id of the Sluicegate whose API is there, which it presents for
                      every role that is named through the API; the key is in SLUICEGATE_API_KEY
  --kms-key ARN       the key of a Kinesis stream encrypted with a customer managed key
  --aggregate         allow what a Kinesis stream with `aggregate: kpl` asks besides
  --deliver-only      leave out what only `sluicegate check --online`, `destination check` and automatic
                      settings ask
  --dry-run           print the policies and commands; call nothing

Needs the aws CLI and an identity that may manage IAM roles in the target's account.
EOF
}

fail() {
    echo "setup.sh: $*" >&2
    exit 1
}

bad_arguments() {
    echo "setup.sh: $*" >&2
    echo "Try: setup.sh --help" >&2
    exit 2
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target='' principal='' role=sluicegate-delivery external_id='' api='' kms_key='' check=true aggregate=false dry_run=false

while [ $# -gt 0 ]; do
    case $1 in
    --target | --principal | --role | --external-id | --api | --kms-key)
        [ $# -ge 2 ] || bad_arguments "$1 needs a value"
        ;;
    esac
    case $1 in
    --target) target=$2 && shift 2 ;;
    --principal) principal=$2 && shift 2 ;;
    --role) role=$2 && shift 2 ;;
    --external-id) external_id=$2 && shift 2 ;;
    --api) api=$2 && shift 2 ;;
    --kms-key) kms_key=$2 && shift 2 ;;
    --check) shift ;; # has become the default
    --aggregate) aggregate=true && shift ;;
    --deliver-only) check=false && shift ;;
    --dry-run) dry_run=true && shift ;;
    --help | -h) usage && exit 0 ;;
    *) bad_arguments "unknown argument $1" ;;
    esac
done
[ -n "$target" ] || bad_arguments "--target is missing"
[ -n "$principal" ] || bad_arguments "--principal is missing"

# What may stand in a value decides that it can be put into JSON as it is.
matches() {
    [[ $2 =~ ^$3$ ]] || bad_arguments "$1 does not look right: $2"
}
matches --principal "$principal" 'arn:aws[a-z-]*:(iam|sts)::[0-9]{12}:[A-Za-z0-9_+=,.@/-]+'
[ -z "$api" ] || [ -z "$external_id" ] || bad_arguments "--api and --external-id exclude each other"
[ -z "$api" ] || [ -n "${SLUICEGATE_API_KEY-}" ] || bad_arguments "--api needs a key in SLUICEGATE_API_KEY"
matches --role "$role" '[A-Za-z0-9_+=,.@-]{1,64}'
[ -z "$external_id" ] || matches --external-id "$external_id" '[A-Za-z0-9_+=,.@:/-]{2,1224}'
[ -z "$kms_key" ] || matches --kms-key "$kms_key" 'arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+'

target=${target%:\*} # the console shows log groups with a trailing :*
matches --target "$target" 'arn:aws[a-z-]*:[a-z]+:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.:/#-]+'
IFS=: read -r _ partition service region account resource <<<"$target"
case $service/$resource in
kinesis/stream/?*) kind=kinesis name=${resource#stream/} ;;
firehose/deliverystream/?*) kind=firehose name=${resource#deliverystream/} ;;
logs/log-group:?*) kind=cloudwatch-logs name=${resource#log-group:} ;;
*) bad_arguments "--target must name a stream, a deliverystream or a log-group: $target" ;;
esac
if [ -n "$kms_key" ] && [ "$kind" != kinesis ]; then
    bad_arguments "--kms-key is for Kinesis streams only; $kind encrypts on its own side"
fi

if $aggregate && [ "$kind" != kinesis ]; then
    bad_arguments "--aggregate is for Kinesis streams only"
fi

# policy FILE: its text with every ${NAME} filled in.
# shellcheck disable=SC2016  # the names are looked for as they stand in the file
policy() {
    local text
    text=$(<"$here/$1")
    text=${text//'${PARTITION}'/$partition}
    text=${text//'${REGION}'/$region}
    text=${text//'${ACCOUNT}'/$account}
    text=${text//'${NAME}'/$name}
    text=${text//'${ROLE}'/$role}
    text=${text//'${PRINCIPAL}'/$principal}
    text=${text//'${EXTERNAL_ID}'/$external_id}
    text=${text//'${KMS_KEY_ARN}'/$kms_key}
    printf '%s\n' "$text"
}

# call COMMAND...: runs it, or under --dry-run prints it so that a shell can read it back.
call() {
    if ! $dry_run; then
        "$@" >/dev/null
        return
    fi
    local word
    for word in "$@"; do
        [[ $word =~ ^[A-Za-z0-9_+=,.@:/-]+$ ]] || word="'${word//\'/\'\\\'\'}'"
        printf '%s ' "$word"
    done
    printf '\n\n'
}

# Whether the role is there. Refuses one that this script did not make: its trust would be replaced.
role_exists() {
    local answer
    if ! answer=$(aws iam get-role --role-name "$role" --output json 2>&1); then
        [[ $answer == *NoSuchEntity* ]] || fail "cannot look for the role $role: $answer"
        return 1
    fi
    [[ $answer == *OnlyThisSluicegate* ]] ||
        fail "the role $role serves something else; choose another --role"
}

check_account() {
    local caller
    caller=$(aws sts get-caller-identity --query Account --output text) || fail "no AWS credentials that work"
    [ "$caller" = "$account" ] ||
        fail "the target is in account $account, but these credentials are for $caller"
}

new_external_id() {
    od -An -N16 -tx1 /dev/urandom | tr -d ' \n'
}

# The key goes in by standard input, where no list of processes shows it.
own_external_id() {
    local headers answer
    headers="header = \"authorization: Bearer $SLUICEGATE_API_KEY\""$'\n'"header = \"ngrok-version: 2\""
    answer=$(curl -fsS --config - "${api%/}/self" <<<"$headers") || fail "the API at $api does not answer"
    sed -n 's/.*"external_id": *"\([^"]*\)".*/\1/p' <<<"$answer"
}

export AWS_PAGER=
existing=false
if ! $dry_run; then
    command -v aws >/dev/null || fail "the aws CLI is not installed"
    check_account
    if role_exists; then existing=true; fi
fi
if [ -n "$api" ]; then
    external_id=$(own_external_id)
    matches --api "$external_id" '[A-Za-z0-9_+=,.@:/-]{2,1224}'
fi
if [ -z "$external_id" ]; then
    ! $existing || fail "the role $role exists; say its --external-id, or choose another --role"
    external_id=$(new_external_id)
fi

trust=$(policy trust-policy.json)
if $existing; then
    call aws iam update-assume-role-policy --role-name "$role" --policy-document "$trust"
else
    call aws iam create-role --role-name "$role" \
        --description "Sluicegate delivers events through this role" \
        --assume-role-policy-document "$trust"
fi

# One inline policy for each purpose and target: running this again replaces it, and another target
# gets its own. IAM allows 128 characters and neither / nor #, which only log groups have.
label=${name//\//@}
label=$kind-$region-${label//#/=}
if [ "${#label}" -gt 120 ]; then
    label=${label:0:100}-$(cksum <<<"$name" | cut -d ' ' -f 1)
fi
put_policy() {
    call aws iam put-role-policy --role-name "$role" --policy-name "$1-$label" \
        --policy-document "$(policy "$2")"
}
put_policy deliver "$kind-policy.json"
if $check; then put_policy check "$kind-check-policy.json"; fi
if $aggregate; then put_policy aggregate kinesis-aggregate-policy.json; fi
if [ -n "$kms_key" ]; then put_policy encrypt kinesis-kms-policy.json; fi

cat <<EOF
For the settings file (through the API, with --api, \`role_arn\` is enough):

    auth:
      role:
        role_arn: arn:$partition:iam::$account:role/$role
        external_id: $external_id

If $principal is in another account, it also needs:

$(policy caller-policy.json)
EOF
