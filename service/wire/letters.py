"""Dead letters read again: what they say, which are asked for, and what goes back to where it came from.

Who replays a letter writes a marker beside it, into the same partition and in the same transaction: so no letter goes
back twice, and everybody can see which have.
"""

import heapq
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field
from enum import StrEnum

from service.wire.deadletters import CUT, EXCEPTIONS, PREFIX
from service.wire.decode import Intake
from service.wire.partitioning import partition_of
from service.wire.records import Message, Record
from service.wire.topics import Topics

MARKER = "churn.replayed.offset"
_LONGEST_OFFSET = 19  # digits
_FAULTS = {name: str(fault) for fault, name in EXCEPTIONS.items()}


class Fate(StrEnum):
    """What becomes of a letter that is to be replayed."""

    SENT = "sent"
    REPLAYED = "replayed"  # before
    CUT = "cut"  # its value was left out, for the broker took no record of its size
    FOREIGN = "foreign"  # it names no topic or partition of ours


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, and the record that it was."""

    record: Record  # as it stands among the dead letters
    topic: str
    partition: int
    offset: int
    reason: str  # a Fault, or the name that somebody else gave it
    message: str

    @property
    def is_cut(self) -> bool:
        """Whether its value was left out."""
        return self.record.value is None and self.record.headers[-1][0] == CUT[0]

    @property
    def size_bytes(self) -> int:
        """Of key and value."""
        return len(self.record.key or b"") + len(self.record.value or b"")


@dataclass(frozen=True, slots=True)
class Asked:
    """Which letters are meant; None: any. Instants are UTC microseconds, `until_us` is not among them."""

    reason: str | None = None
    since_us: int | None = None
    until_us: int | None = None
    at: tuple[int, int] | None = None  # partition and offset among the dead letters

    def admits(self, letter: Letter) -> bool:
        """Whether a letter is meant."""
        record = letter.record
        return (
            self.reason in (None, letter.reason)
            and (self.since_us is None or record.timestamp_us >= self.since_us)
            and (self.until_us is None or record.timestamp_us < self.until_us)
            and self.at in (None, (record.partition, record.offset))
        )


@dataclass(slots=True)
class Survey:
    """Letters by reason, those of them that were replayed, and the newest few."""

    limit: int
    letters: Counter[str] = field(default_factory=Counter)
    replayed: Counter[str] = field(default_factory=Counter)
    _newest: list[tuple[int, int, int, Letter, bool]] = field(default_factory=list)

    def add(self, letter: Letter, *, replayed: bool) -> None:
        """Count one letter."""
        self.letters[letter.reason] += 1
        self.replayed[letter.reason] += replayed
        record = letter.record
        entry = (record.timestamp_us, record.partition, record.offset, letter, replayed)
        heapq.heappush(self._newest, entry)
        if len(self._newest) > self.limit:
            heapq.heappop(self._newest)

    def newest(self) -> list[tuple[Letter, bool]]:
        """At most `limit` letters, the newest first, and whether each was replayed."""
        return [(letter, replayed) for *_, letter, replayed in sorted(self._newest, reverse=True)]


def read_letter(record: Record) -> Letter | None:
    """What a record among the dead letters says; None for a marker, and for what somebody else has written there."""
    # Ours stand last, so a producer's own headers of the same names do not count.
    told = {
        name.removeprefix(PREFIX): (value or b"").decode(errors="replace")
        for name, value in record.headers
        if name.startswith(PREFIX)
    }
    try:
        exception = told["exception.class.name"]
        place = told["topic"], int(told["partition"]), int(told["offset"])
        return Letter(record, *place, _FAULTS.get(exception, exception), told["exception.message"])
    except (KeyError, ValueError):
        return None


def read_marker(record: Record) -> int | None:
    """The offset of the letter that was replayed, which a marker says; None for anything else."""
    if len(record.headers) != 1 or record.key is not None or record.value is not None:
        return None
    name, value = record.headers[0]
    is_offset = name == MARKER and value is not None and value.isdigit() and len(value) <= _LONGEST_OFFSET
    return int(value) if is_offset else None


def fate_of(letter: Letter, replayed: Container[int], topics: Topics, partitions: int) -> Fate:
    """What becomes of a letter, where those at offsets `replayed` of its partition were replayed before."""
    if letter.record.offset in replayed:
        return Fate.REPLAYED
    if letter.topic not in (topics.usage, topics.feedback) or not 0 <= letter.partition < partitions:
        return Fate.FOREIGN
    return Fate.CUT if letter.is_cut else Fate.SENT


def replay_messages(letter: Letter, intake: Intake) -> tuple[Message, Message]:
    """The record as it was, for the partition that its key belongs to, and the marker that says so."""
    record = letter.record
    home = None if record.key is None else partition_of(record.key, intake.partitions, intake.partitioner)
    original = Message(
        letter.topic,
        letter.partition if home is None else home,
        record.key,
        record.value,
        tuple(header for header in record.headers if not header[0].startswith(PREFIX)),
    )
    return original, Message(record.topic, record.partition, None, None, ((MARKER, b"%d" % record.offset),))
