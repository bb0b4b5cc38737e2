#!/bin/sh
# An outage of one of ten destinations at a steady rate: a sender posts bodies of 500 events, each event
# for one of ten destinations by its filter, and half-way one of them begins to refuse connections. Tells
# every ten seconds how long the oldest record of the other nine has waited, the daemon's memory, and what
# was copied to make room; and at the end how long the posts took before and in the outage.
#
#     cargo build --release && benches/ten.sh target/release/sluicegate FOLDER [SECONDS] [EVENTS-PER-SECOND]
#
# SECONDS is the length of each half; for a figure to be published it is 1800. What is made in the folder
# is deleted at the end.
set -eu
sluicegate=$1
folder=$(mktemp -d "$2/ten.XXXXXX")
seconds=${3:-1800}
rate=${4:-20000}
pids=
trap 'kill -KILL $pids 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$folder"' EXIT

# Writes settings in which destination 0 takes its records, or does not.
settings() {
    cat <<SETTINGS
data_dir: $folder/data
ingest: { http: { listen: "127.0.0.1:4280" } }
api: { listen: "127.0.0.1:4281" }
journal: { max_bytes: 1GiB }
destinations:
SETTINGS
    for number in 0 1 2 3 4 5 6 7 8 9; do
        if [ "$number$1" = 0down ]; then
            echo "  - { id: to-0, target: { debug: { callback_url: \"http://127.0.0.1:9/\" } } }"
        else
            echo "  - { id: to-$number, target: { file: { path: /dev/null } } }"
        fi
    done
    echo "subscriptions:"
    for number in 0 1 2 3 4 5 6 7 8 9; do
        echo "  - id: of-$number"
        echo "    sources: [{ type: http_request_complete.v0, filter: \"ev.http.request.method == 'm$number'\" }]"
        echo "    destinations: [to-$number]"
    done
}

"$sluicegate" generate --type http_request_complete.v0 --count 500 --seed 1 |
    awk '{ sub(/"method":"[a-z]*"/, "\"method\":\"m" NR % 10 "\""); print }' >"$folder/body"
settings up >"$folder/settings.yaml"
SLUICEGATE_LOG=error "$sluicegate" run -c "$folder/settings.yaml" &
daemon=$!
pids=$daemon
until [ "$(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:4281/readyz)" = 200 ]; do
    sleep 0.05
done

# The rate in bodies a second, each timed; curl keeps it.
post_for() {
    bodies=$((rate / 500))
    curl -s -o /dev/null --rate "$bodies/s" -w '%{http_code} %{time_total}\n' -H 'expect:' \
        -H 'content-type: application/x-ndjson' --data-binary "@$folder/body" \
        "http://127.0.0.1:4280/v1/events?[1-$((bodies * seconds))]" >"$folder/times"
}

tell() {
    curl -s http://127.0.0.1:4281/status >"$folder/status"
    oldest=$(tr '{' '\n' <"$folder/status" | grep '"id":"to-[1-9]"' |
        grep -o '"oldest_pending_seconds":[0-9.]*' | cut -d : -f 2 | sort -n | tail -n 1)
    copied=$(grep -o '"compacted_bytes":[0-9]*' "$folder/status" | cut -d : -f 2)
    held=$(grep -o '"pending_bytes":[0-9]*' "$folder/status" | tail -n 1 | cut -d : -f 2)
    memory=$(awk '$1 == "VmRSS:" { print int($2 / 1024) }' "/proc/$daemon/status")
    echo "$1  ${oldest:-?}  $((held / 1048576))  $((copied / 1048576))  $memory"
}

for half in up down; do
    settings "$half" >"$folder/settings.yaml"
    kill -HUP "$daemon"
    sleep 2
    echo "destination 0 is $half: second  oldest of the others s  journal MiB  copied MiB  resident MiB"
    post_for &
    poster=$!
    pids="$daemon $poster"
    second=0
    while [ "$second" -lt "$seconds" ]; do
        sleep 10
        second=$((second + 10))
        tell "$second"
    done
    wait "$poster"
    sort -n -k 2 "$folder/times" |
        awk -v size="$(wc -c <"$folder/body")" '$1 == 200 { taken++ } { t[NR] = $2 }
            END { printf "%d of %d bodies taken, %d MiB; a post: median %.1f ms, 99 of 100 within %.1f ms\n",
                taken, NR, taken * size / 1048576, t[int((NR + 1) / 2)] * 1000, t[int(NR * 0.99)] * 1000 }'
done
echo "peak memory: $(awk '$1 == "VmHWM:" { print int($2 / 1024) }' "/proc/$daemon/status") MiB"
kill -KILL "$daemon"
wait "$daemon" 2>/dev/null || true
began=$(date +%s%N)
SLUICEGATE_LOG=error "$sluicegate" run -c "$folder/settings.yaml" &
daemon=$!
pids=$daemon
until [ "$(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:4281/readyz)" = 200 ]; do
    sleep 0.02
done
echo "ready again after a kill in $((($(date +%s%N) - began) / 1000000)) ms"
"$sluicegate" ledger -c "$folder/settings.yaml"
