"""Answers of the shards that live here, for ourselves and for other replicas; an absent shard is said, never hidden."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import CancelledError
from dataclasses import asdict, replace
from typing import Any

import polars as pl

from service.core.turn import TRANSITIONS
from service.ports import Busy, WarningQuery
from service.shard import Display, Shard, Terms
from service.shard.display import newest_first
from service.worker.questions import APPLIED, HOLDER, ROLL, SUBSCRIBER, WARNING, WARNINGS, Answer, Elsewhere, Question


class Shelf:
    """The displays of the shards that `shards` gives by partition; who has the others is asked `elsewhere`.

    Safe to ask from any thread but the worker's.
    """

    def __init__(self, terms: Terms, shards: Callable[[], Mapping[int, Shard]], elsewhere: Elsewhere) -> None:
        self._terms = terms
        self._shards = shards
        self._elsewhere = elsewhere
        self._loop: asyncio.AbstractEventLoop | None = None
        self._answers: Mapping[str, Callable[[list[Display], Mapping[str, Any]], Answer]] = {
            HOLDER: _holder,
            WARNINGS: _warnings,
            WARNING: _warning,
            ROLL: self._roll,
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
        return [ours, *self._elsewhere(Question(question.about, left, question.told))]

    def answer(self, question: Question, *, at_once: bool = False) -> Answer:
        """What those of the partitions say that live here. Raises: Busy where it cannot be had `at_once`, KeyError."""
        displays = self._displays(question.partitions)
        if question.about == SUBSCRIBER:
            return _subscriber(displays, question.told["id"], at_once=at_once)
        if at_once:
            raise Busy
        if question.about == APPLIED:
            return self._applied(displays, question.told)
        return self._answers[question.about](displays, question.told)

    def _displays(self, partitions: Iterable[int]) -> list[Display]:
        shards = self._shards()
        shown = [shards[partition].display for partition in partitions if partition in shards]
        return [display for display in shown if display.cursor is not None]

    def _roll(self, displays: list[Display], told: Mapping[str, Any]) -> Answer:
        roll = next(roll for roll in self._terms.rulebook.rolls if roll.id == told["roll"])
        as_of = _as_of(displays)
        parts = [display.roll(roll, told["limit"]) for display in displays]
        columns = dict.fromkeys(("subscriber_id", *roll.numbers), pl.Null)
        found = pl.concat([pl.DataFrame(schema=columns), *parts], how="vertical_relaxed").head(told["limit"])
        return Answer(as_of, frame=found)

    def _applied(self, displays: list[Display], told: Mapping[str, Any]) -> Answer:
        """Wait until a record of feedback has taken effect."""
        shards = self._shards()
        applied = False
        for display in displays:
            shard = shards.get(display.partition)
            if shard is not None and self._loop is not None:
                waiting = asyncio.run_coroutine_threadsafe(shard.applied(told["offset"]), self._loop)
                try:
                    waiting.result(told["wait_s"])
                    applied = True
                except (TimeoutError, CancelledError):
                    waiting.cancel()
        return Answer(_as_of(displays), applied)


def warnings_question(query: WarningQuery, partitions: Iterable[int]) -> Question:
    """The question for a page of warnings."""
    return Question(WARNINGS, tuple(partitions), asdict(query))


def _as_of(displays: Iterable[Display]) -> dict[int, int]:
    return {display.partition: cursor for display in displays if (cursor := display.cursor) is not None}


def _subscriber(displays: list[Display], subscriber_id: str, *, at_once: bool) -> Answer:
    as_of = _as_of(displays)
    for display in displays:
        if (found := display.subscriber(subscriber_id, at_once=at_once)) is not None:
            return Answer(as_of, found)
    return Answer(as_of)


def _holder(displays: list[Display], told: Mapping[str, Any]) -> Answer:
    """(since when, id), or None."""
    as_of = _as_of(displays)
    found = [holder for display in displays if (holder := display.holder(told["msisdn"])) is not None]
    return Answer(as_of, max(found, default=None))


def _warnings(displays: list[Display], told: Mapping[str, Any]) -> Answer:
    query = WarningQuery(**told)
    if query.before is not None:
        last_us, last_id = query.before
        query = replace(query, before=(last_us, last_id))
    as_of = _as_of(displays)
    found = pl.concat([pl.DataFrame(schema=TRANSITIONS), *(display.warnings(query) for display in displays)])
    return Answer(as_of, frame=newest_first(found, query.limit))


def _warning(displays: list[Display], told: Mapping[str, Any]) -> Answer:
    """One line, and the partition that it is of; no frame where no partition has it."""
    as_of = _as_of(displays)
    for display in displays:
        if (row := display.warning(told["id"])) is not None:
            return Answer(as_of, display.partition, pl.DataFrame([row], schema=TRANSITIONS, orient="row"))
    return Answer(as_of)
