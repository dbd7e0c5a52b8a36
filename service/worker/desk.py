"""Answers for the HTTP side, from the shards that live here and from the replicas that have the others."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

import polars as pl

from service.clock import Clock
from service.core.calendar import to_date, to_day
from service.core.crosstabs import add_up
from service.core.turn import TRANSITIONS, Mute
from service.ports import (
    Acknowledge,
    Act,
    Behind,
    InForce,
    Message,
    MutePage,
    NotReady,
    Resolve,
    SegmentPage,
    Snooze,
    WarningPage,
    WarningQuery,
)
from service.shard import Terms
from service.shard.display import count_open, newest_first
from service.wire.feedback import (
    Acknowledged,
    MuteEnded,
    MuteSet,
    Resolved,
    Snoozed,
    instant_text,
    of_warning,
    to_partition,
)
from service.wire.partitioning import partition_of
from service.worker.questions import (
    APPLIED,
    HOLDER,
    MUTES,
    OPEN_COUNTS,
    ROLL,
    SEGMENTS,
    SUBSCRIBER,
    WARNING,
    Answer,
    Question,
)
from service.worker.rulebooks import in_force
from service.worker.shelf import Shelf, warnings_question

_AT_ONCE = 64  # acts that wait for other replicas
_T = TypeVar("_T")


class _Found(NamedTuple):
    """A warning's line, and the time that its shard has come to."""

    partition: int
    closed_day: int | None
    watermark_us: int | None
    row: dict[str, Any]


class Sender(Protocol):
    """Single messages outside any transaction."""

    async def send(self, message: Message) -> int:
        """Send one message; returns its offset. Raises: Lost."""


