"""The front office asks a running service over HTTP while its feed flows and a day closes; warnings are waited for.

Service and feed are processes of their own; a request is timed from when it was due, so that none hides another's wait.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from service.app import config_of, specs_of, store_of
from service.core.rules import Rulebook
from service.history.bulk import KnownDays, bootstrap_days
from service.history.past import Lot
from service.kafka.sender import KafkaSender
from service.kafka.tail import KafkaAlertTail
from service.kafka.topics import create_topics
from service.ports import Message
from service.settings import Settings
from service.settings import load as load_settings
from service.wire.decode import Intake
from service.wire.partitioning import partition_of
from service.wire.topics import Topics
from tests.bench.marginals import FIRST_ID, LAST_DAY, draw_habits, write_days
from tests.bench.place import ROOT, broker_in, environment, own_folder

_CLIENTS = 8
_PROBES_PER_S = 5
_READY_WITHIN_S = 300.0
_HEARD_WITHIN_S = 120.0
_MEASURES = ("spend", "data", "outgoing")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The sizes, by default those of the figures in the README."""
    parser.add_argument("--subscribers", type=int, default=1_600_000)
    parser.add_argument("--partitions", type=int, default=6)
    parser.add_argument("--days", type=int, default=35, help="of history before the feed")
    parser.add_argument("--lookups", type=int, default=200, help="a second")
    parser.add_argument("--rate", type=int, default=50_000, help="events a second")
    parser.add_argument("--seconds", type=int, default=60)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Load a past, start the service, and ask it as long as the feed flows."""
    with own_folder() as folder, broker_in(folder) as address:
        environ = environment(address, options.partitions, folder)
        settings = load_settings(environ, None)
        _load(settings, options, folder)
        seen = asyncio.run(_watch(settings, environ, options))
    sizes = {
        name: getattr(options, name) for name in ("subscribers", "partitions", "days", "lookups", "rate", "seconds")
    }
    return {**sizes, **seen.figures(), "cpus": os.cpu_count()}


def _load(settings: Settings, options: argparse.Namespace, folder: Path) -> None:
    days = folder / "days"
    days.mkdir()
    habits = draw_habits(options.subscribers)
    write_days(habits, range(LAST_DAY - options.days + 1, LAST_DAY + 1), _MEASURES, days)
    config = config_of(settings, Rulebook("none", ()))
    bootstrap_days(KnownDays(days, LAST_DAY), store_of(settings), Lot(config, intake=Intake(options.partitions)))


@dataclass(slots=True)
class Seen:
    """What was asked and waited for: when it was due (seconds since 1970), and how long it took."""

    lookups: list[tuple[float, float]] = field(default_factory=list)
    warnings: list[tuple[float, float]] = field(default_factory=list)
    refused: Counter[int] = field(default_factory=Counter)  # by status
    unheard: int = 0
    feed: dict[str, float] = field(default_factory=dict)
    service: dict[str, Any] = field(default_factory=dict)

    def figures(self) -> dict[str, Any]:
        """Percentiles in milliseconds, of what fell into a close and of all else."""
        closes = self.service["closes"]
        return {
            "lookup_ms": _percentiles(_apart(self.lookups, closes)),
            "lookup_during_close_ms": _percentiles(_during(self.lookups, closes)),
            "lookups_not_answered": {str(status): count for status, count in self.refused.items()},
            "warning_ms": _percentiles(_apart(self.warnings, closes)),
            "warning_during_close_ms": _percentiles(_during(self.warnings, closes)),
            "warnings_not_seen": self.unheard,
            "fed_eps": round(self.feed["sent"] / (self.feed["ended_s"] - self.feed["began_s"])),
            "counted": self.service["counted"],
            "closes": len(closes),
            "close_s": round(sum(ended - began for began, ended in closes), 2),
            "service_rss_mb": self.service["rss_mb"],
        }


def _during(timed: list[tuple[float, float]], closes: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(at, took) for at, took in timed if any(at + took >= began and at <= ended for began, ended in closes)]


def _apart(timed: list[tuple[float, float]], closes: list[tuple[float, float]]) -> list[tuple[float, float]]:
    during = set(_during(timed, closes))
    return [one for one in timed if one not in during]


def _percentiles(timed: list[tuple[float, float]]) -> dict[str, float]:
    if not timed:
        return {"count": 0}
    ms = np.array([took for _, took in timed]) * 1000
    p50, p99 = np.percentile(ms, (50, 99)).tolist()
    return {"count": len(timed), "p50": round(p50, 1), "p99": round(p99, 1), "max": round(float(ms.max()), 1)}


async def _watch(settings: Settings, environ: Mapping[str, str], options: argparse.Namespace) -> Seen:
    seen = Seen()
    await create_topics(settings.kafka, specs_of(settings), 1)
    async with _process(environ, "tests.bench.serving") as serving:
        address = (await _line(serving)).strip()
        await asyncio.wait_for(_ready(address), _READY_WITHIN_S)
        sizes = {"events": options.rate * options.seconds, "subscribers": options.subscribers, "rate": options.rate}
        arguments = [f"--{name}={value}" for name, value in sizes.items()]
        async with _process(environ, "tests.bench.pouring", *arguments) as pouring:
            over = asyncio.Event()
            asking = asyncio.create_task(_ask_steadily(address, options, seen))
            probing = asyncio.create_task(_probe(settings, seen, over))
            seen.feed = json.loads(await _line(pouring))
            over.set()
        await probing
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        assert serving.stdin is not None
        serving.stdin.close()
        seen.service = json.loads(await _line(serving))
    return seen


@contextlib.asynccontextmanager
async def _process(
    environ: Mapping[str, str], module: str, *arguments: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, cwd=ROOT, env=dict(environ), stdin=pipe, stdout=pipe
    )
    try:
        yield process
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        raise RuntimeError("a process of the bench ended before it had said what it should")
    return line.decode()


async def _ready(address: str) -> None:
    while True:
        async with _connected(address) as ask:
            if await ask("/readyz") == 200:
                return
        await asyncio.sleep(0.1)  # between two looks: the caller gives the deadline


async def _ask_steadily(address: str, options: argparse.Namespace, seen: Seen) -> None:
    """Each client on a connection of its own; they take turns at what is due."""
    rng, numbers, began_s = random.Random(3), itertools.count(), time.time()

    async def client() -> None:
        async with _connected(address) as ask:
            for number in numbers:
                due_s = began_s + number / options.lookups
                await asyncio.sleep(max(0.0, due_s - time.time()))  # the pace that is asked for
                status = await ask(f"/v1/subscribers/{FIRST_ID + rng.randrange(options.subscribers)}")
                seen.lookups.append((due_s, time.time() - due_s))
                if status != HTTPStatus.OK:
                    seen.refused[status] += 1

    await asyncio.gather(*(client() for _ in range(_CLIENTS)))


@contextlib.asynccontextmanager
async def _connected(address: str) -> AsyncIterator[Any]:
    """One kept-alive connection: a function that asks for a path and gives the answer's status."""
    where = urlsplit(address)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)

    async def ask(path: str) -> int:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {where.netloc}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        length = next(int(line.partition(":")[2]) for line in head if line.startswith("content-length:"))
        await reader.readexactly(length)
        return int(head[0].split()[1])

    try:
        yield ask
    finally:
        writer.close()


