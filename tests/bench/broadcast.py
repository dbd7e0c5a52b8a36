"""What a city says at the close of a day and how it comes back, on a real Kafka and along the service's own path."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import polars as pl

from service.app import specs_of
from service.clock import SystemClock
from service.core.publication import orders_of
from service.core.rules import Rulebook
from service.core.state import Config, State
from service.core.step import SLICE
from service.core.turn import LATE, TRANSITIONS, DayRecord, Turn
from service.kafka.feeder import KafkaFeeder
from service.kafka.log import KafkaLog
from service.kafka.publisher import KafkaPublisher
from service.kafka.topics import create_topics
from service.metrics import Metrics
from service.ports import Publisher, SnapshotStore
from service.settings import Settings
from service.shard.outbox import Outbox, Poll
from service.shard.restore import restore
from service.shard.world import Terms, World
from service.wire.decode import Intake
from service.wire.topics import Topics
from tests.bench.feed import chunks

_NO_LATE = pl.DataFrame(schema=LATE)


def told_again(transitions: pl.DataFrame, wanted: int) -> pl.DataFrame:
    """As many transitions as are wanted: those there are, said again where they are too few."""
    if transitions.is_empty():
        return transitions
    return pl.concat([transitions] * -(-wanted // transitions.height)).head(wanted)


def slices_of(transitions: pl.DataFrame, day: int, rulebook: str) -> list[Turn]:
    """The turns of a close that says these transitions, at the beginning of the log."""
    count = max(1, -(-transitions.height // SLICE))
    turns = []
    for number in range(count):
        part = transitions.slice(number * SLICE, SLICE)
        record = DayRecord(day, 0, "clock", rulebook, count, number + 1)
        turns.append(Turn(0, 0, part, orders_of(part), _NO_LATE, day=record))
    return turns


class Station:
    """The broker's side of a city: topics, a log, an outbox for each shard."""

    def __init__(self, settings: Settings, config: Config, rulebook: Rulebook, store: SnapshotStore) -> None:
        topics = Topics(settings.topics.prefix)
        self._settings = settings
        self._partitions = range(settings.topics.partitions)
        self._log = KafkaLog(settings.kafka)
        self._world = World(self._log, self._publisher, store, SystemClock(), Metrics("bench", "log"))
        self._terms = Terms(rulebook, Intake(settings.topics.partitions), config, topics)
        self._boxes: dict[int, Outbox] = {}

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Topics made, a fenced publisher a shard."""
        await create_topics(self._settings.kafka, specs_of(self._settings), 1)
        await self._log.start()
        try:
            for partition in self._partitions:
                self._boxes[partition] = box = Outbox(partition, self._world, self._terms, self._no_more, lambda: True)
                publisher = self._publisher(partition)
                await publisher.start()
                box.open(publisher, 0)
            yield
        finally:
            await asyncio.gather(*(box.close() for box in self._boxes.values()))
            await self._log.stop()

    async def say(self, turns: Mapping[int, list[Turn]]) -> None:
        """All shards side by side; each slice a transaction."""
        await asyncio.gather(*(self._boxes[partition].say(said, Poll()) for partition, said in turns.items()))

    async def feed_tail(self, events: int, subscribers: int) -> None:
        """Write events to the usage topic, and the shards' cursors behind them."""
        feeder = KafkaFeeder(self._settings.kafka, self._terms.topics, len(self._partitions))
        await feeder.start()
        try:
            for chunk in chunks(events, subscribers):
                await feeder.send(chunk.keys, chunk.values)
        finally:
            await feeder.stop()
        nothing = pl.DataFrame(schema=TRANSITIONS)
        for partition, end in feeder.ends.items():
            box = self._boxes[partition]
            await box.say([Turn(end, 0, nothing, orders_of(nothing), _NO_LATE)], Poll())
            await box.flush()

    async def restore(self) -> dict[int, State]:
        """Every shard as a worker that takes them all brings them back."""
        restored = await asyncio.gather(
            *(restore(partition, self._world, self._terms) for partition in self._partitions)
        )
        return {partition: one.state for partition, one in zip(self._partitions, restored, strict=True)}

    def _publisher(self, partition: int) -> Publisher:
        return KafkaPublisher(self._settings.kafka, f"{self._settings.kafka.group_id}-{partition}")

    async def _no_more(self) -> Any:
        raise AssertionError("a bench's publisher is never fenced")
