"""What a shard must have said, calculated from its input by the pure core in one go.

Usage alone decides, but for reports: they take effect at the usage cursor that was written with their decision.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import msgspec
import numpy as np

from service.core.calendar import to_day
from service.core.feedback import apply_feedback
from service.core.rules import Book
from service.core.state import State
from service.core.step import close_through, step
from service.core.turn import Turn
from service.wire.deadletters import dead_letter, late_messages
from service.wire.decisions import CURSOR, decision_messages
from service.wire.decode import Intake, decode
from service.wire.feedback import decode_feedback
from service.wire.messages import Outlet, turn_messages
from service.wire.records import Message, Record, Records
from service.wire.segments import segment_messages

DAY = b"day/"


class Meeting(NamedTuple):
    """Reports before an offset took effect when usage stood at a cursor and a day was closed."""

    usage: int
    feedback: int
    closed: int | None  # days since 1970


@dataclass(frozen=True, slots=True)
class Input:
    """All records of a partition of usage, of feedback, and of the decisions that were made of them."""

    usage: Records
    feedback: Records
    decisions: Sequence[Record]

    def meetings(self) -> Iterator[Meeting]:
        """Where reports took effect, by the decisions; at last the end of usage."""
        feedback, closed = 0, None
        for record in self.decisions:
            if record.key is not None and record.key.startswith(DAY):
                day = to_day(date.fromisoformat(record.key.removeprefix(DAY).decode()))
                closed = max(day, closed or day)
            elif record.key == CURSOR and record.value is not None:
                told = msgspec.json.decode(record.value)
                if told["feedback"] > feedback:
                    feedback = told["feedback"]
                    yield Meeting(told["usage"], feedback, closed)
        yield Meeting(int(self.usage.offsets[-1]) + 1 if len(self.usage) else 0, feedback, None)


def calculate(given: Input, state: State, rulebook: Book, intake: Intake, outlet: Outlet) -> Iterator[Message]:
    """Every message that tells the world or remembers a closed day; `state` is that of the shard's beginning."""
    for meeting in given.meetings():
        first, last = np.searchsorted(given.usage.offsets, (state.cursor, meeting.usage)).tolist()
        usage = given.usage[first:last]
        decoded = decode(usage, intake, meeting.usage)
        yield from (dead_letter(reject, outlet.topics.dead_letters) for reject in decoded.rejects)
        turns = step(state, rulebook, decoded.batch)
        if meeting.closed is not None:
            # A shard that fell between a close and the record that brought it about meets reports after the close.
            turns += close_through(state, rulebook, meeting.closed, "watermark")
        for turn in turns:
            yield from _told(turn, usage, outlet)
        reports = given.feedback.since(state.feedback_cursor).before(meeting.feedback)
        frame = decode_feedback(reports, intake).frame
        yield from _told(apply_feedback(state, frame), (), outlet)
        state.feedback_cursor = meeting.feedback


def _told(turn: Turn, usage: Sequence[Record], outlet: Outlet) -> Iterator[Message]:
    topics = outlet.topics
    yield from turn_messages(turn.transitions, outlet)
    yield from segment_messages(turn.segments, outlet)
    yield from late_messages(turn.late, usage, topics.late)
    for message in decision_messages(turn, topics.decisions, outlet.partition):
        if message.key is not None and message.key.startswith(DAY):
            yield message
