"""Answers of the shards that live here, for ourselves and for other replicas; an absent shard is said, never hidden."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, wait
from dataclasses import asdict, replace
from typing import Any

import polars as pl

from service.clock import Clock
from service.core.calendar import day_at
from service.core.crosstabs import add_up
from service.core.turn import TRANSITIONS
from service.ports import Busy, WarningQuery
from service.shard import Display, Shard, Terms
from service.shard.display import count_open, newest_first
from service.worker.questions import (
    APPLIED,
    HOLDER,
    MUTES,
    OPEN_COUNTS,
    ROLL,
    SEGMENTS,
    SUBSCRIBER,
    WARNING,
    WARNINGS,
    Answer,
    Elsewhere,
    Question,
)

Said = tuple[Any, pl.DataFrame | None]  # a JSON value, and a frame


class Shelf:
    """The displays of the shards that `shards` gives by partition; who has the others is asked `elsewhere`.

    Safe to ask from any thread but the worker's.
    """

    def __init__(
        self, terms: Terms, shards: Callable[[], Mapping[int, Shard]], elsewhere: Elsewhere, clock: Clock
    ) -> None:
        self._terms = terms
        self._clock = clock
        self._shards = shards
        self._elsewhere = elsewhere
        self._loop: asyncio.AbstractEventLoop | None = None
        self._answers: Mapping[str, Callable[[list[Display], Mapping[str, Any]], Said]] = {
            APPLIED: self._applied,
            HOLDER: _holder,
            MUTES: _mutes,
            WARNINGS: _warnings,
            WARNING: _warning,
            OPEN_COUNTS: _open_counts,
            ROLL: self._roll,
            SEGMENTS: _segments,
        }

    def run_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Who waits for a shard waits through the worker's loop."""
        self._loop = loop

    def ask(self, question: Question, *, at_once: bool = False) -> list[Answer]:
        """Here first; elsewhere only what is not here. Raises: Busy where that cannot be had `at_once`."""
        ours = self.answer(question, at_once=at_once)
        left = tuple(partition for partition in question.partitions if partition not in ours.as_of)
        if not left or (question.about in {SUBSCRIBER, WARNING} and ours.value is not None):
            return [ours]
        if at_once:
            raise Busy
        theirs = self._elsewhere(Question(question.about, left, question.told))
        return [ours, *(answer for answer in theirs if _fits(answer, ours, question.about))]

    def answer(self, question: Question, *, at_once: bool = False) -> Answer:
        """What those of the partitions say that live here. Raises: Busy where it cannot be had `at_once`, KeyError."""
        while True:
            displays = self._displays(question.partitions)
            as_of = {display.partition: cursor for display in displays if (cursor := display.cursor) is not None}
            value, frame = self._say(displays, question, at_once=at_once)
            # One that ceased to run meanwhile has said nothing, or a part: another replica may say all of it.
            if all(display.cursor is not None for display in displays):
                return Answer(as_of, value, frame)

    def _say(self, displays: list[Display], question: Question, *, at_once: bool) -> Said:
        if question.about == SUBSCRIBER:
            return _subscriber(displays, question.told["id"], at_once=at_once), None
        if at_once:
            raise Busy
        return self._answers[question.about](displays, question.told)

    def applying(self, partition: int, offset: int) -> Future[None] | None:
        """Done when a record of feedback has taken effect; None where the shard does not live here."""
        shard = self._shards().get(partition)
        if shard is None or self._loop is None:
            return None
        return asyncio.run_coroutine_threadsafe(shard.applied(offset), self._loop)

    def open_days(self) -> frozenset[int]:
        """The days (since 1970) that shards here have open; today, where none has begun."""
        open_days = (shard.display.open_day for shard in self._shards().values())
        days = frozenset(day for day in open_days if day is not None)
        return days or frozenset({day_at(self._clock.now_us(), self._terms.config.zone)})

    def _displays(self, partitions: Iterable[int]) -> list[Display]:
        shards = self._shards()
        shown = [shards[partition].display for partition in partitions if partition in shards]
        return [display for display in shown if display.cursor is not None]

    def _roll(self, displays: list[Display], told: Mapping[str, Any]) -> Said:
        rulebook = self._terms.rulebook.on(max(self.open_days()))
        roll = next((roll for roll in rulebook.rolls if roll.id == told["roll"]), None)
        if roll is None:  # who asks judges by another rulebook
            return None, pl.DataFrame()
        parts = [display.roll(rulebook, roll, told["limit"]) for display in displays]
        columns = dict.fromkeys(("subscriber_id", *roll.numbers), pl.Null)
        return None, pl.concat([pl.DataFrame(schema=columns), *parts], how="vertical_relaxed").head(told["limit"])

    def _applied(self, displays: list[Display], told: Mapping[str, Any]) -> Said:
        """Whether records of feedback, by partition, take effect in time: all of those that are of shards here."""
        found = [self.applying(one.partition, told["offsets"][str(one.partition)]) for one in displays]
        waiting = [one for one in found if one is not None]
        applied, late = wait(waiting, told["wait_s"])
        for one in late:
            one.cancel()
        # A shard that ends lets go of who waits for it.
        return bool(displays) and len(applied) == len(found) and not any(
            one.cancelled() or one.exception() for one in applied
        ), None


