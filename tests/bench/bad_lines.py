"""What bad lines cost: the same drain with one line in a hundred broken, beside one with none."""

import argparse
import asyncio
from collections import Counter
from typing import Any

import numpy as np

from service.app import specs_of
from service.kafka.feeder import KafkaFeeder
from service.kafka.topics import create_topics
from service.settings import Settings
from service.settings import load as load_settings
from service.wire.topics import Topics
from tests.bench.feed import chunks
from tests.bench.place import broker_in, environment, own_folder
from tests.bench.throughput import drain

BAD_SHARE = 0.01


def add_options(parser: argparse.ArgumentParser) -> None:
    """The sizes."""
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--subscribers", type=int, default=100_000)
    parser.add_argument("--partitions", type=int, default=4)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Drain a log without bad lines and one with, each in a fresh process: clean, broken, broken, clean."""
    wall_s, cpu_s = Counter[float](), Counter[float]()
    bad = 0
    with own_folder() as folder, broker_in(folder) as address:
        for number, share in enumerate((0.0, BAD_SHARE, BAD_SHARE, 0.0)):
            environ = environment(address, options.partitions, folder / str(number))
            broken = asyncio.run(_feed(load_settings(environ, None), options, share))
            drained = drain(environ, "whole", options.events - broken)
            wall_s[share] += drained["wall_s"]
            cpu_s[share] += drained["cpu_s"]
            bad = max(bad, broken)
    clean_eps, broken_eps = (2 * options.events / wall_s[share] for share in (0.0, BAD_SHARE))
    return {
        "events": options.events,
        "bad_lines": bad,
        "clean_eps": round(clean_eps),
        "bad_lines_eps": round(broken_eps),
        "ratio": round(broken_eps / clean_eps, 3),
        "cpu_ratio": round(cpu_s[BAD_SHARE] / cpu_s[0.0], 3),  # on a machine that others use, the truer figure
    }


async def _feed(settings: Settings, options: argparse.Namespace, share: float) -> int:
    """Write the events, some of them cut off in the middle; returns how many are."""
    await create_topics(settings.kafka, specs_of(settings), 1)
    feeder = KafkaFeeder(settings.kafka, Topics(settings.topics.prefix), settings.topics.partitions)
    await feeder.start()
    rng, broken = np.random.default_rng(1), 0
    try:
        for chunk in chunks(options.events, options.subscribers):
            values = list(chunk.values)
            for at in np.flatnonzero(rng.random(len(values)) < share).tolist():
                values[at] = values[at][: len(values[at]) // 2]
                broken += 1
            await feeder.send(chunk.keys, values)
    finally:
        await feeder.stop()
    return broken