async def _probe(settings: Settings, seen: Seen, over: asyncio.Event) -> None:
    """Ask to port a number now and then, each time for somebody new, and wait for the warning as it is committed.

    When the feed is over each partition is asked once more: its answer comes behind all that the feed brought.
    """
    topics, partitions = Topics(settings.topics.prefix), settings.topics.partitions
    tail, sender = KafkaAlertTail(settings.kafka, topics.warnings), KafkaSender(settings.kafka)
    await sender.start()
    waiting = _Waiting()
    hearing = asyncio.create_task(_hear(tail, await tail.positions(), waiting, seen))
    left = set(range(partitions))
    try:
        for number in itertools.count():
            who = f"probe-{number}"
            partition = partition_of(who.encode(), partitions, "murmur2")
            assert partition is not None
            if over.is_set():
                left.discard(partition)
            waiting.sent[who], waiting.was_last = time.time(), not left
            await sender.send(Message(topics.usage, partition, who.encode(), _porting(who)))
            if waiting.was_last:
                break
            await asyncio.sleep(1 / _PROBES_PER_S)  # the pace of probes
        await asyncio.wait([hearing], timeout=_HEARD_WITHIN_S)
    finally:
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)
        await sender.stop()
        seen.unheard = len(waiting.sent)


@dataclass(slots=True)
class _Waiting:
    """Probes on their way, with the time of their sending, and whether the last one is among them or back."""

    sent: dict[str, float] = field(default_factory=dict)
    was_last: bool = False


def _porting(who: str) -> bytes:
    event = {"id": who, "type": "np.requested", "subscriber_id": who, "to_network": "other"}
    return json.dumps({**event, "occurred_at": "2024-03-04T12:00:00Z"}).encode()


async def _hear(tail: KafkaAlertTail, positions: Mapping[int, int], waiting: _Waiting, seen: Seen) -> None:
    async for alert in tail.follow(positions):
        at = waiting.sent.pop(str(alert.data.get("subscriber_id")), None)
        if at is not None:
            seen.warnings.append((at, time.time() - at))
        if waiting.was_last and not waiting.sent:
            return
