"""One drain of the usage topic in a process of its own: `bare` only counts, `whole` is the service with all it does.

`untransacted` is the same but for its transactions, whose price is the difference.

The settings come by environment; one JSON object is the last line of the output.
"""

import argparse
import asyncio
import cProfile
import json
import logging
import os
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from aiokafka.structs import TopicPartition

from service.app import Given, running
from service.commands.context import read_rulebook
from service.kafka.consumer import KafkaIntake
from service.kafka.log import reader
from service.kafka.publisher import KafkaPublisher
from service.kafka.sender import started_producer
from service.settings import Settings
from service.settings import load as load_settings
from service.shard import life
from service.shard.outbox import Outbox
from service.wire.topics import Topics
from tests.bench.stopwatch import Stopwatch


async def bare(settings: Settings, events: int) -> dict[str, Any]:
    """The least that aiokafka can do: poll with the service's settings, and count."""
    topic = Topics(settings.topics.prefix).usage
    consumer = reader(settings.kafka)
    await consumer.start()
    try:
        parts = [TopicPartition(topic, partition) for partition in range(settings.topics.partitions)]
        consumer.assign(parts)
        for part in parts:
            consumer.seek(part, 0)
        began_s, cpu_s, seen = time.perf_counter(), _cpu_s(), 0
        while seen < events:
            found = await consumer.getmany(
                timeout_ms=settings.kafka.poll_wait_ms, max_records=settings.kafka.poll_records
            )
            seen += sum(map(len, found.values()))
        return {"wall_s": time.perf_counter() - began_s, "cpu_s": _cpu_s() - cpu_s}
    finally:
        await consumer.stop()


async def whole(settings: Settings, events: int, profile: Path | None) -> dict[str, Any]:
    """From the first poll that yields a record until the cursor at the end is committed."""
    given = Given(settings, read_rulebook(settings))
    watch, begun = Stopwatch(), _Begun()
    watch.watch("poll", KafkaIntake, "poll")
    watch.watch("decode", life, "decode")
    watch.watch("step", life, "step")
    watch.watch("encode", Outbox, "_encode")
    watch.watch("transactions", KafkaPublisher, "publish")
    begun.note_first_records()
    profiler = None if profile is None else _profile_steps()
    async with running(given) as service:
        await service.until(lambda: service.summary.counted >= events)
        ended_s, cpu_s = time.perf_counter(), _cpu_s()
        if profiler is not None:
            await asyncio.to_thread(profiler.disable)
            profiler.dump_stats(str(profile))
        counted = service.summary.as_json()
        days = sum(service.summary.days.values())
    return {
        "wall_s": ended_s - begun.wall_s,
        "cpu_s": cpu_s - begun.cpu_s,
        "seconds": watch.rounded(),
        "counted": counted["counted"],
        "closes": days,
        "warnings": sum(counted["warnings"].values()),
        "suppressed": sum(counted["suppressed"].values()),
    }


def untransact() -> None:
    """Let every publisher of this process send at once what it would send in a transaction."""

    async def start(publisher: Any) -> None:
        kafka = publisher._settings
        compression = None if kafka.compression == "none" else kafka.compression
        publisher._producer = await started_producer(
            kafka, linger_ms=0, max_batch_size=512 << 10, compression_type=compression
        )

    async def publish(publisher: Any, messages: Any, offsets: Any) -> None:
        del offsets  # a mirror for lag tools
        await publisher._send(messages)

    for method in (start, publish):
        setattr(KafkaPublisher, method.__name__, method)


class _Begun:
    """When the poll began that brought the first record."""

    def __init__(self) -> None:
        self.wall_s = self.cpu_s = 0.0

    def note_first_records(self) -> None:
        poll = KafkaIntake.poll

        async def noted(intake: Any, *args: Any, **kwargs: Any) -> Any:
            wall_s, cpu_s = time.perf_counter(), _cpu_s()
            polled = await poll(intake, *args, **kwargs)
            if not self.wall_s and any(one.records for one in polled):
                self.wall_s, self.cpu_s = wall_s, cpu_s
            return polled

        setattr(KafkaIntake, poll.__name__, noted)


def _profile_steps() -> cProfile.Profile:
    """Profile what runs beside the loop, all of it in one thread."""
    profiler = cProfile.Profile()
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1, initializer=profiler.enable))
    return profiler


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("bare", "whole", "untransacted"))
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--profile", type=Path)
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    settings = load_settings(os.environ, None)
    if options.what == "bare":
        found = asyncio.run(bare(settings, options.events))
    else:
        if options.what == "untransacted":
            untransact()
        found = asyncio.run(whole(settings, options.events, options.profile))
    found["rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
