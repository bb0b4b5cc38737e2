#!/bin/sh
# Creates what sluicegate.yaml delivers to. Safe to run again.
#
# Needs the aws CLI and, in the environment, AWS_ENDPOINT_URL (the emulator), AWS_REGION and any
# credentials. Refuses to run without an endpoint, so that it never creates anything in a real account.
set -eu

: "${AWS_ENDPOINT_URL:?set it to the address of the emulator}"
: "${AWS_REGION:?set it to the region that sluicegate.yaml names}"
export AWS_PAGER=
export AWS_DEFAULT_REGION="$AWS_REGION"

readonly stream=errors
readonly bucket=requests
readonly delivery_stream=requests
readonly log_group=/sluicegate/connections

if ! aws kinesis describe-stream-summary --stream-name "$stream" >/dev/null 2>&1; then
    aws kinesis create-stream --stream-name "$stream" --shard-count 1
fi
aws kinesis wait stream-exists --stream-name "$stream"

if ! aws s3api head-bucket --bucket "$bucket" >/dev/null 2>&1; then
    aws s3api create-bucket --bucket "$bucket" >/dev/null
fi

if ! aws firehose describe-delivery-stream --delivery-stream-name "$delivery_stream" >/dev/null 2>&1; then
    aws firehose create-delivery-stream --delivery-stream-name "$delivery_stream" \
        --delivery-stream-type DirectPut --extended-s3-destination-configuration \
        "RoleARN=arn:aws:iam::123456789012:role/firehose,BucketARN=arn:aws:s3:::$bucket" >/dev/null
fi

known=$(aws logs describe-log-groups --log-group-name-prefix "$log_group" \
    --query 'logGroups[].logGroupName' --output text)
case " $known " in
*[[:space:]]"$log_group"[[:space:]]*) ;;
*) aws logs create-log-group --log-group-name "$log_group" ;;
esac

echo "ready: stream $stream, delivery stream $delivery_stream into bucket $bucket, log group $log_group"
