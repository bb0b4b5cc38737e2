#!/bin/sh
# The whole daemon at full ingest: four senders post bodies of 500 events (90 % HTTP, 10 % TCP) as fast as
# they are answered, each sender a body of its own; one filter, six fields, a file as the destination.
# The first half of the posts warms up, the second is measured.
#
#     cargo build --release && benches/daemon.sh target/release/sluicegate FOLDER [POSTS-PER-SENDER [MORE]]
#
# MORE is a number of further subscriptions, none of which matches.
# What is made in the folder is deleted at the end.
set -eu
sluicegate=$1
folder=$(mktemp -d "$2/daemon.XXXXXX")
posts=${3:-200}
more=${4:-0}
pids=
trap 'kill -KILL $pids 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$folder"' EXIT

cat >"$folder/settings.yaml" <<SETTINGS
data_dir: $folder/data
ingest: { http: { listen: "127.0.0.1:4280" } }
api: { listen: "127.0.0.1:4281" }
destinations:
  - { id: out, target: { file: { path: "$folder/out.ndjson" } } }
subscriptions:
  - id: errors
    sources:
      - type: http_request_complete.v0
        filter: >-
          ev.http.response.status_code >= 500 ||
          (ev.http.request.method == "post" && ev.http.request.url.path.startsWith("/api/"))
        fields: [conn.client_ip, http.request.method, http.request.url.path, http.request.user_agent,
          http.response.status_code, conn.server_name]
    destinations: [out]
SETTINGS
number=0
while [ "$number" -lt "$more" ]; do
    number=$((number + 1))
    cat >>"$folder/settings.yaml" <<MORE
  - id: more-$number
    sources:
      - type: http_request_complete.v0
        filter: 'ev.conn.server_name == "h$number.none.example" && ev.http.response.status_code >= 500'
    destinations: [out]
MORE
done
for sender in 1 2 3 4; do
    "$sluicegate" generate --type http_request_complete.v0 --count 450 --seed $sender
    "$sluicegate" generate --type tcp_connection_closed.v0 --count 50 --seed $sender
done | split -l 500 -a 1 - "$folder/body-"

SLUICEGATE_LOG=error "$sluicegate" run -c "$folder/settings.yaml" &
daemon=$!
pids=$daemon
until [ "$(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:4281/readyz)" = 200 ]; do
    sleep 0.05
done

# Posts everything, and writes each post's status and seconds.
post_all() {
    senders=
    for body in "$folder"/body-?; do
        curl -s -o /dev/null -w '%{http_code} %{time_total}\n' -H 'content-type: application/x-ndjson' \
            -H 'expect:' --data-binary "@$body" "http://127.0.0.1:4280/v1/events?[1-$posts]" \
            >"$body.times" &
        senders="$senders $!"
    done
    # shellcheck disable=SC2086 # a list of ids
    wait $senders
}

ticks() {
    awk '{ print $14 + $15 }' "/proc/$daemon/stat"
}

post_all
before=$(ticks)
began=$(date +%s%N)
post_all
took=$(($(date +%s%N) - began))
cpu=$(($(ticks) - before))
events=$((4 * 500 * posts))
bytes=$(($(cat "$folder"/body-? | wc -c) / 2000))
echo "$events events of $bytes bytes in $((took / 1000000)) ms: $((events * 1000 / (took / 1000000))) events/s"
echo "CPU: $((cpu * 1000000 * 1000 / $(getconf CLK_TCK) / events)) ms per million events"
cat "$folder"/body-?.times | sort -n -k 2 |
    awk '$1 != 200 { bad++ } { t[NR] = $2 }
        END { printf "a post: median %.1f ms, 99 of 100 within %.1f ms; not taken: %d\n",
            t[int(NR / 2)] * 1000, t[int(NR * 0.99)] * 1000, bad }'
echo "peak memory: $(awk '$1 == "VmHWM:" { print int($2 / 1024) }' "/proc/$daemon/status") MiB"
