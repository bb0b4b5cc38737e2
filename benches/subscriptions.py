#!/usr/bin/env python3
"""How long a change takes, and whom it holds up, where there are thousands of subscriptions.

Usage: subscriptions.py PATH/TO/sluicegate FOLDER [SUBSCRIPTIONS [CHANGES]]

Makes SUBSCRIPTIONS through the API, one after the other, each with a filter of its own, and then changes CHANGES of them
and adds as many, while another process posts bodies of 20 events, one every few milliseconds. A change is in force when
its answer comes. Then the daemon is started anew with what the store has, and once more with as many subscriptions in
a settings file. What is made in FOLDER is deleted at the end; with a FOLDER in memory, such as /dev/shm, syncs cost
nothing.
"""

import http.client
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

PAUSE = 0.003


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def filter_of(number):
    status = 400 + number % 100
    return f'event.account_id == "ac_{number}" && ev.http.response.status_code >= {status}'


class Daemon:
    def __init__(self, program, folder, subscriptions):
        self.program, self.folder = program, folder
        self.ingest, self.api = free_port(), free_port()
        settings = {
            "data_dir": str(folder / "data"),
            "ingest": {"http": {"listen": f"127.0.0.1:{self.ingest}"}},
            "api": {"listen": f"127.0.0.1:{self.api}", "rate_limit": {"requests": 1_000_000}},
            "control": {"max_memory": "1GiB"},
            "destinations": [{"id": "out", "target": {"file": {"path": str(folder / "out.ndjson")}}}],
            "subscriptions": subscriptions,
        }
        self.file = folder / f"settings-{self.api}.json"
        self.file.write_text(json.dumps(settings))
        self.environment = {**os.environ, "SLUICEGATE_LOG": "error"}
        began = time.perf_counter()
        run = [program, "run", "-c", str(self.file)]
        self.child = subprocess.Popen(run, env=self.environment, stdout=subprocess.DEVNULL)
        self.connection = http.client.HTTPConnection("127.0.0.1", self.api)
        while not self.is_ready():
            time.sleep(0.002)
        self.took = time.perf_counter() - began

    def is_ready(self):
        try:
            return self.ask("GET", "/readyz")[0] == 200
        except OSError:
            self.connection.close()
            return False

    def ask(self, method, path, body=None, key=None):
        headers = {"content-type": "application/json", "ngrok-version": "2"}
        if key:
            headers["authorization"] = f"Bearer {key}"
        self.connection.request(method, path, json.dumps(body) if body else None, headers)
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def key(self):
        make = [self.program, "api-key", "create", "-c", str(self.file)]
        made = subprocess.run(make, env=self.environment, capture_output=True, check=True, text=True)
        return made.stdout.strip()

    def memory(self):
        lines = pathlib.Path(f"/proc/{self.child.pid}/status").read_text().splitlines()
        return next(int(it.split()[1]) // 1024 for it in lines if it.startswith("VmHWM"))

    def end(self):
        self.child.terminate()
        self.child.wait()


def send(port, out):
    """Posts until it is killed, and writes when each body was sent and how long it took."""
    event = {
        "event_type": "http_request_complete.v0",
        "account_id": "ac_7",
        "object": {"http": {"response": {"status_code": 503}, "request": {"method": "get"}}},
    }
    body = "\n".join([json.dumps(event)] * 20)
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with open(out, "w") as file:
        while True:
            began = time.monotonic()
            connection.request("POST", "/v1/events", body, {"content-type": "application/x-ndjson"})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, answer.status
            file.write(f"{began} {time.monotonic() - began}\n")
            file.flush()
            time.sleep(PAUSE)


class Flow:
    def __init__(self, daemon):
        self.out = daemon.folder / "posts"
        self.child = subprocess.Popen([sys.executable, __file__, "send", str(daemon.ingest), str(self.out)])

    def between(self, start, end):
        lines = (line.split() for line in self.out.read_text().splitlines()[:-1])
        return [float(took) for began, took in lines if start <= float(began) <= end]


def tell(what, seconds):
    seconds = sorted(1000 * it for it in seconds)
    at = lambda part: seconds[min(len(seconds) - 1, int(part * len(seconds)))]
    parts = f"p50 {at(0.5):.1f} ms, p99 {at(0.99):.1f} ms, most {seconds[-1]:.1f} ms, of {len(seconds)}"
    print(f"{what}: {parts}", flush=True)


def timed(what, flow, numbers, change):
    """Makes changes one after the other, and tells what they and the bodies meanwhile took."""
    took, start = [], time.monotonic()
    for number in numbers:
        began = time.monotonic()
        status, answer = change(number)
        took.append(time.monotonic() - began)
        assert status in (200, 201), (status, answer)
    tell(what, took)
    tell("  a body of events meanwhile", flow.between(start, time.monotonic()))


def through_the_api(program, folder, count, changes):
    daemon = Daemon(program, folder, [])
    flow = None
    try:
        key, ids = daemon.key(), []

        def make(number):
            source = {"type": "http_request_complete.v0", "filter": filter_of(number), "fields": ["http.response.status_code"]}
            body = {"sources": [source], "destination_ids": ["out"], "description": f"of account {number}"}
            status, answer = daemon.ask("POST", "/event_subscriptions", body, key)
            ids.append(json.loads(answer).get("id"))
            return status, answer

        def change(number):
            source = {"type": "http_request_complete.v0", "filter": filter_of(number + 1_000_000)}
            at = number * 7919 % count
            return daemon.ask("PATCH", f"/event_subscriptions/{ids[at]}", {"sources": [source]}, key)

        flow = Flow(daemon)
        time.sleep(2)
        now = time.monotonic()
        tell("a body of events, without changes", flow.between(now - 1, now))
        for first in range(0, count, count // 4):
            behind = min(count, first + count // 4)
            timed(f"made, {first} to {behind}", flow, range(first, behind), make)
        timed(f"changed, of {count}", flow, range(changes), change)
        timed(f"added to {count}", flow, range(count, count + changes), make)
        time.sleep(1)
        now = time.monotonic()
        tell("a body of events, without changes", flow.between(now - 1, now))
        print(f"peak memory: {daemon.memory()} MiB", flush=True)
    finally:
        if flow:
            flow.child.kill()
            flow.child.wait()
        daemon.end()
    tell_of_start(program, folder, [], f"start with {count + changes} from the store")


def tell_of_start(program, folder, subscriptions, what):
    took = []
    for _ in range(3):
        daemon = Daemon(program, folder, subscriptions)
        took.append(daemon.took)
        daemon.end()
    tell(what, took)


def main():
    program, count = os.path.abspath(sys.argv[1]), int((sys.argv[3:] or ["10000"])[0])
    changes = int((sys.argv[4:] or ["200"])[0])
    folder = pathlib.Path(tempfile.mkdtemp(dir=sys.argv[2]))
    try:
        through_the_api(program, folder, count, changes)
        shutil.rmtree(folder / "data")
        source = lambda number: {"type": "http_request_complete.v0", "filter": filter_of(number)}
        made = [{"id": f"s{it}", "sources": [source(it)], "destinations": ["out"]} for it in range(count)]
        tell_of_start(program, folder, made, f"start with {count} from a settings file")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if sys.argv[1] == "send":
    send(int(sys.argv[2]), sys.argv[3])
else:
    main()
