"""What the shell needs of the world: a log to read, a publisher that commits, a store of snapshots."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal, Protocol

import polars as pl

from service.core.frames import Piece, StoredPiece
from service.core.rules import Rulebook
from service.core.turn import Mute
from service.wire.records import Message, Record, Records

__all__ = [
    "Aborted",
    "Acknowledge",
    "Act",
    "Alert",
    "AlertTail",
    "Behind",
    "Desk",
    "Ends",
    "Fenced",
    "InForce",
    "Log",
    "Lost",
    "Message",
    "MutePage",
    "NotReady",
    "Piece",
    "Publisher",
    "Record",
    "Records",
    "Refused",
    "RefusedRulebook",
    "Resolve",
    "SegmentPage",
    "Snapshot",
    "SnapshotStore",
    "Snooze",
    "StoredPiece",
    "Truncated",
    "Unknown",
    "WarningPage",
    "WarningQuery",
]


@dataclass(frozen=True, slots=True)
class Ends:
    """Where a partition ends: for read_committed readers, and for everybody."""

    last_stable: int
    high_watermark: int


class Aborted(Exception):  # noqa: N818 - a verdict on a transaction, not a fault
    """The transaction is known not to have happened: send the same again."""


class Unknown(Exception):  # noqa: N818 - a verdict on a transaction, not a fault
    """Whether the transaction happened is not known: start a new publisher, then read the cursor."""


class Fenced(Exception):  # noqa: N818 - a verdict on a publisher, not a fault
    """Another publisher with this shard's id has taken over, or our transaction timed out."""


class Refused(Exception):  # noqa: N818 - a verdict on a message, not a fault
    """The broker will never take `message` (too large, no right): the transaction was aborted."""

    def __init__(self, message: Message, reason: str) -> None:
        super().__init__(f"{message.topic}-{message.partition} refuses a message: {reason}")
        self.message = message


class Lost(Exception):  # noqa: N818 - a state of the world, not a fault
    """The broker cannot be reached just now: wait, and ask again."""


class Truncated(Exception):  # noqa: N818 - a state of the world, not a fault
    """The log no longer holds what was asked for: it begins at `beginning`."""

    def __init__(self, topic: str, partition: int, asked: int, beginning: int) -> None:
        super().__init__(f"{topic}-{partition} begins at {beginning}, its records from {asked} on are deleted")
        self.topic = topic
        self.partition = partition
        self.asked = asked
        self.beginning = beginning


class Publisher(Protocol):
    """The transactional producer of one shard; one per owned partition."""

    async def start(self) -> None:
        """Fence the former owner and settle its open transaction. Raises: Lost."""

    async def publish(self, messages: Sequence[Message], offsets: Mapping[tuple[str, int], int]) -> None:
        """Send all in one transaction with the group offsets; every future is awaited before the commit.

        Raises: Aborted, Unknown, Fenced, Refused. After all but the first this publisher publishes nothing more.
        """

    async def stop(self) -> None:
        """Let go of the broker; never raises, takes a few seconds at most."""


class Log(Protocol):
    """The world's log, for restore, tails and questions about it; belongs to no group."""

    async def ends(self, topic: str, partition: int) -> Ends:
        """Where a partition ends now. Raises: Lost."""

    async def beginning(self, topic: str, partition: int) -> int:
        """The first offset that a partition still holds. Raises: Lost."""

    def read(self, topic: str, partition: int, start: int, stop: int) -> AsyncGenerator[Sequence[Record]]:
        """Committed records from `start` to before `stop`, until the position is at least that; -1: the beginning.

        Close it (contextlib.aclosing) where you leave it early.

        Raises: Lost, Truncated.
        """


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A shard's state at a committed cursor: frames by name, and a manifest of plain JSON values.

    `pieces` of it never change again, by name: frames to be stored, or what the store has already.
    """

    manifest: Mapping[str, Any]
    frames: Mapping[str, pl.DataFrame]
    pieces: Mapping[str, Piece] = field(default_factory=dict)

    @property
    def stored(self) -> dict[str, StoredPiece]:
        """Those of its pieces that a store has: of a snapshot that was found all of them."""
        return {name: piece for name, piece in self.pieces.items() if not isinstance(piece, pl.DataFrame)}


class SnapshotStore(Protocol):
    """Where snapshots live. Saving is atomic; a torn or foreign one is never returned."""

    def save(self, partition: int, snapshot: Snapshot) -> Mapping[str, StoredPiece]:
        """Keep a snapshot, which `manifest["cursor"]` names; returns its pieces as they can be read again by name.

        Raises: OSError where it cannot be kept.
        """

    def newest(self, partition: int, not_after: int) -> Snapshot | None:
        """The newest valid snapshot whose manifest["cursor"] is at most `not_after`; its pieces are all stored."""

    def held_bytes(self, partition: int) -> int:
        """Memory that the shard held when its newest snapshot was taken, 0 where that is not known. Raises: OSError."""


class Busy(Exception):  # noqa: N818 - a state, not a fault
    """What is asked for cannot be read at once: a step is under way, or a part of it lies elsewhere."""


class NotReady(Exception):  # noqa: N818 - an honest answer, not a fault
    """The shard that could answer is not running here yet; `partitions` says which."""

    def __init__(self, partitions: Sequence[int]) -> None:
        super().__init__(f"restoring partitions {sorted(partitions)}")
        self.partitions = tuple(sorted(partitions))


@dataclass(frozen=True, slots=True)
class RefusedRulebook:
    """A published rulebook that cannot be used here, and all that is wrong with it."""

    hash: str
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InForce:
    """The rulebook that judges the open day, since when (None: nothing was published for so early a day).

    `following` is the hash of the next one, and its day; `refused` would judge, or come to, could they be used.
    """

    rulebook: Rulebook
    effective_on: date | None = None
    following: tuple[str, date] | None = None
    refused: tuple[RefusedRulebook, ...] = ()


@dataclass(frozen=True, slots=True)
class WarningQuery:
    """A filter over open and past warnings; None means any. Newest first by (raised_us, episode_id)."""

    rule: str | None = None
    severity: str | None = None
    market: str | None = None
    area: str | None = None
    manager: str | None = None
    state: str | None = None  # raised | acknowledged | snoozed | recovering | resolved; None: the open ones
    suppressed: bool | None = None  # only those that are withheld, or only those that are published
    since_us: int | None = None
    before: tuple[int, str] | None = None  # the last row of the page before
    limit: int = 100


@dataclass(frozen=True, slots=True)
class WarningPage:
    """Rows with the columns of core.turn.TRANSITIONS; `missing` names partitions that could not answer."""

    warnings: pl.DataFrame
    missing: tuple[int, ...]
    as_of: Mapping[int, int]  # partition -> cursor


@dataclass(frozen=True, slots=True)
class SegmentPage:
    """Cells with the columns of core.crosstabs.CELLS; `missing` names partitions that could not answer."""

    cells: pl.DataFrame
    missing: tuple[int, ...]
    as_of: Mapping[int, int]  # partition -> cursor
    closed_days: Mapping[int, int | None]  # partition -> the last closed day, since 1970


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Somebody takes a warning over."""

    by: str
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Snooze:
    """Somebody puts a warning off until the close of a day."""

    by: str
    until: date
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Resolve:
    """Somebody says how a warning ended."""

    by: str
    outcome: Literal["retained", "false_positive"]
    note: str | None = None


