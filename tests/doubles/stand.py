"""Everything a shard or a worker needs, in memory: broker, store, clock, observer, and usage events to feed it."""

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import polars as pl

from service.core.rules import Rulebook
from service.core.state import Config, State
from service.core.turn import Turn
from service.ports import Message, Record, Snapshot, StoredPiece
from service.shard import Terms, World
from service.wire.decode import Intake
from service.wire.partitioning import partition_of
from service.wire.topics import Topics
from tests.core.rulebooks import MIXED
from tests.doubles.broker import MemoryBroker, MemoryLog, MemoryPublisher
from tests.doubles.clock import ManualClock
from tests.doubles.panes import stored

PARTITIONS = 4
GROUP = "g"
BEGIN = datetime(2013, 6, 1, tzinfo=UTC)
TOPICS = Topics()
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US


class MemoryStore:
    """ports.SnapshotStore; `failing` makes the disk full."""

    def __init__(self) -> None:
        self.kept: dict[int, list[Snapshot]] = {}
        self.failing = False
        self.held: dict[int, int] = {}

    def save(self, partition: int, snapshot: Snapshot) -> dict[str, StoredPiece]:
        if self.failing:
            raise OSError("no space left on device")
        pieces = stored(snapshot.pieces)
        self.kept.setdefault(partition, []).append(replace(snapshot, pieces=pieces))
        return pieces

    def held_bytes(self, partition: int) -> int:
        return self.held.get(partition, 0)

    def newest(self, partition: int, not_after: int) -> Snapshot | None:
        usable = [one for one in self.kept.get(partition, []) if one.manifest["cursor"] <= not_after]
        return max(usable, key=lambda one: int(one.manifest["cursor"]), default=None)


class Witness:
    """An observer that remembers what the tests ask for."""

    def __init__(self) -> None:
        self.stages: list[tuple[int, str]] = []
        self.held: list[tuple[int, bool]] = []
        self.results: list[str] = []
        self.turns: list[Turn] = []
        self.taken: list[tuple[int, int, dict[str, int], dict[str, int]]] = []
        self.saved: list[tuple[int, float, int, int]] = []
        self.failed = self.restored = self.restarts = 0
        self.took_s = 0.0
        self.connected: bool | None = None

    def records_taken(
        self, partition: int, records: int, rejected: Mapping[str, int], ignored: Mapping[str, int]
    ) -> None:
        self.taken.append((partition, records, dict(rejected), dict(ignored)))

    def turn_committed(self, turn: Turn) -> None:
        self.turns.append(turn)

    def batch_finished(self, seconds: float) -> None: ...

    def transaction_ended(self, result: str, seconds: float) -> None:
        self.results.append(result)
        self.took_s += seconds

    def day_closed(self, seconds: float) -> None: ...

    def shard_entered(self, partition: int, state: str) -> None:
        self.stages.append((partition, state))

    def shard_left(self, partition: int) -> None:
        self.stages.append((partition, "gone"))

    def usage_held(self, partition: int, *, held: bool) -> None:
        self.held.append((partition, held))

    def shard_restored(self, seconds: float) -> None:
        self.restored += 1
        self.took_s += seconds

    def shard_moved(self, partition: int, cursor: int, high_watermark: int) -> None: ...

    def shard_measured(self, partition: int, state: State) -> None: ...

    def segments_counted(self, partition: int, tally: pl.DataFrame) -> None: ...

    def snapshot_saved(self, partition: int, seconds: float, size_bytes: int, at_us: int) -> None:
        self.saved.append((partition, seconds, size_bytes, at_us))

    def snapshot_found(self, partition: int, at_us: int) -> None: ...

    def snapshot_failed(self) -> None:
        self.failed += 1

    def broker_answers(self, *, connected: bool) -> None:
        self.connected = connected

    def consumer_restarted(self) -> None:
        self.restarts += 1


