"""Saying what turns say, once: a transaction each, through aborts, unknown outcomes and refusals."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from service.core.state import Aside
from service.core.turn import Decisions, Turn
from service.ports import Aborted, Fenced, Message, Publisher, Record, Refused, Unknown
from service.shard.slicing import before, says_nothing, slices
from service.shard.world import Terms, Verdict, World
from service.wire.deadletters import CUT, dead_letter, late_messages
from service.wire.decisions import DecisionReader, decision_messages
from service.wire.messages import Outlet, turn_messages
from service.wire.rejects import Reject
from service.wire.segments import segment_messages

_LOG = logging.getLogger(__name__)
_MARKERS_WITHIN_S = 0.02  # about the time between a commit's answer and its markers in the log

Renew = Callable[[], Awaitable[Publisher]]


class CutShort(Exception):  # noqa: N818 - an end, not a fault
    """There is no time left for the turns unsaid: they are judged again after the next restore."""


def in_time(has_time: Callable[[], bool], aside: Aside = nullcontext) -> Aside:
    """`aside`, which breaks a step off when it is time to end: months of days may close in one."""

    @contextlib.contextmanager
    def entered() -> Iterator[None]:
        if not has_time():
            raise CutShort
        with aside():
            yield

    return entered


@dataclass(frozen=True, slots=True)
class Poll:
    """Records that turns come from, and what became of them beside the turns."""

    records: Sequence[Record] = ()
    rejects: Sequence[Reject] = ()
    ignored: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Tally:
    """Of records taken and not committed yet."""

    records: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    silent: list[Turn] = field(default_factory=list)


class _Place(NamedTuple):
    """Where a life's own decisions stand: cursors, and the last day with its slices done; zeros before the first."""

    cursor: int = 0
    feedback_cursor: int = 0
    day: int = 0
    slices_done: int = 0

    def after(self, turn: Turn) -> "_Place":
        """Where they stand once a turn is committed."""
        day = (self.day, self.slices_done) if turn.day is None else (turn.day.day, turn.day.slices_done)
        return _Place(turn.cursor, turn.feedback_cursor, *day)