Act = Acknowledge | Snooze | Resolve


class Behind(Exception):  # noqa: N818 - an honest answer, not a fault
    """What was to last until a day would have no effect: `closed` is closed already."""

    def __init__(self, closed: date) -> None:
        super().__init__(f"{closed} is closed already")
        self.closed = closed


@dataclass(frozen=True, slots=True)
class MutePage:
    """The mutes in force over all shards. `lacking`: by mute id, partitions that answered and do not have it."""

    mutes: tuple[Mute, ...]
    lacking: Mapping[str, tuple[int, ...]]
    missing: tuple[int, ...]


class Desk(Protocol):
    """What the HTTP side may ask. Every method is safe to call from another thread than the worker's."""

    def subscriber(self, subscriber_id: str, *, at_once: bool = False) -> dict[str, Any] | None:
        """The front office's record as plain values, or None where nobody of that id is known.

        Raises: NotReady; Busy where it cannot be had `at_once`.
        """

    def holder(self, msisdn: str) -> str | None:
        """Id of the newest holder of a phone number over all shards. Raises: NotReady."""

    def warnings(self, query: WarningQuery) -> WarningPage:
        """One page of the warnings that meet the query, over all shards."""

    def open_counts(self) -> tuple[pl.DataFrame, tuple[int, ...]]:
        """(published open warnings by rule and severity: columns rule, severity, open; missing partitions)."""

    def segments(self) -> SegmentPage:
        """Subscribers counted by segment and what tells segments apart, over all shards."""

    def warning(self, episode_id: str) -> dict[str, Any] | None:
        """One row of core.turn.TRANSITIONS. Raises: NotReady when not found while a shard is restoring."""

    def roll(self, roll_id: str, limit: int) -> tuple[pl.DataFrame, tuple[int, ...]] | None:
        """(subscriber_id and the roll's numbers, missing partitions), or None for an unknown roll."""

    async def act(self, episode_id: str, act: Act, wait_s: float) -> bool:
        """Write what somebody does with a warning to churn.feedback; True when its shard has applied it in time.

        Raises: NotReady, KeyError, Lost; Behind where it is put off to a day that is closed.
        """

    def mutes(self) -> MutePage:
        """The mutes in force."""

    async def mute(self, mute: Mute, wait_s: float) -> bool:
        """Tell every shard of a mute (`since` is not told: it begins now); True when all have applied it in time.

        Raises: Lost, Behind. Where it was told some of them only, to say it again does no harm.
        """

    async def unmute(self, mute_id: str, by: str, wait_s: float) -> bool:
        """Tell every shard that a mute ends now; True when all have applied it in time. Raises: Lost."""

    def in_force(self) -> InForce:
        """The rulebook that judges now."""

    def readiness(self) -> Mapping[str, Any]:
        """`{"ready": bool, "live": bool, "broker": bool, "shards": {partition: state}, "reason": str | None}`."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One committed record of churn.warnings on its way to live clients."""

    partition: int
    offset: int
    headers: Mapping[str, str]
    data: Mapping[str, Any]


class AlertTail(Protocol):
    """The tail of churn.warnings, read_committed and without a group; lives on the HTTP side's loop."""

    async def positions(self) -> Mapping[int, int]:
        """Next offset of every partition now."""

    def follow(self, positions: Mapping[int, int]) -> AsyncIterator[Alert]:
        """Alerts from `positions` on, for ever, in offset order within each partition."""