class Stand:
    """A world in memory with all topics, and the terms to live in it."""

    def __init__(self, rulebook: Rulebook = MIXED, **terms: Any) -> None:
        self.broker = MemoryBroker()
        for spec in TOPICS.specs(PARTITIONS, 30):
            self.broker.make_topic(spec.name, spec.partitions)
        self.store = MemoryStore()
        self.clock = ManualClock(micros(BEGIN))
        self.witness = Witness()
        self.log = MemoryLog(self.broker, most=50)
        self.world = World(self.log, self._publisher, self.store, self.clock, self.witness)
        plain: dict[str, Any] = {
            "rulebook": rulebook,
            "intake": Intake(PARTITIONS, tolerance_us=10**15),
            "config": Config(windows_days=(1, 7, 14, 30), grace_us=2 * HOUR_US),
            "mirror_interval_s": 0.01,
            "back_off_s": 0.001,
            "most_back_off_s": 0.01,
        }
        self.terms = Terms(**(plain | terms))

    def _publisher(self, partition: int) -> MemoryPublisher:
        return MemoryPublisher(self.broker, transactional_id(partition), GROUP)

    def feed(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self.broker.append(message)

    def said(self, partition: int | None = None) -> list[tuple[str, str | None, bytes | None]]:
        """(topic, CloudEvents id, value) of what a read_committed reader sees: warnings, orders, changes of segment."""
        topics = [
            TOPICS.warnings,
            TOPICS.segments,
            *(TOPICS.outbound(channel) for channel in ("call", "sms", "manager")),
        ]
        return [
            (topic, dict(record.headers)["ce_id"].decode(), record.value)
            for topic in topics
            for record in self.broker.read(topic, partition)
        ]

    def records(self, topic: str, partition: int | None = None) -> list[Record]:
        return self.broker.read(topic, partition)


def transactional_id(partition: int) -> str:
    return f"t-{partition}"


def micros(at: datetime) -> int:
    return int(at.timestamp()) * 1_000_000


_numbers = itertools.count()


def usage(subscriber: str, event_type: str, hours: float, **fields: Any) -> Message:
    """An event so many hours after BEGIN, on the partition that its key belongs to."""
    at_us = micros(BEGIN) + int(hours * HOUR_US)
    told = {
        "id": f"e{next(_numbers)}",
        "type": event_type,
        "subscriber_id": subscriber,
        "occurred_at": datetime.fromtimestamp(at_us / 1e6, UTC).isoformat(),
        **fields,
    }
    return Message(TOPICS.usage, home(subscriber), subscriber.encode(), orjson.dumps(told))


def home(subscriber: str) -> int:
    partition = partition_of(subscriber.encode(), PARTITIONS, "murmur2")
    assert partition is not None
    return partition


def neighbours(partition: int, count: int) -> list[str]:
    """So many subscribers that live on a partition."""
    names = (f"s{number}" for number in itertools.count())
    return list(itertools.islice((name for name in names if home(name) == partition), count))


def month(subscribers: Sequence[str], days: int = 12) -> list[Message]:
    """Some who speak every day, every third of whom falls silent half way; complaints now and then."""
    messages = [usage(who, "consent.changed", 0.1, channel="call", granted=True) for who in subscribers]
    joined = {"activated_on": "2010-01-01", "market": "campus"}
    messages += [usage(who, "subscriber.profile", 0.1, **joined) for who in subscribers]
    for day in range(days):
        for number, who in enumerate(subscribers):
            if number % 3 == 0 and day > days // 2:
                continue
            hours = day * 24 + 8 + number % 12
            messages.append(usage(who, "usage.voice", hours, seconds=60 * (number + 1)))
            messages.append(usage(who, "charge", hours + 0.1, amount_minor=400 + number, kind="usage"))
            if (day + number) % 5 == 0:
                complaint = {"complaint_id": f"c{day}-{number}", "topic": "coverage"}
                messages.append(usage(who, "complaint.opened", hours + 0.2, **complaint))
    return sorted(messages, key=lambda message: orjson.loads(message.value or b"")["occurred_at"])


async def forever(_: int) -> bool:
    """A partition that is ours for ever."""
    await asyncio.sleep(0)
    return True