def warnings_question(query: WarningQuery, partitions: Iterable[int]) -> Question:
    """The question for a page of warnings."""
    return Question(WARNINGS, tuple(partitions), asdict(query))


def _fits(theirs: Answer, ours: Answer, about: str) -> bool:
    """Whether frames can be put together; those of another release, or of other rules, may not."""
    if theirs.frame is None or ours.frame is None:
        return True
    if about == ROLL:  # nobody here need be on the list: types are told by who is
        return theirs.frame.columns == ours.frame.columns
    return theirs.frame.schema == ours.frame.schema


def _subscriber(displays: list[Display], subscriber_id: str, *, at_once: bool) -> dict[str, Any] | None:
    found = (display.subscriber(subscriber_id, at_once=at_once) for display in displays)
    return next((record for record in found if record is not None), None)


def _holder(displays: list[Display], told: Mapping[str, Any]) -> Said:
    """(since when, id), or None."""
    found = [holder for display in displays if (holder := display.holder(told["msisdn"])) is not None]
    return max(found, default=None), None


def _warnings(displays: list[Display], told: Mapping[str, Any]) -> Said:
    query = WarningQuery(**told)
    if query.before is not None:
        last_us, last_id = query.before
        query = replace(query, before=(last_us, last_id))
    found = pl.concat([pl.DataFrame(schema=TRANSITIONS), *(display.warnings(query) for display in displays)])
    return None, newest_first(found, query.limit)


def _open_counts(displays: list[Display], _: Mapping[str, Any]) -> Said:
    return None, count_open(display.open_counts() for display in displays)


def _segments(displays: list[Display], _: Mapping[str, Any]) -> Said:
    """The last closed day by partition, and all cells."""
    told = {display.partition: display.segments() for display in displays}
    days = {str(partition): day for partition, (_, day) in told.items()}
    return days, add_up(cells for cells, _ in told.values())


def _warning(displays: list[Display], told: Mapping[str, Any]) -> Said:
    """The partition that a warning is of, with the time that its shard has come to, and its line."""
    for display in displays:
        if (row := display.warning(told["id"])) is not None:
            return [display.partition, *display.time], pl.DataFrame([row], schema=TRANSITIONS, orient="row")
    return None, None


def _mutes(displays: list[Display], _: Mapping[str, Any]) -> Said:
    """Mutes in force by partition, and the latest time that any of the shards has come to."""
    closed, times_us = zip(*(display.time for display in displays), strict=True) if displays else ((), ())
    return {
        "mutes": {str(display.partition): [asdict(mute) for mute in display.mutes()] for display in displays},
        "closed_day": max((day for day in closed if day is not None), default=None),
        "watermark_us": max((time_us for time_us in times_us if time_us is not None), default=None),
    }, None
