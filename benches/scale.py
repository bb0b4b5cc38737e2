#!/usr/bin/env python3
"""From measured figures to so many events a second: cores, disks, partitions, control plane, shards, money.

Usage: scale.py [EVENTS-A-SECOND …] [--name VALUE …]      (scale.py --help lists the names)

Every figure is one of docs/scale.md's table, and can be given anew. It knows nothing of burstiness: ask it for the
highest rate of a minute, not for the mean of a day.
"""

import argparse
import json
import math
import pathlib

PRICES = pathlib.Path(__file__).parent.parent / "src/cli/cost/prices.json"
MONTH = 730 * 3600

FIGURES = [
    # name, default, meaning
    ("event-bytes", 1250, "bytes of an event as it comes in"),
    ("record-bytes", 350, "bytes of a record as it is delivered, with its key (eight fields)"),
    ("matching", 0.09, "records that come of an event"),
    ("match-us", 1.5, "CPU of the daemon an event, in µs: HTTP in, matched, kept on disk, delivered (benches/README.md)"),
    ("relay-us", 0, "CPU of the relay an event, in µs; 0 = no river, daemons take events and deliver them themselves"),
    ("busy", 0.5, "how much of a core may be busy, so that bursts and the loss of a third of the machines fit"),
    ("cores", 8, "cores of a machine"),
    ("nic-gbit", 10, "what a machine's network takes in, in Gbit/s; half of it may be used"),
    ("compression", 5.0, "bytes of events for one in the topic (lz4)"),
    ("replicas", 3, "copies of the topic"),
    ("retention-hours", 24, "how long the topic keeps events"),
    ("partition-mb", 5.0, "MB a second of one partition, compressed, so that one consumer keeps up"),
    ("outage-hours", 1, "how long a destination may be away before its share is full"),
    ("shard-fill", 0.7, "how full shards are"),
    ("listening-max", 300, "daemons that one PostgreSQL is assumed to serve, two connections and three queries a second each"),
]


def reckon(rate, f):
    records = rate * f["matching"]
    river = f["relay-us"] > 0
    cores = rate * (f["match-us"] + f["relay-us"]) / 1e6 / f["busy"]
    network = rate * f["event-bytes"] * 8 / 1e9
    by_network = math.ceil(network * (1 + 1 / f["compression"] if river else 1) / (f["nic-gbit"] / 2))
    daemons = max(math.ceil(cores / f["cores"]), by_network)
    shards = math.ceil(max(records / 1_000, records * f["record-bytes"] / 1e6) / f["shard-fill"])
    prices = {name: it["price"] for name, it in json.loads(PRICES.read_text())["prices"].items()}
    units = records * MONTH * math.ceil(f["record-bytes"] / 25_600)
    money = units / 1e6 * prices["kinesis_million_put_units"] + shards * 730 * prices["kinesis_shard_hour"]
    rows = [
        ("cores of daemons, with room", f"{math.ceil(cores):,}"),
        (f"daemons of {f['cores']:g} cores", f"{daemons:,}"),
        ("network in, all daemons", f"{network:,.0f} Gbit/s, for which {by_network:,} are needed"),
        ("records delivered", f"{records:,.0f} a second, {records * f['record-bytes'] / 1e6:,.1f} MB/s"),
        ("journal written, a daemon", f"{records * f['record-bytes'] / daemons / 1e6:,.2f} MB/s"),
        (
            "journal for an outage, a daemon",
            f"{records * f['record-bytes'] * 3600 * f['outage-hours'] / daemons / 2**30:,.1f} GiB",
        ),
    ]
    if river:
        flow = rate * f["event-bytes"] / f["compression"] / 1e6
        partitions = math.ceil(flow / f["partition-mb"])
        rows += [
            ("topic, in", f"{flow:,.0f} MB/s; with copies {flow * f['replicas']:,.0f} MB/s"),
            ("partitions", f"{max(partitions, daemons):,}"),
            ("disks of the topic", f"{flow * f['replicas'] * 3600 * f['retention-hours'] / 1e6:,.1f} TB"),
        ]
    rows += [
        ("control plane", f"{daemons * 3:,} queries a second, {daemons * 2:,} connections"),
        ("shards of Kinesis", f"{shards:,}"),
        ("Kinesis a month, provisioned", f"{money:,.0f} USD"),
    ]
    return rows, breaks(f, daemons, cores * f["busy"], shards, river)


def breaks(f, daemons, cores_busy, shards, river):
    """What is the first to be past what it bears, if anything is."""
    found = []
    if daemons * f["cores"] * f["busy"] > 1.5 * cores_busy:
        found.append("the network of the daemons, before their cores: larger cards, or compressed bodies (gzip, zstd)")
    if shards > 20_000:
        found.append("shards: more than 20,000 an account and region, the larger quota; split by region or project less")
    if daemons > f["listening-max"]:
        found.append("the control plane: more daemons than one PostgreSQL is assumed to serve; several fleets")
    if river and daemons > 1_000:
        found.append("the group: beyond a thousand members a rebalance takes longer than its sessions; several topics")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rate", nargs="*", type=float, default=[1e6, 1e8], help="events a second")
    for name, default, meaning in FIGURES:
        parser.add_argument(f"--{name}", type=float, default=default, help=f"{meaning} ({default:g})")
    given = vars(parser.parse_args())
    figures = {name: given[name.replace("-", "_")] for name, _, _ in FIGURES}
    for rate in given["rate"]:
        rows, found = reckon(rate, figures)
        print(f"{rate:,.0f} events a second")
        for name, value in rows:
            print(f"  {name:<34} {value}")
        for it in found or ["nothing of what this knows"]:
            print(f"  breaks first: {it}")


main()
