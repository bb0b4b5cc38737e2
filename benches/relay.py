#!/usr/bin/env python3
"""The relay beside plain produce of the same bytes: events a second, and CPU an event.

Usage: relay.py PATH/TO/sluicegate PATH/TO/relay-bench KAFKA [EVENTS]

KAFKA is a folder that tests/kafka/fetch.sh has filled; the broker is started on loopback, with one replica. The
bench is what `cargo bench --no-run --bench relay` builds (`--profile dev` for a build like the daemon's). Each way is
taken three times in turn; the broker's own CPU is not counted.
"""

import concurrent.futures
import http.client
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

BODY = 500
CONNECTIONS = 4


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


def java(jars, *arguments):
    heap = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    return ["java", *heap, "-cp", f"{jars}/*", *arguments]


def start_broker(jars, folder):
    plain, controller = free_port(), free_port()
    properties = f"{folder}/server.properties"
    pathlib.Path(properties).write_text(
        f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
listeners=PLAINTEXT://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{controller}
log.dirs={folder}/logs
num.partitions=6
transaction.state.log.replication.factor=1
offsets.topic.replication.factor=1
"""
    )
    cluster = ["format", "--cluster-id", "c2x1aWNlZ2F0ZS1iZW5jaA", "--config", properties]
    subprocess.run(java(jars, "kafka.tools.StorageTool", *cluster), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = open(f"{folder}/broker.log", "w")
    broker = subprocess.Popen(java(jars, "kafka.Kafka", properties), stdout=log, stderr=log)
    while True:
        try:
            socket.create_connection(("127.0.0.1", plain), 1).close()
            return broker, f"127.0.0.1:{plain}"
        except OSError:
            if broker.poll() is not None:
                sys.exit(f"the broker ended: {folder}/broker.log")
            time.sleep(0.2)


def cpu(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start_daemon(program, folder, brokers):
    relay = {"kafka": {"brokers": brokers, "topic": "relayed"}}
    settings = {
        "data_dir": f"{folder}/data",
        "ingest": {"http": {"listen": "127.0.0.1:0", "relay": relay}},
        "api": {"listen": "127.0.0.1:0"},
    }
    pathlib.Path(f"{folder}/s.json").write_text(json.dumps(settings))
    command = [program, "run", "-c", f"{folder}/s.json", "--log-format", "json"]
    daemon = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    address = None
    for line in daemon.stderr:
        line = json.loads(line)
        if line.get("message") == "ready":
            address = line["ingest"]
        if address and line.get("message") == "the relay writes":
            return daemon, address
    sys.exit("the daemon ended")


def post(address, bodies):
    connection = http.client.HTTPConnection(address)
    for body in bodies:
        while True:
            connection.request("POST", "/v1/events", body, {"content-type": "application/x-ndjson"})
            answer = connection.getresponse()
            answer.read()
            if answer.status == 200:
                break
            time.sleep(0.2)


def relayed(daemon, address, bodies):
    before, began = cpu(daemon.pid), time.monotonic()
    parts = [bodies[at::CONNECTIONS] for at in range(CONNECTIONS)]
    with concurrent.futures.ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(lambda part: post(address, part), parts))
    return time.monotonic() - began, cpu(daemon.pid) - before


def produced(bench, brokers, file):
    began = time.monotonic()
    child = subprocess.Popen([bench, brokers, "plain", file], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    if status:
        sys.exit("plain produce failed")
    return time.monotonic() - began, used.ru_utime + used.ru_stime


def main():
    program, bench, jars = sys.argv[1:4]
    count = int(sys.argv[4]) if len(sys.argv) > 4 else 200_000
    with tempfile.TemporaryDirectory() as folder:
        events = f"{folder}/events.ndjson"
        generate = [program, "generate", "--type", "http_request_complete.v0", "--count", str(count), "--seed", "1"]
        with open(events, "wb") as file:
            subprocess.run(generate, stdout=file, check=True)
        lines = pathlib.Path(events).read_bytes().splitlines(keepends=True)
        bodies = [b"".join(lines[at : at + BODY]) for at in range(0, count, BODY)]
        broker, brokers = start_broker(jars, folder)
        daemon, address = None, None
        try:
            make = java(jars, "org.apache.kafka.tools.TopicCommand", "--bootstrap-server", brokers, "--create")
            for topic in ["relayed", "plain"]:
                quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
                subprocess.run([*make, "--topic", topic, "--partitions", "6"], check=True, **quiet)
            daemon, address = start_daemon(program, folder, brokers)
            size = os.path.getsize(events) / count
            print(f"{count} events of {size:.0f} bytes, bodies of {BODY}, {CONNECTIONS} connections")
            for _ in range(3):
                for name, (seconds, used) in [
                    ("relay", relayed(daemon, address, bodies)),
                    ("plain produce", produced(bench, brokers, events)),
                ]:
                    print(f"{name}: {count / seconds:,.0f} events/s, {used / count * 1e6:.1f} µs of CPU an event", flush=True)
        finally:
            if daemon:
                daemon.kill()
                daemon.wait()
            broker.kill()
            broker.wait()


main()
