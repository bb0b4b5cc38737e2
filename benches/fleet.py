#!/usr/bin/env python3
"""How long it takes until a change is in force on every daemon of a fleet, and until all change again after the
database was away.

Usage: fleet.py PATH/TO/sluicegate [CHANGES] [DAEMONS]

Starts a PostgreSQL server of its own on loopback (Debian's packages; as another user where it is run by root) and the
daemons, then makes and revokes credentials through each in turn. A credential is in force on a daemon when it takes
an event with its token, which is asked for every 5 ms and of all daemons at once; the clock starts when the answer to
the change comes. Then the server is stopped for 5 s, five times.
"""

import glob
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

KEY = "5a" * 32
EVENT = b'{"event_type": "http_request_complete.v0", "object": {}}'
AWAY = 5.0
ROUNDS = 5


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Database:
    def __init__(self, folder):
        self.programs = pathlib.Path(sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1])
        self.data, self.port = folder / "database", free_port()
        as_owner = ["--reuid=postgres", "--regid=postgres", "--clear-groups"]
        self.owner = ["setpriv", *as_owner] if os.getuid() == 0 else []
        if self.owner:
            self.data.mkdir()
            shutil.chown(self.data, "postgres")
            folder.chmod(0o755)
        made = ["initdb", "-A", "trust", "-U", "sluicegate", "-E", "UTF8", "--no-locale", "-D"]
        self.run(*made, str(self.data), stdout=subprocess.DEVNULL)
        self.begin()

    def run(self, program, *arguments, **more):
        command = [*self.owner, str(self.programs / program), *arguments]
        return subprocess.run(command, cwd="/", check=True, **more)

    def begin(self):
        settings = ["listen_addresses=127.0.0.1", "unix_socket_directories="]
        command = [*self.owner, str(self.programs / "postgres"), "-D", str(self.data)]
        command += ["-p", str(self.port), *(it for one in settings for it in ("-c", one))]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.child = subprocess.Popen(command, cwd="/", **quiet)
        url = f"postgres://sluicegate@127.0.0.1:{self.port}/postgres"
        ask = [str(self.programs / "psql"), "-X", "-q", url, "-c", "SELECT 1"]
        while subprocess.run(ask, **quiet, check=False).returncode != 0:
            time.sleep(0.01)

    def end(self):
        self.child.send_signal(2)
        self.child.wait()


class Daemon:
    def __init__(self, program, folder, database):
        self.ingest, self.api = free_port(), free_port()
        settings = {
            "data_dir": str(folder / "data"),
            "ingest": {"http": {"listen": f"127.0.0.1:{self.ingest}"}},
            "api": {"listen": f"127.0.0.1:{self.api}", "rate_limit": {"requests": 1_000_000}},
            "control": {"store": {"postgres": {"url": f"postgres://sluicegate@127.0.0.1:{database.port}/postgres?sslmode=disable"}}},
        }
        folder.mkdir()
        self.file = folder / "settings.json"
        self.file.write_text(json.dumps(settings))
        self.environment = {**os.environ, "SLUICEGATE_MASTER_KEY": KEY, "SLUICEGATE_LOG": "error"}
        run = [program, "run", "-c", str(self.file)]
        self.child = subprocess.Popen(run, env=self.environment, stdout=subprocess.DEVNULL)
        while self.ask("GET", self.api, "/readyz")[0] != 200:
            time.sleep(0.05)

    def ask(self, method, port, path, body=None, token=None):
        headers = {"content-type": "application/json", "ngrok-version": "2"}
        if token:
            headers["authorization"] = f"Bearer {token}"
        address = f"http://127.0.0.1:{port}{path}"
        request = urllib.request.Request(address, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 0, b""

    def takes(self, token):
        return self.ask("POST", self.ingest, "/v1/events", EVENT, token)[0]


def everywhere(daemons, is_so):
    """Seconds until something is so on each daemon."""
    began, took = time.perf_counter(), [0.0] * len(daemons)

    def wait(at):
        while not is_so(daemons[at]):
            time.sleep(0.005)
        took[at] = time.perf_counter() - began

    threads = [threading.Thread(target=wait, args=(at,)) for at in range(len(daemons))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return max(took)


def tell(what, seconds):
    seconds = sorted(1000 * it for it in seconds)
    at = lambda part: seconds[min(len(seconds) - 1, int(part * len(seconds)))]
    print(f"{what}: p50 {at(0.5):.0f} ms, p99 {at(0.99):.0f} ms, most {seconds[-1]:.0f} ms, of {len(seconds)}", flush=True)


def main():
    program = os.path.abspath(sys.argv[1])
    changes = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    folder = pathlib.Path(tempfile.mkdtemp())
    database, daemons = Database(folder), []
    try:
        daemons = [Daemon(program, folder / f"daemon-{at}", database) for at in range(count)]
        make = [program, "api-key", "create", "-c", str(daemons[0].file)]
        key = subprocess.run(make, env=daemons[0].environment, capture_output=True, check=True, text=True).stdout.strip()
        everywhere(daemons, lambda it: it.ask("GET", it.api, "/event_destinations", None, key)[0] == 200)
        answers, known, gone = [], [], []
        for number in range(changes):
            maker, revoker = daemons[number % count], daemons[(number + 1) % count]
            began = time.perf_counter()
            status, body = maker.ask("POST", maker.api, "/credentials", b"{}", key)
            answers.append(time.perf_counter() - began)
            assert status == 201, (status, body)
            made = json.loads(body)
            known.append(everywhere(daemons, lambda it: it.takes(made["token"]) == 200))
            status, body = revoker.ask("DELETE", revoker.api, f"/credentials/{made['id']}", None, key)
            assert status == 204, (status, body)
            gone.append(everywhere(daemons, lambda it: it.takes(made["token"]) == 401))
        tell("a change answered", answers)
        tell(f"in force on {count} daemons after the answer", known)
        tell(f"revoked on {count} daemons after the answer", gone)
        back = []
        for _ in range(ROUNDS):
            database.end()
            time.sleep(AWAY)
            database.begin()
            can_change = lambda it: it.ask("POST", it.api, "/credentials", b"{}", key)[0] == 201
            back.append(everywhere(daemons, can_change))
        tell(f"changes through all {count} daemons after the database answers again", back)
    finally:
        for daemon in daemons:
            daemon.child.kill()
            daemon.child.wait()
        database.end()
        shutil.rmtree(folder, ignore_errors=True)


main()
