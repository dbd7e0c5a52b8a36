"""What a shard is given: the world it reads and writes, the terms it lives by, and who watches it."""

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol

import polars as pl

from service.clock import Clock
from service.core.rules import Book
from service.core.state import Config, State
from service.core.turn import Turn
from service.ports import Log, Publisher, SnapshotStore
from service.shard.pace import Pace
from service.wire.decode import Intake
from service.wire.topics import Topics


class Stage(StrEnum):
    """Where a shard is in its life."""

    ASSIGNED = "assigned"  # the group says it is ours
    FENCED = "fenced"  # its former owner can publish nothing more
    RESTORING = "restoring"
    RUNNING = "running"
    DRAINING = "draining"  # finishing, committing, keeping a snapshot
    GONE = "gone"


_MOST_DOUBLINGS = 30

Verdict = Literal["committed", "aborted", "unknown", "fenced"]


class Observer(Protocol):
    """Who counts what happens. Called on the worker's loop; must return at once."""

    def records_taken(
        self, partition: int, records: int, rejected: Mapping[str, int], ignored: Mapping[str, int]
    ) -> None:
        """So many usage records are committed; those rejected by fault, those ignored by type, are among them."""

    def turn_committed(self, turn: Turn) -> None:
        """A turn, or a slice of it, is committed."""

    def batch_finished(self, seconds: float) -> None:
        """A polled batch is done to its last turn."""

    def transaction_ended(self, result: Verdict, seconds: float) -> None:
        """A transaction came to an end."""

    def day_closed(self, seconds: float) -> None:
        """A shard closed a day, down to its last slice."""

    def shard_entered(self, partition: int, state: str) -> None:
        """A shard's stage has changed."""

    def shard_left(self, partition: int) -> None:
        """A shard lives here no longer."""

    def usage_held(self, partition: int, *, held: bool) -> None:
        """Whether a shard takes no usage because too much of it is bad."""

    def shard_restored(self, seconds: float) -> None:
        """A shard stands where it stood."""

    def shard_moved(self, partition: int, cursor: int, high_watermark: int) -> None:
        """How far a shard has come, and how far it could."""

    def shard_measured(self, partition: int, state: State) -> None:
        """What a shard's state holds, now and then."""

    def segments_counted(self, partition: int, tally: pl.DataFrame) -> None:
        """Subscribers by segment after a day was closed."""

    def snapshot_saved(self, partition: int, seconds: float, size_bytes: int, at_us: int) -> None:
        """A snapshot was written."""

    def snapshot_found(self, partition: int, at_us: int) -> None:
        """A shard starts from a snapshot written at an instant."""

    def snapshot_failed(self) -> None:
        """A snapshot could not be written."""

    def broker_answers(self, *, connected: bool) -> None:
        """Whether the broker answers."""

    def consumer_restarted(self) -> None:
        """The group was joined anew, for shards were fed nothing."""


def growing(first_s: float, attempt: int, most_s: float) -> float:
    """Seconds to wait before another attempt: `first_s` after the first, each time twice as long, `most_s` at most."""
    return min(first_s * (1 << min(attempt, _MOST_DOUBLINGS)), most_s)


@dataclass(frozen=True, slots=True)
class World:
    """The adapters of a shard, and the processor's time that it shares with the others of its process."""

    log: Log
    publisher: Callable[[int], Publisher]  # a new one, not started, for a partition
    store: SnapshotStore
    clock: Clock
    observer: Observer
    # How many shards are brought back at once: each holds its snapshot's frames beside its state meanwhile.
    restoring: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(os.cpu_count() or 1))
    pace: Pace = field(default_factory=Pace)


@dataclass(frozen=True, slots=True)
class Terms:
    """What is the same for all shards as long as the process lives."""

    rulebook: Book
    intake: Intake
    config: Config = field(default_factory=Config)
    topics: Topics = field(default_factory=Topics)
    currency: str = "CNY"
    wall: bool = False  # whether the clock may close a day, not only the log
    turn_records: int = 50_000
    turn_interval_s: float = 0.0  # between the beginnings of turns, unless many records wait
    mirror_interval_s: float = 1.0  # between commits of turns that say nothing, and between looks at the clock
    snapshot_records: int = 2_000_000
    snapshot_interval_s: float = 600.0
    breaker_records: int = 1_000  # among so many records in a row
    breaker_share: float = 0.5  # no more than this share may be bad; 1: any may
    breaker_run: int = 500  # so many bad ones in a row are too many
    accept_gaps: bool = False  # whether to go on where records were deleted before they were read
    back_off_s: float = 0.5
    most_back_off_s: float = 15.0
    stall_s: float = 60.0  # without a record, though there are more, until the group is joined anew
    memory_bytes: int | None = None  # what the process may take; None: what the machine gives it

    @property
    def worthwhile_records(self) -> int:
        """So many records are worth a turn of their own at once; for fewer, more are waited for a moment."""
        return self.turn_records // 8
