# What a reader's terminals do, for the snippets of one section, which follow. A test puts the ports, the paths
# and the environment in.
# shellcheck shell=bash disable=SC2034,SC2154 # the snippets use what is set here
set -Eeuo pipefail
# The end of a pipe runs in this shell, as it would in a terminal.
shopt -s lastpipe
trap 'echo "snippet at line $AT failed" >&2; exit 1' ERR
trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT
daemon=

# Ctrl-C, and the prompt is back. (SIGTERM, for a shell has its background jobs ignore SIGINT.)
stop() {
    [ -z "$daemon" ] || { kill -TERM "$daemon"; wait "$daemon"; }
    daemon=
}

# The terminal in which the daemon runs.
start() {
    stop
    command sluicegate "$@" >"$OUT/daemon.out" 2>"$OUT/daemon.log" &
    daemon=$!
    until curl -sf "$SLUICEGATE_API_URL/readyz" >/dev/null; do
        kill -0 "$daemon" || { cat "$OUT/daemon.log" >&2; return 1; }
        sleep 0.05
    done
}

# A daemon at the end of a pipe, which ends when the pipe does.
start_piped() {
    stop
    command sluicegate "$@" 2>"$OUT/daemon.log"
}

# A person is slower than the batch's linger.
settle() {
    [ -n "$daemon" ] || return 0
    while curl -sf "$SLUICEGATE_API_URL/status" | grep -q '"pending_records":[1-9]'; do
        sleep 0.05
    done
}