class ShardDesk:
    """See ports.Desk. `shelf` asks shards wherever they live, `readiness` says how the worker is."""

    def __init__(
        self,
        terms: Terms,
        shelf: Shelf,
        readiness: Callable[[], Mapping[str, Any]],
        sender: Sender,
        clock: Clock,
    ) -> None:
        self._terms = terms
        self._shelf = shelf
        self._readiness = readiness
        self._sender = sender
        self._clock = clock
        self._everywhere = tuple(range(terms.intake.partitions))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="desk")

    def run_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Writes go through the worker's loop."""
        self._loop = loop
        self._shelf.run_on(loop)

    def subscriber(self, subscriber_id: str, *, at_once: bool = False) -> dict[str, Any] | None:
        """The front office's record. Raises: NotReady, Busy."""
        intake = self._terms.intake
        at = partition_of(subscriber_id.encode(), intake.partitions, intake.partitioner)
        asked = self._everywhere if at is None else (at,)
        question = Question(SUBSCRIBER, asked, {"id": subscriber_id})
        answers = self._shelf.ask(question, at_once=at_once)
        found: dict[str, Any] | None = next((answer.value for answer in answers if answer.value is not None), None)
        if found is None:
            _require(asked, answers)
        return found

    def holder(self, msisdn: str) -> str | None:
        """Id of the newest holder of a phone number. Raises: NotReady."""
        answers = self._shelf.ask(Question(HOLDER, self._everywhere, {"msisdn": msisdn}))
        _require(self._everywhere, answers)
        found = [tuple(answer.value) for answer in answers if answer.value is not None]
        return str(max(found)[1]) if found else None

    def warnings(self, query: WarningQuery) -> WarningPage:
        """One page over all shards, newest first."""
        answers = self._shelf.ask(warnings_question(query, self._everywhere))
        found = pl.concat([pl.DataFrame(schema=TRANSITIONS), *_frames(answers)])
        return WarningPage(newest_first(found, query.limit), self._missing(answers), _as_of(answers))

    def open_counts(self) -> tuple[pl.DataFrame, tuple[int, ...]]:
        """Open warnings by rule and severity over all shards, and the partitions that could not say."""
        answers = self._shelf.ask(Question(OPEN_COUNTS, self._everywhere))
        return count_open(_frames(answers)), self._missing(answers)

    def segments(self) -> SegmentPage:
        """Cells over all shards, each as of its own last closed day."""
        answers = self._shelf.ask(Question(SEGMENTS, self._everywhere))
        days = {int(partition): day for answer in answers for partition, day in (answer.value or {}).items()}
        return SegmentPage(add_up(_frames(answers)), self._missing(answers), _as_of(answers), days)

    def warning(self, episode_id: str) -> dict[str, Any] | None:
        """One row of TRANSITIONS. Raises: NotReady."""
        found = self._find(episode_id)
        return None if found is None else found.row

    def roll(self, roll_id: str, limit: int) -> tuple[pl.DataFrame, tuple[int, ...]] | None:
        """Subscribers on a list, and the partitions that could not say; None for an unknown list."""
        if all(roll.id != roll_id for roll in self.in_force().rulebook.rolls):
            return None
        answers = self._shelf.ask(Question(ROLL, self._everywhere, {"roll": roll_id, "limit": limit}))
        found = pl.concat(_frames(answers), how="vertical_relaxed").head(limit)
        return found, self._missing(answers)

    async def act(self, episode_id: str, act: Act, wait_s: float) -> bool:
        """Write what somebody does; True when its shard has applied it in time.

        Raises: NotReady, KeyError, Lost, Behind.
        """
        found = await self._in_thread(partial(self._find, episode_id))
        if found is None:
            raise KeyError(episode_id)
        if isinstance(act, Snooze):
            _require_ahead(act.until, found.closed_day)
        message = of_warning(self._report(found, act), self._terms.topics.feedback, found.partition)
        return await self._applied({found.partition: await self._send(message)}, wait_s)

    def mutes(self) -> MutePage:
        """The mutes in force over all shards."""
        answers = self._shelf.ask(Question(MUTES, self._everywhere))
        holders: dict[str, set[int]] = defaultdict(set)
        mutes: dict[str, Mute] = {}
        for answer in answers:
            for partition, told in (answer.value or {"mutes": {}})["mutes"].items():
                for one in told:
                    mutes[one["id"]] = Mute(**one)
                    holders[one["id"]].add(int(partition))
        answered = _as_of(answers).keys()
        lacking = {mute_id: tuple(sorted(answered - having)) for mute_id, having in holders.items()}
        return MutePage(
            tuple(sorted(mutes.values(), key=lambda mute: (mute.until, mute.id))), lacking, self._missing(answers)
        )

    async def mute(self, mute: Mute, wait_s: float) -> bool:
        """Tell every shard of a mute; True when all have applied it in time. Raises: Lost, Behind."""
        closed_day, now_us = await self._in_thread(self._time)
        _require_ahead(to_date(mute.until), closed_day)
        report = MuteSet(
            id=f"{mute.id}.set.{self._clock.now_us()}",
            mute_id=mute.id,
            matchers=dict(mute.matchers),  # type: ignore[arg-type]  # names are texts in the core
            until=to_date(mute.until).isoformat(),
            by=mute.by,
            note=mute.why,
            occurred_at=instant_text(now_us),
        )
        return await self._tell_all(report, wait_s)

    async def unmute(self, mute_id: str, by: str, wait_s: float) -> bool:
        """Tell every shard that a mute ends now; True when all have applied it in time. Raises: Lost."""
        _, now_us = await self._in_thread(self._time)
        report_id = f"{mute_id}.ended.{self._clock.now_us()}"
        report = MuteEnded(id=report_id, mute_id=mute_id, by=by, occurred_at=instant_text(now_us))
        return await self._tell_all(report, wait_s)

    def in_force(self) -> InForce:
        """The rulebook that judges the latest open day of the shards here."""
        return in_force(self._terms.rulebook, max(self._shelf.open_days()))

    def readiness(self) -> Mapping[str, Any]:
        """How the worker is."""
        return self._readiness()

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        """What is asked of others, where no other work waits for its end."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def _tell_all(self, report: MuteSet | MuteEnded, wait_s: float) -> bool:
        topic = self._terms.topics.feedback
        sent = [self._send(to_partition(report, topic, partition)) for partition in self._everywhere]
        offsets = await asyncio.gather(*sent)
        return await self._applied(dict(zip(self._everywhere, offsets, strict=True)), wait_s)

    async def _send(self, message: Message) -> int:
        """Write through the worker's loop; returns the offset. Raises: Lost."""
        assert self._loop is not None  # noqa: S101 - nobody is served before the worker runs
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._sender.send(message), self._loop))

    async def _applied(self, offsets: Mapping[int, int], wait_s: float) -> bool:
        """Whether reports, by partition, take effect in time: in the shards here, and in those elsewhere."""
        here = {partition: self._shelf.applying(partition, at) for partition, at in offsets.items()}
        ours = [_in_time(applying, wait_s) for applying in here.values() if applying is not None]
        theirs = {partition: offsets[partition] for partition, applying in here.items() if applying is None}
        asking = [self._applied_elsewhere(theirs, wait_s)] if theirs else []
        return all(await asyncio.gather(*ours, *asking))

    async def _applied_elsewhere(self, offsets: Mapping[int, int], wait_s: float) -> bool:
        told = {"offsets": {str(partition): at for partition, at in offsets.items()}, "wait_s": wait_s}
        answers = await self._in_thread(partial(self._shelf.ask, Question(APPLIED, tuple(offsets), told)))
        return _as_of(answer for answer in answers if answer.value).keys() >= offsets.keys()

    def _report(self, found: _Found, act: Act) -> Acknowledged | Snoozed | Resolved:
        occurred_us = self._now_us(found.watermark_us)
        verb = type(act).__name__.lower()
        told: dict[str, Any] = {
            "id": f"{found.row['episode_id']}.{verb}.{self._clock.now_us()}",
            "subscriber_id": found.row["subscriber_id"],
            "warning_id": found.row["episode_id"],
            "by": act.by,
            "note": act.note,
            "occurred_at": instant_text(occurred_us),
        }
        match act:
            case Acknowledge():
                return Acknowledged(**told)
            case Snooze(until=until):
                return Snoozed(until=until.isoformat(), **told)
            case Resolve(outcome=outcome):
                return Resolved(outcome=outcome, **told)

    def _time(self) -> tuple[int | None, int]:
        """The last day that any shard has closed, and now."""
        told = [answer.value for answer in self._shelf.ask(Question(MUTES, self._everywhere)) if answer.value]
        closed, times_us = (
            [one[name] for one in told if one[name] is not None] for name in ("closed_day", "watermark_us")
        )
        return max(closed, default=None), self._now_us(max(times_us, default=None))

    def _now_us(self, watermark_us: int | None) -> int:
        """Now: where the log tells the time, what the events have come to."""
        now_us = self._clock.now_us()
        return now_us if self._terms.wall or watermark_us is None else min(now_us, watermark_us)

    def _find(self, episode_id: str) -> _Found | None:
        answers = self._shelf.ask(Question(WARNING, self._everywhere, {"id": episode_id}))
        for answer in answers:
            if answer.frame is not None:
                partition, closed_day, watermark_us = answer.value
                return _Found(partition, closed_day, watermark_us, answer.frame.row(0, named=True))
        _require(self._everywhere, answers)
        return None

    def _missing(self, answers: Iterable[Answer]) -> tuple[int, ...]:
        return tuple(sorted(set(self._everywhere) - _as_of(answers).keys()))


async def _in_time(applying: Future[None], wait_s: float) -> bool:
    try:
        await asyncio.wait_for(asyncio.wrap_future(applying), wait_s)
    except TimeoutError:
        return False
    return True


def _require_ahead(until: date, closed_day: int | None) -> None:
    """That a day is not closed yet. Raises: Behind."""
    if closed_day is not None and to_day(until) <= closed_day:
        raise Behind(to_date(closed_day))


def _as_of(answers: Iterable[Answer]) -> dict[int, int]:
    return {partition: cursor for answer in answers for partition, cursor in answer.as_of.items()}


def _frames(answers: Iterable[Answer]) -> list[pl.DataFrame]:
    return [answer.frame for answer in answers if answer.frame is not None]


def _require(partitions: Iterable[int], answers: Iterable[Answer]) -> None:
    missing = set(partitions) - _as_of(answers).keys()
    if missing:
        raise NotReady(sorted(missing))
