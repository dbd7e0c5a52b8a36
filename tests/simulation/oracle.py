"""What must have been said, from the input's log and the recorded days alone: the core in one go, without a shell.

Feedback takes effect where the decisions say so, days close at their recorded cuts. What of usage counts, is late,
repeated or unreadable, and when days close by the watermark, is computed a second time in plain Python.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import polars as pl

from service.core.calendar import to_day
from service.core.feedback import apply_feedback
from service.core.hashing import hash64
from service.core.state import State, new_state
from service.core.step import Due, close, step
from service.core.turn import Turn
from service.core.watermark import Watermark
from service.ports import Message, Record
from service.shard import Terms
from service.wire.decisions import CURSOR, decision_messages
from service.wire.decode import decode
from service.wire.feedback import decode_feedback
from service.wire.messages import Outlet, turn_messages
from service.wire.segments import segment_messages

Said = tuple[str, str, bytes | None]  # topic, id, value


@dataclass(frozen=True)
class Decided:
    """One transaction of a shard: where it stands then, and the days whose close it begins, as (day, cut, cause)."""

    cursor: int
    feedback: int
    closes: tuple[tuple[int, int, str], ...]


@dataclass
class Expected:
    """What a partition must have said, and which of its records must have gone where, by offset."""

    said: list[Said] = field(default_factory=list)
    decisions: dict[bytes, bytes] = field(default_factory=dict)  # all but the cursor
    late: list[int] = field(default_factory=list)
    rejected: list[int] = field(default_factory=list)
    feedback_rejected: list[int] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


def decided(records: Sequence[Record]) -> Iterator[Decided]:
    """Transactions of a shard's decisions, all of them in offset order."""
    days: list[tuple[int, int, str]] = []
    begun: set[int] = set()
    for record in records:
        key = record.key or b""
        if key.startswith(b"day/"):
            day, told = to_day(date.fromisoformat(key[4:].decode())), json.loads(record.value or b"")
            if day not in begun:
                days.append((day, told["cut"], told["cause"]))
            begun.add(day)
        elif key == CURSOR:
            told = json.loads(record.value or b"")
            yield Decided(told["usage"], told["feedback"], tuple(days))
            days = []


def latest(known: Mapping[bytes, bytes], told: Iterable[Record | Message]) -> dict[bytes, bytes]:
    """What a compacted topic of decisions holds after more of them, but for the cursor."""
    values = dict(known)
    for one in told:
        if one.value is None:
            values.pop(one.key or b"", None)
        elif one.key != CURSOR:
            values[one.key or b""] = one.value
    return values


class Oracle:
    """One partition from the beginning, as its decisions say it went."""

    def __init__(self, terms: Terms, partition: int, usage: Sequence[Record], feedback: Sequence[Record]) -> None:
        self._terms = terms
        self._outlet = Outlet(terms.topics, partition, terms.currency)
        self._usage, self._feedback = usage, feedback
        self._state: State = new_state(terms.config)
        self._at = self._feedback_at = 0
        self._days: list[tuple[int, int, str]] = []
        self.expected = Expected()

    def follow(self, decisions: Sequence[Decided]) -> Expected:
        """Everything that these transactions must have said."""
        for one in decisions:
            if (one.cursor, one.feedback) < (self._at, self._feedback_at) or one.feedback < self._feedback_at:
                self.expected.problems.append(f"cursors go back to {one.cursor}, {one.feedback}")
            for day, cut, cause in one.closes:
                self._take(cut)
                self._say(close(self._state, self._terms.rulebook, Due(day, cut, cause)))
                self._days.append((day, cut, cause))
            if one.feedback > self._feedback_at:
                self._take(one.cursor)
                self._hear(one.feedback)
        self._take(max((one.cursor for one in decisions), default=0))
        self._check_days()
        return self.expected

    def _take(self, end: int) -> None:
        """Usage up to an offset, in which no day may come due."""
        if end <= self._at:
            return
        records = [record for record in self._usage if self._at <= record.offset < end]
        decoded = decode(records, self._terms.intake, end)
        turns = step(self._state, self._terms.rulebook, decoded.batch)
        if missed := [turn.day for turn in turns if turn.day is not None]:
            self.expected.problems.append(f"days were due and not closed: {missed}")
        self._say(turns)
        self.expected.rejected += [reject.record.offset for reject in decoded.rejects]
        self.expected.counts["ignored"] += sum(decoded.ignored.values())
        self._at = end

    def _hear(self, end: int) -> None:
        records = [record for record in self._feedback if self._feedback_at <= record.offset < end]
        decoded = decode_feedback(records, self._terms.intake)
        told = decoded.frame.filter(pl.col("type") != "feed.closed")
        self._say([apply_feedback(self._state, told)])
        self._state.feedback_cursor = self._feedback_at = end
        self.expected.feedback_rejected += [reject.record.offset for reject in decoded.rejects]

    def _say(self, turns: Sequence[Turn]) -> None:
        for turn in turns:
            self.expected.said += [
                (message.topic, dict(message.headers)["ce_id"].decode(), message.value)
                for message in (
                    *turn_messages(turn.transitions, self._outlet),
                    *segment_messages(turn.segments, self._outlet),
                )
            ]
            told = decision_messages(turn, self._terms.topics.decisions, self._outlet.partition)
            self.expected.decisions = latest(self.expected.decisions, told)
            self.expected.late += turn.late["offset"].to_list()
            for name in ("counted", "repeated", "late"):
                self.expected.counts[name] += getattr(turn.counts, name)

    def _check_days(self) -> None:
        """Days that the watermark closed did so where it came due, and no day later than that."""
        common = decode([one for one in self._usage if one.offset < self._at], self._terms.intake).batch.common
        if common.is_empty():
            return
        after = Watermark().advance(common["occurred_us"].to_numpy(), lambda: hash64(common["subscriber_id"]))
        offsets = common["offset"].to_numpy()
        for day, cut, cause in self._days:
            at = int(np.searchsorted(after, self._state.due_us(day)))
            due = int(offsets[at]) if at < after.size else None
            if (cause == "watermark" and cut != due) or (due is not None and cut > due):
                self.expected.problems.append(f"day {day} was closed at {cut} by the {cause}, due at {due}")
