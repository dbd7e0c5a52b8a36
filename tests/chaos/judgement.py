"""What a read_committed reader sees of every output topic, beside what the core makes of the input."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.app import config_of, intake_of, store_of
from service.commands.context import read_rulebook
from service.core.events import CHANNELS
from service.core.frames import from_frames
from service.core.state import State, new_state
from service.kafka.log import KafkaLog
from service.ports import Log, Records
from service.settings import Settings
from service.wire.messages import Outlet
from service.wire.topics import Topics
from tests.chaos.calculation import DAY, Input, calculate
from tests.chaos.comparison import Difference, Said, compare, said

_MARKED_WITHIN_S = 60.0
_LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class Verdict:
    """What differs, and how much was compared: messages by topic, and how many transitions are among them."""

    difference: Difference
    messages: Mapping[str, int]
    transitions: int


async def judge(settings: Settings, origin: Path | None) -> Verdict:
    """Compare everything; `origin` is where the snapshots lie that the shards began with, if any."""
    log = KafkaLog(settings.kafka)
    await log.start()
    expected: list[Said] = []
    found: list[Said] = []
    try:
        for partition in range(settings.topics.partitions):
            decisions = await _read(log, Topics(settings.topics.prefix).decisions, partition)
            expected += await _expected(log, settings, partition, decisions, origin)
            found += await _found(log, settings, partition, decisions)
    finally:
        await log.stop()
    difference = await asyncio.to_thread(compare, expected, found)
    prefix = settings.topics.prefix
    return Verdict(
        difference,
        messages=Counter(one.topic.removeprefix(prefix) for one in expected),
        transitions=sum(one.topic == Topics(prefix).warnings for one in expected),
    )


async def _expected(
    log: Log, settings: Settings, partition: int, decisions: Records, origin: Path | None
) -> Sequence[Said]:
    topics = Topics(settings.topics.prefix)
    usage, feedback = [await _read(log, topic, partition) for topic in (topics.usage, topics.feedback)]
    rulebook = read_rulebook(settings)

    def calculated() -> list[Said]:
        state = _beginning(settings, partition, origin)
        outlet = Outlet(topics, partition, settings.money.currency)
        given = Input(usage, feedback, decisions)
        return [said(message) for message in calculate(given, state, rulebook, intake_of(settings, None), outlet)]

    return await asyncio.to_thread(calculated)


def _beginning(settings: Settings, partition: int, origin: Path | None) -> State:
    config = config_of(settings, read_rulebook(settings))
    snapshot = None if origin is None else store_of(settings, str(origin)).newest(partition, 0)
    if snapshot is None:
        return new_state(config)
    return from_frames(config, snapshot.manifest, snapshot.frames, snapshot.stored)


async def _found(log: Log, settings: Settings, partition: int, decisions: Records) -> list[Said]:
    topics = Topics(settings.topics.prefix)
    told = (topics.warnings, topics.segments, topics.late, topics.dead_letters, *map(topics.outbound, CHANNELS))
    found = [said(record) for topic in told for record in await _read(log, topic, partition)]
    return found + [said(record) for record in decisions if record.key is not None and record.key.startswith(DAY)]


async def _read(log: Log, topic: str, partition: int) -> Records:
    """All that is committed, once every transaction is marked as ended."""
    async with asyncio.timeout(_MARKED_WITHIN_S):
        while (ends := await log.ends(topic, partition)).last_stable < ends.high_watermark:  # noqa: ASYNC110 - only asking tells
            await asyncio.sleep(_LOOK_S)  # a commit is answered before its markers are written
    async with contextlib.aclosing(log.read(topic, partition, -1, ends.last_stable)) as reading:
        return Records.joined([Records.of(records) async for records in reading] or [Records.of(())])
