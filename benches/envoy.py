#!/usr/bin/env python3
"""CPU that the daemon takes for one entry of Envoy's access log over gRPC.

Usage: envoy.py PATH/TO/sluicegate [MESSAGES]

Starts the daemon with the journal on disk, has curl send messages of 40 entries each on one stream, with
the headers of a real request, and reads the daemon's CPU time before and after from /proc. One subscription takes
every entry, or, in a second round, none of them. curl's own CPU is not counted.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

ENTRIES = 40


def varint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number % 0x80 | 0x80)
        number //= 0x80
    out.append(number)
    return bytes(out)


def field(tag, value):
    if isinstance(value, int):
        return varint(tag << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(tag << 3 | 2) + varint(len(value)) + value


def address(host, port):
    return field(1, field(2, host) + field(3, port))


def entry(number):
    duration = field(2, 1_500_000)
    common = b"".join(
        [
            field(2, address("198.51.100.7", 1024 + number % 60_000)),
            field(3, address("10.0.0.1", 443)),
            field(4, field(1, 4) + field(2, field(1, 0x1301)) + field(3, "shop.example")),
            field(5, field(1, 1_795_708_488) + field(2, number % 1_000_000_000)),
            *(field(tag, duration) for tag in range(6, 13)),
            field(13, address("10.0.2.1", 8080)),
            field(14, address("10.0.0.1", 40_000)),
            field(15, "shop"),
            field(19, "cart"),
            field(20, address("198.51.100.7", 1024 + number % 60_000)),
            field(23, duration),
            field(24, 1),
            field(26, f"84961386-6d84-929d-98bd-{number:012}"),
            varint(29 << 3) + varint(900),
            varint(30 << 3) + varint(400),
            varint(33 << 3) + varint(6),
        ]
    )
    request = b"".join(
        [
            field(1, 1),
            field(2, "https"),
            field(3, "shop.example"),
            field(5, f"/cart/{number}?item=7&colour=blue"),
            field(6, "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"),
            field(7, "https://shop.example/"),
            field(8, "198.51.100.7"),
            field(9, f"84961386-6d84-929d-98bd-{number:012}"),
            field(11, 300),
            field(13, field(1, "accept-language") + field(2, "en-GB,en;q=0.5")),
        ]
    )
    response = field(1, field(1, 200)) + field(2, 200) + field(3, 700) + field(6, "via_upstream")
    return field(1, common) + field(2, 3) + field(3, request) + field(4, response)


def messages(path, count):
    with open(path, "wb") as file:
        for at in range(count):
            logs = b"".join(field(1, entry(at * ENTRIES + it)) for it in range(ENTRIES))
            message = field(2, logs)
            file.write(b"\0" + len(message).to_bytes(4, "big") + message)
    return os.path.getsize(path) / (count * ENTRIES)


def cpu(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(program, count, what, expression):
    with tempfile.TemporaryDirectory() as folder:
        bytes_each = messages(f"{folder}/messages", count)
        settings = {
            "data_dir": f"{folder}/data",
            "ingest": {"http": {"listen": "127.0.0.1:0"}, "envoy": {"listen": "127.0.0.1:0"}},
            "api": {"listen": "127.0.0.1:0"},
            "destinations": [{"id": "out", "target": {"file": {"path": f"{folder}/out.ndjson"}}}],
            "subscriptions": [
                {
                    "id": "all",
                    "sources": [{"type": "http_request_complete.v0", "filter": expression}],
                    "destinations": ["out"],
                }
            ],
        }
        pathlib.Path(f"{folder}/s.json").write_text(json.dumps(settings))
        command = [program, "run", "-c", f"{folder}/s.json", "--log-format", "json"]
        daemon = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        addresses = {}
        for line in daemon.stderr:
            line = json.loads(line)
            if "access logs" in line.get("message", ""):
                addresses["envoy"] = line["address"]
            if line.get("message") == "ready":
                addresses["api"] = line["api"]
                break
        before, began = cpu(daemon.pid), time.monotonic()
        url = f"http://{addresses['envoy']}/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs"
        subprocess.run(
            ["curl", "-s", "-o", "/dev/null", "--http2-prior-knowledge", "-T", f"{folder}/messages", "-X", "POST"]
            + ["-H", "content-type: application/grpc", "-H", "te: trailers", url],
            check=True,
        )
        while True:
            with urllib.request.urlopen(f"http://{addresses['api']}/status") as answer:
                status = json.load(answer)
            if status["ingest"]["envoy"]["entries"] == count * ENTRIES:
                break
            time.sleep(0.05)
        taken, seconds = cpu(daemon.pid) - before, time.monotonic() - began
        kept = cpu(daemon.pid)
        daemon.terminate()
        daemon.wait()
        entries = count * ENTRIES
        print(
            f"{what}: {entries} entries of {bytes_each:.0f} bytes in {seconds:.1f} s, "
            f"{taken / entries * 1e6:.1f} µs of CPU an entry (with what was delivered by then: {kept:.1f} s in all)"
        )


def main():
    program = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 5_000
    measure(program, count, "every entry matches", "true")
    measure(program, count, "none matches", "ev.http.response.status_code >= 500")


main()