class Outbox:
    """The mouth of one shard.

    `renew` gives a started new publisher, or raises Fenced where the shard is not ours; `has_time` says before each
    turn whether there is time for it.
    """

    def __init__(self, partition: int, world: World, terms: Terms, renew: Renew, has_time: Callable[[], bool]) -> None:
        self._partition = partition
        self._world = world
        self._terms = terms
        self._renew = renew
        self._has_time = has_time
        self._outlet = Outlet(terms.topics, partition, terms.currency)
        self._publisher: Publisher | None = None
        self._read_from = 0
        self._stands = _Place()
        self._tally = _Tally()
        self._said_s = 0.0

    def open(self, publisher: Publisher, read_from: int) -> None:
        """Begin with a started publisher; this life's own decisions begin at `read_from`."""
        self._publisher, self._read_from, self._stands = publisher, read_from, _Place()
        self._said_s = self._world.clock.elapsed_s()

    async def close(self) -> None:
        """Let go of the publisher."""
        if self._publisher is not None:
            await self._publisher.stop()

    async def say(self, turns: Sequence[Turn], poll: Poll) -> bool:
        """Publish turns in order; those that only move the cursors may wait. True where nothing is held back.

        Raises: Fenced, Refused, Lost, CutShort.
        """
        self._note(poll)
        rejects = poll.rejects
        for turn in turns:
            if not self._has_time():
                raise CutShort
            mine, rejects = before(rejects, turn.cursor)
            if says_nothing(turn) and not mine:
                self._tally.silent.append(turn)
                continue
            for part in slices(turn):
                now, mine = before(mine, part.cursor)
                await self._publish(part, now, poll.records)
        return await self._flush_when_due()

    async def tell(self, turn: Turn, rejects: Sequence[Reject]) -> bool:
        """Publish one turn of feedback with all that was rejected beside it. True and Raises: as `say`."""
        if says_nothing(turn) and not rejects:
            self._tally.silent.append(turn)
            return await self._flush_when_due()
        await self._publish(turn, rejects, ())
        return True

    async def flush(self) -> None:
        """Commit cursors that wait. Raises: as `say`."""
        if self._tally.silent:
            await self._publish(self._tally.silent.pop(), (), ())

    async def _flush_when_due(self) -> bool:
        elapsed_s = self._world.clock.elapsed_s() - self._said_s
        if self._tally.silent and elapsed_s >= self._terms.mirror_interval_s:
            await self.flush()
        return not self._tally.silent

    def _note(self, poll: Poll) -> None:
        self._tally.records += len(poll.records)
        self._tally.rejected.update(str(reject.fault) for reject in poll.rejects)
        self._tally.ignored.update(poll.ignored)

    async def _publish(self, turn: Turn, rejects: Sequence[Reject], records: Sequence[Record]) -> None:
        messages = await asyncio.to_thread(self._encode, turn, rejects, records)
        topics = self._terms.topics
        offsets = {
            (topics.usage, self._partition): turn.cursor,
            (topics.feedback, self._partition): turn.feedback_cursor,
        }
        attempt, verdict = 0, await self._try(turn, messages, offsets)
        while isinstance(verdict, Exception):
            if isinstance(verdict, Refused):
                messages = _shortened(messages, verdict, {topics.dead_letters, topics.late})
            await asyncio.sleep(min(self._terms.back_off_s * attempt, self._terms.most_back_off_s))
            attempt += 1
            verdict = await self._try(turn, messages, offsets)
        self._committed(turn)

    async def _try(
        self, turn: Turn, messages: Sequence[Message], offsets: Mapping[tuple[str, int], int]
    ) -> Exception | None:
        """One transaction; None once it has happened, else the verdict after which the same is to be sent again."""
        assert self._publisher is not None  # noqa: S101 - opened before anything is said
        began_s = self._world.clock.elapsed_s()
        try:
            await self._publisher.publish(messages, offsets)
        except Aborted as verdict:
            self._ended("aborted", began_s, verdict)
            return verdict
        except Refused as verdict:
            self._ended("aborted", began_s, verdict)
            self._publisher = await self._renew()
            if not await self._has_happened(turn):
                return verdict
        except Unknown as verdict:
            self._ended("unknown", began_s, verdict)
            self._publisher = await self._renew()
            if not await self._has_happened(turn):
                return verdict
        except Fenced as verdict:
            self._ended("fenced", began_s, verdict)
            raise
        self._ended("committed", began_s, None)
        return None

    def _ended(self, result: Verdict, began_s: float, verdict: Exception | None) -> None:
        self._world.observer.transaction_ended(result, self._world.clock.elapsed_s() - began_s)
        if verdict is not None:
            _LOG.warning("shard %d: a transaction came to nothing: %s", self._partition, verdict)

    async def _has_happened(self, turn: Turn) -> bool:
        """Whether a transaction of unknown outcome did: its cursors, and its slice of a day, stand in the log.

        Raises: Fenced where the partition was another's meanwhile, who went on: a new publisher does not tell of that.
        """
        decided = await read_decisions_from(self._world, self._terms, self._partition, self._read_from)
        last = max(decided.days.values(), key=lambda record: record.day, default=None)
        day = (0, 0) if last is None else (last.day, last.slices_done)
        stands = _Place(decided.cursor, decided.feedback_cursor, *day)
        if stands == self._stands.after(turn):
            return True
        if stands != self._stands:
            raise Fenced("another owner has gone on with the partition")
        return False

    def _committed(self, turn: Turn) -> None:
        observer, tally = self._world.observer, self._tally
        self._stands = self._stands.after(turn)
        self._said_s = self._world.clock.elapsed_s()
        for silent in tally.silent:
            observer.turn_committed(silent)
        observer.turn_committed(turn)
        if tally.records:
            observer.records_taken(self._partition, tally.records, tally.rejected, tally.ignored)
        self._tally = _Tally()

    def _encode(self, turn: Turn, rejects: Sequence[Reject], records: Sequence[Record]) -> list[Message]:
        topics = self._terms.topics
        return [
            *turn_messages(turn.transitions, self._outlet),
            *segment_messages(turn.segments, self._outlet),
            *(dead_letter(reject, topics.dead_letters) for reject in rejects),
            *late_messages(turn.late, records, topics.late),
            *decision_messages(turn, topics.decisions, self._partition),
        ]


async def read_decisions_from(world: World, terms: Terms, partition: int, start: int) -> Decisions:
    """A shard's decisions from an offset on (-1: all), when all its transactions are marked as ended. Raises: Lost."""
    topic = terms.topics.decisions
    ends = await world.log.ends(topic, partition)
    while ends.last_stable < ends.high_watermark:
        await asyncio.sleep(_MARKERS_WITHIN_S)
        ends = await world.log.ends(topic, partition)
    reader = DecisionReader()
    async with contextlib.aclosing(world.log.read(topic, partition, start, ends.last_stable)) as reading:
        async for records in reading:
            reader.take(records)
    return await asyncio.to_thread(reader.decisions)


def _shortened(messages: Sequence[Message], refused: Refused, may: set[str]) -> list[Message]:
    """The same without the value that the broker refuses, where the record it came from is named beside it."""
    if refused.message.topic not in may or refused.message.value is None:
        raise refused
    return [
        replace(message, value=None, headers=(*message.headers, CUT)) if message == refused.message else message
        for message in messages
    ]
