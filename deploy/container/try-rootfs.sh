#!/usr/bin/env bash
# Proves that a release binary works from the image's root directory and nothing else.
#
# Usage: try-rootfs.sh BINARY
#
# Collects the root with rootfs.sh, enters it as uid 65532, and has the daemon accept one event,
# deliver it to a file, report itself healthy and stop cleanly on SIGTERM.
#
# Exit code: 0 proved, 1 not, 77 skipped because this machine allows neither chroot nor a user
# namespace. The ports are free ones unless SLUICEGATE_INGEST_PORT and SLUICEGATE_API_PORT say others.
set -euo pipefail

readonly uid=65532
readonly ready_seconds=30
readonly delivery_seconds=15
readonly stop_seconds=40 # the drain deadline of 30 s and some air
readonly event='{"event_type":"http_request_complete.v0","object":{"http":{"response":{"status_code":503}}}}'

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/sluicegate-rootfs.XXXXXX")
root=$work/root
log=$work/daemon.log
daemon=

cleanup() {
    if [ -n "$daemon" ]; then
        kill -KILL "$daemon" 2>/dev/null || true
        wait "$daemon" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    echo "try-rootfs: $*" >&2
    if [ -s "$log" ]; then
        echo "--- what the daemon wrote ---" >&2
        tail -n 40 "$log" >&2
    fi
    exit 1
}

[ $# -eq 1 ] || fail "usage: try-rootfs.sh BINARY"

# Fills `enter` with the command prefix that runs a program of the root as the service's user. Each
# prefix ends in exec, so that a signal to the background job reaches the daemon itself.
choose_entrance() {
    if [ "$(id -u)" -eq 0 ] && chroot / true 2>/dev/null; then
        enter=("$(command -v chroot)" "--userspec=$uid:$uid" "--groups=" "$root")
        return
    fi
    enter=("$(command -v unshare)" --user "--map-user=$uid" "--map-group=$uid" "--root=$root" --wd=/)
    if ! unshare --user "--map-user=$uid" "--map-group=$uid" --root=/ --wd=/ true 2>/dev/null; then
        echo "try-rootfs: skipped: neither chroot nor a user namespace is allowed here"
        exit 77
    fi
}

answers_on() {
    (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# A port below the range from which the kernel gives out ports of its own.
free_port() {
    local port
    for _ in {1..50}; do
        port=$((20000 + RANDOM % 10000))
        if ! answers_on "$port"; then
            echo "$port"
            return
        fi
    done
    fail "no free port found"
}

# request URL [JSON_BODY]: the body of a 2xx answer, or a failure.
request() {
    if command -v curl >/dev/null; then
        local arguments=(--silent --show-error --fail-with-body --noproxy '*' --max-time 10)
        if [ $# -eq 2 ]; then
            arguments+=(--header 'content-type: application/json' --data "$2")
        fi
        curl "${arguments[@]}" "$1"
    else
        python3 - "$@" <<'EOF'
import sys, urllib.request
body = sys.argv[2].encode() if len(sys.argv) > 2 else None
ask = urllib.request.Request(sys.argv[1], body, {"content-type": "application/json"})
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
print(opener.open(ask, timeout=10).read().decode())
EOF
    fi
}

daemon_runs() {
    kill -0 "$daemon" 2>/dev/null
}

# within SECONDS WHAT COMMAND...: repeats the command until it succeeds.
within() {
    local seconds=$1 what=$2
    local deadline=$((SECONDS + seconds))
    shift 2
    until "$@" >/dev/null 2>&1; do
        daemon_runs || fail "the daemon ended before it was $what"
        [ "$SECONDS" -lt "$deadline" ] || fail "not $what within $seconds s"
        sleep 0.1
    done
}

choose_entrance
"$here/rootfs.sh" "$1" "$root"
chmod 0755 "$work" # the daemon's user must be able to pass through

ingest_port=${SLUICEGATE_INGEST_PORT:-$(free_port)}
api_port=${SLUICEGATE_API_PORT:-$(free_port)}
api=http://127.0.0.1:$api_port
delivered=/var/lib/sluicegate/delivered.ndjson
cat >"$root/etc/sluicegate/sluicegate.yaml" <<EOF
data_dir: /var/lib/sluicegate/data
ingest:
  http:
    listen: 127.0.0.1:$ingest_port
api:
  listen: 127.0.0.1:$api_port
destinations:
  - id: file
    target:
      file:
        path: $delivered
subscriptions:
  - id: server-errors
    sources:
      - type: http_request_complete.v0
        filter: ev.http.response.status_code >= 500
        fields: [http.response.status_code]
    destinations: [file]
EOF
chmod 0644 "$root/etc/sluicegate/sluicegate.yaml"

env -i "${enter[@]}" /usr/bin/sluicegate run -c /etc/sluicegate/sluicegate.yaml \
    </dev/null >"$log" 2>&1 &
daemon=$!
within "$ready_seconds" "ready" request "$api/readyz"

answer=$(request "http://127.0.0.1:$ingest_port/v1/events" "$event") || fail "the event was refused: $answer"
case ${answer// /} in
*'"accepted":1'*) ;;
*) fail "the event was not accepted: $answer" ;;
esac
within "$delivery_seconds" "done delivering" grep -q '"status_code":503' "$root$delivered"

env -i "${enter[@]}" /usr/bin/sluicegate health --api "$api" >>"$log" 2>&1 ||
    fail "\`sluicegate health\` exited $?"

kill -TERM "$daemon"
deadline=$((SECONDS + stop_seconds))
while daemon_runs; do
    [ "$SECONDS" -lt "$deadline" ] || fail "still running $stop_seconds s after SIGTERM"
    sleep 0.1
done
code=0
wait "$daemon" || code=$?
daemon=
[ "$code" -eq 0 ] || fail "exit code $code after SIGTERM"

size=$(du -sh "$root" | cut -f1)
echo "try-rootfs: ready, delivered, healthy and stopped cleanly as uid $uid in a root of $size, entered by $(basename "${enter[0]}")"
