"""How many events a second one worker takes with everything on, against a bare loop that only counts them.

And what exactly-once costs: the same events through the same worker, which sends without transactions.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from service.app import specs_of
from service.kafka.feeder import KafkaFeeder
from service.kafka.topics import create_topics
from service.settings import Settings
from service.settings import load as load_settings
from service.wire.topics import Topics
from tests.bench.feed import chunks
from tests.bench.place import ROOT, broker_in, environment, own_folder

_WITHIN_S = 900.0
_OWN = ("CHURN_TOPICS__PREFIX", "CHURN_KAFKA__GROUP_ID", "CHURN_SNAPSHOTS__FOLDER")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The sizes, by default those of the figures in the README."""
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--subscribers", type=int, default=200_000)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--turn-records", type=int, help="most records of one turn; else the service's own default")
    parser.add_argument("--getmany", action="store_true", help="read record by record, not by whole batches")
    parser.add_argument("--profile", type=Path, help="write a cProfile of decode, step and encode here (one thread)")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Feed a real broker, then drain it bare, whole, bare again and untransacted, each in a fresh process."""
    with own_folder() as folder, broker_in(folder) as address:
        environ = environment(address, options.partitions, folder) | _reading(options)
        size = asyncio.run(_feed(load_settings(environ, None), options))
        # What was taken once is taken: the same events again, on topics of their own.
        other = environ | {name: f"{environ[name]}untransacted" for name in _OWN}
        asyncio.run(_feed(load_settings(other, None), options))
        profile = [] if options.profile is None else ["--profile", str(options.profile.resolve())]
        first = drain(environ, "bare", options.events)
        whole = drain(environ, "whole", options.events, *profile)
        second = drain(environ, "bare", options.events)
        untransacted = drain(other, "untransacted", options.events)
    bare_eps = 2 * options.events / (first["wall_s"] + second["wall_s"])
    whole_eps = options.events / whole["wall_s"]
    return {
        "events": options.events,
        "subscribers": options.subscribers,
        "partitions": options.partitions,
        "whole_batches": not options.getmany,
        "event_bytes": round(size / options.events),
        "bare_drain_eps": round(bare_eps),
        "end_to_end_eps": round(whole_eps),
        "ratio": round(whole_eps / bare_eps, 3),
        "untransacted_eps": round(options.events / untransacted["wall_s"]),
        "transacted_ratio": round(untransacted["wall_s"] / whole["wall_s"], 3),
        "bare_drains": [_figures(first), _figures(second)],
        "end_to_end": _figures(whole),
        "untransacted": _figures(untransacted),
        "cpus": os.cpu_count(),
    }


def _reading(options: argparse.Namespace) -> dict[str, str]:
    told = {"CHURN_KAFKA__WHOLE_BATCHES": str(not options.getmany).lower()}
    if options.turn_records is not None:
        told["CHURN_KAFKA__POLL_RECORDS"] = str(options.turn_records)
    return told


async def _feed(settings: Settings, options: argparse.Namespace) -> int:
    """Write the events; returns the bytes of their values."""
    await create_topics(settings.kafka, specs_of(settings), 1)
    feeder = KafkaFeeder(settings.kafka, Topics(settings.topics.prefix), settings.topics.partitions)
    await feeder.start()
    size = 0
    try:
        for chunk in chunks(options.events, options.subscribers):
            await feeder.send(chunk.keys, chunk.values)
            size += sum(map(len, chunk.values))
    finally:
        await feeder.stop()
    return size


def drain(environ: Mapping[str, str], what: str, events: int, *more: str) -> dict[str, Any]:
    done = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", "tests.bench.drain", what, "--events", str(events), *more],
        cwd=ROOT,
        env=dict(environ),
        stdout=subprocess.PIPE,
        text=True,
        timeout=_WITHIN_S,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _figures(drained: Mapping[str, Any]) -> dict[str, Any]:
    return {name: round(value, 2) if isinstance(value, float) else value for name, value in drained.items()}
