#!/bin/sh
# A long outage at full ingest: four senders post as fast as they are answered while the one destination
# refuses connections. Tells what the daemon takes and its memory every ten seconds, then kills it, and
# tells how long the next start takes to recover.
#
#     cargo build --release && benches/outage.sh target/release/sluicegate FOLDER [SECONDS]
#
# The folder needs room for 10 GiB; what is made there is deleted at the end.
set -eu
sluicegate=$1
folder=$(mktemp -d "$2/outage.XXXXXX")
seconds=${3:-300}
pids=
trap 'kill -KILL $pids 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$folder"' EXIT

cat >"$folder/settings.yaml" <<SETTINGS
data_dir: $folder/data
ingest: { http: { listen: "127.0.0.1:4280" } }
api: { listen: "127.0.0.1:4281" }
journal: { max_bytes: 10GiB }
destinations:
  - id: down
    target:
      kinesis:
        stream_arn: arn:aws:kinesis:us-east-1:123456789012:stream/s
        auth: { creds: { aws_access_key_id: AKIATESTINGTESTING00, aws_secret_access_key: s3cret-key } }
        endpoint_url: http://127.0.0.1:9
subscriptions:
  - { id: all, sources: [{ type: http_request_complete.v0 }], destinations: [down] }
SETTINGS
"$sluicegate" generate --type http_request_complete.v0 --count 500 --seed 1 >"$folder/body"

start() {
    SLUICEGATE_LOG=error "$sluicegate" run -c "$folder/settings.yaml" &
    daemon=$!
    pids="$pids $daemon"
    until [ "$(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:4281/readyz)" = 200 ]; do
        sleep 0.05
    done
}

status() {
    curl -s http://127.0.0.1:4281/status | grep -o "\"$1\":[0-9]*" | head -n 1 | cut -d : -f 2
}

memory() {
    awk -v field="$1:" '$1 == field { print int($2 / 1024) }' "/proc/$daemon/status"
}

start
for _ in 1 2 3 4; do
    curl -s -o /dev/null -H 'content-type: application/x-ndjson' -H 'expect:' \
        --data-binary "@$folder/body" "http://127.0.0.1:4280/v1/events?[1-100000000]" &
    pids="$pids $!"
done
echo "second  accepted events  journal MiB  resident MiB"
second=0
while [ "$second" -lt "$seconds" ]; do
    sleep 10
    second=$((second + 10))
    echo "$second  $(status accepted)  $(($(status bytes) / 1048576))  $(memory VmRSS)"
done
echo "peak: $(memory VmHWM) MiB"
for pid in $pids; do
    kill -KILL "$pid" 2>/dev/null || true
done
wait 2>/dev/null || true
began=$(date +%s%N)
start
echo "recovered $(status pending_records) records, $(($(status bytes) / 1048576)) MiB," \
    "in $((($(date +%s%N) - began) / 1000000)) ms; resident $(memory VmRSS) MiB"
"$sluicegate" ledger -c "$folder/settings.yaml"
