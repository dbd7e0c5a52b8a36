"""Answers for the HTTP side, from the shards that live here and from the replicas that have the others."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol, TypeVar

import polars as pl

from service.clock import Clock
from service.core.crosstabs import add_up
from service.core.turn import TRANSITIONS
from service.ports import InForce, Message, NotReady, SegmentPage, WarningPage, WarningQuery
from service.shard import Terms
from service.shard.display import count_open, newest_first
from service.wire.feedback import Acknowledged, instant_text, of_warning
from service.wire.partitioning import partition_of
from service.worker.questions import (
    APPLIED,
    HOLDER,
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

_AT_ONCE = 64  # acknowledgements that wait for other replicas
_T = TypeVar("_T")


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
        return None if found is None else found[1]

    def roll(self, roll_id: str, limit: int) -> tuple[pl.DataFrame, tuple[int, ...]] | None:
        """Subscribers on a list, and the partitions that could not say; None for an unknown list."""
        if all(roll.id != roll_id for roll in self.in_force().rulebook.rolls):
            return None
        answers = self._shelf.ask(Question(ROLL, self._everywhere, {"roll": roll_id, "limit": limit}))
        found = pl.concat(_frames(answers), how="vertical_relaxed").head(limit)
        return found, self._missing(answers)

    async def acknowledge(self, episode_id: str, by: str, note: str | None, wait_s: float) -> bool:
        """Write the acknowledgement; True when its shard has applied it in time. Raises: NotReady, KeyError, Lost."""
        found = await self._in_thread(partial(self._find, episode_id))
        if found is None:
            raise KeyError(episode_id)
        assert self._loop is not None  # noqa: S101 - nobody is served before the worker runs
        partition, row = found
        writing = asyncio.run_coroutine_threadsafe(self._write(partition, row, by, note), self._loop)
        offset = await asyncio.wrap_future(writing)
        if (applying := self._shelf.applying(partition, offset)) is not None:
            try:
                await asyncio.wait_for(asyncio.wrap_future(applying), wait_s)
            except TimeoutError:
                return False
            return True
        applied = Question(APPLIED, (partition,), {"offset": offset, "wait_s": wait_s})
        return any(answer.value for answer in await self._in_thread(partial(self._shelf.ask, applied)))

    def in_force(self) -> InForce:
        """The rulebook that judges the latest open day of the shards here."""
        return in_force(self._terms.rulebook, max(self._shelf.open_days()))

    def readiness(self) -> Mapping[str, Any]:
        """How the worker is."""
        return self._readiness()

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        """What is asked of others, where no other work waits for its end."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def _write(self, partition: int, row: Mapping[str, Any], by: str, note: str | None) -> int:
        now_us = self._clock.now_us()
        report = Acknowledged(
            id=f"{row['episode_id']}.acknowledged.{now_us}",
            subscriber_id=row["subscriber_id"],
            warning_id=row["episode_id"],
            by=by,
            note=note,
            occurred_at=instant_text(now_us),
        )
        return await self._sender.send(of_warning(report, self._terms.topics.feedback, partition))

    def _find(self, episode_id: str) -> tuple[int, dict[str, Any]] | None:
        answers = self._shelf.ask(Question(WARNING, self._everywhere, {"id": episode_id}))
        for answer in answers:
            if answer.frame is not None:
                return answer.value, answer.frame.row(0, named=True)
        _require(self._everywhere, answers)
        return None

    def _missing(self, answers: Iterable[Answer]) -> tuple[int, ...]:
        return tuple(sorted(set(self._everywhere) - _as_of(answers).keys()))


def _as_of(answers: Iterable[Answer]) -> dict[int, int]:
    return {partition: cursor for answer in answers for partition, cursor in answer.as_of.items()}


def _frames(answers: Iterable[Answer]) -> list[pl.DataFrame]:
    return [answer.frame for answer in answers if answer.frame is not None]


def _require(partitions: Iterable[int], answers: Iterable[Answer]) -> None:
    missing = set(partitions) - _as_of(answers).keys()
    if missing:
        raise NotReady(sorted(missing))
