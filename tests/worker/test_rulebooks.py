"""A process learns what is published while it runs: shards switch at their closes, and what is bad replaces nothing."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from service.core.books import Publication
from service.core.calendar import to_day
from service.core.rules import Rule, Rulebook
from service.ports import InForce, Lost, Message, RefusedRulebook
from service.rulebook.problems import Problem, RulebookError
from service.wire.decisions import read_decisions
from service.wire.feedback import Released, instant_text, to_partition
from service.wire.rulebooks import Version, version_message
from service.worker import Rulebooks, Worker
from service.worker import rulebooks as module
from service.worker.rulebooks import in_force
from tests.core.rulebooks import MIXED, book, rule
from tests.doubles.broker import MemoryIntake, MemorySender, until
from tests.doubles.stand import BEGIN, GROUP, PARTITIONS, TOPICS, Stand, month, neighbours
from tests.worker.test_worker import all_committed, ready, working

FIRST = to_day(BEGIN.date())
OTHER = replace(book(rule("other", pl.col("spend_7d") > 0)), hash="other")
KNOWN = {one.hash: one for one in (MIXED, OTHER)}
CITY = [who for partition in range(PARTITIONS) for who in neighbours(partition, 3)]


def build(files: Mapping[str, object]) -> Rulebook:
    name = str(files["name"])
    if name == "odd":
        raise ZeroDivisionError("odd")
    if name not in KNOWN:
        raise RulebookError([Problem("drops/a.yaml", 0, "unknown signal x")])
    return KNOWN[name]


class Watcher:
    def __init__(self) -> None:
        self.judging: list[tuple[set[str], set[str]]] = []
        self.refused: list[int] = []

    def rulebooks_judge(self, hashes: Collection[str], rules: Iterable[Rule]) -> None:
        self.judging.append((set(hashes), {rule.id for rule in rules}))

    def rulebooks_refused(self, count: int) -> None:
        self.refused.append(count)


def published(name: str, *days: int, number: int = 1, says: str | None = None) -> Message:
    publications = tuple(Publication(name, FIRST + day, number + at, "", "mona") for at, day in enumerate(days))
    return version_message(Version(name, {"name": says or name}, publications), TOPICS.rulebook)


def rulebooks_on(stand: Stand) -> tuple[Rulebooks, Watcher]:
    watcher = Watcher()
    return Rulebooks(stand.log, TOPICS.rulebook, MIXED, build, watcher), watcher


async def test_what_is_published_is_in_force_from_its_day_on() -> None:
    stand = Stand()
    rulebooks, _ = rulebooks_on(stand)
    await rulebooks.catch_up()
    assert (rulebooks.on(FIRST), rulebooks.newest_hash()) == (MIXED, "test")
    stand.feed([published("other", 3), published("test", 6, number=2)])
    await rulebooks.catch_up()
    assert [rulebooks.on(FIRST + day).hash for day in (2, 3, 5, 6)] == ["test", "other", "other", "test"]
    assert rulebooks.named("other") is OTHER
    first = BEGIN.date()
    third, sixth = first + timedelta(days=3), first + timedelta(days=6)
    assert in_force(rulebooks, FIRST) == InForce(MIXED, None, ("other", third), ())
    assert in_force(rulebooks, FIRST + 4) == InForce(OTHER, third, ("test", sixth), ())
    assert in_force(rulebooks, FIRST + 9) == InForce(MIXED, sixth, None, ())
    assert in_force(MIXED, FIRST) == InForce(MIXED)


async def test_what_cannot_be_built_is_refused_with_its_reasons_until_it_no_longer_matters() -> None:
    stand = Stand()
    rulebooks, watcher = rulebooks_on(stand)
    stand.feed(
        [
            published("bad", 2),
            published("odd", 3, number=2),
            published("false", 3, number=3, says="other"),
            Message(TOPICS.rulebook, 0, b"torn", b"{"),
            published("other", 5, number=4),
        ]
    )
    await rulebooks.catch_up()
    assert [rulebooks.on(FIRST + day) for day in (0, 2, 3, 4, 5)] == [MIXED, MIXED, MIXED, MIXED, OTHER]
    torn = f"torn: {TOPICS.rulebook}-0@3 is no version of a rulebook: Expecting property name enclosed in double quotes"
    torn += ": line 1 column 2 (char 1)"
    refused = {one.hash: one.problems for one in rulebooks.in_force(FIRST).refused}
    assert refused == {
        "bad": ("drops/a.yaml: unknown signal x",),
        "false": ("false: its files are those of another rulebook, other",),
        "torn": (torn,),
    }
    assert {one.hash for one in rulebooks.in_force(FIRST + 3).refused} == {"false", "torn"}
    assert [one.hash for one in rulebooks.in_force(FIRST + 5).refused] == ["torn"]
    rulebooks._tell([FIRST + 1])
    assert (watcher.judging, watcher.refused) == ([({"test"}, {one.id for one in (*MIXED.rules, *OTHER.rules)})], [3])
    stand.feed([published("bad", 2, says="odd"), Message(TOPICS.rulebook, 0, b"torn", None)])
    await rulebooks.catch_up()
    assert [one.hash for one in rulebooks.in_force(FIRST).refused] == ["bad", "false"]
    assert rulebooks.in_force(FIRST).refused[0] == RefusedRulebook(
        "bad", ("bad: cannot be read here: ZeroDivisionError: odd",)
    )


async def test_one_that_was_refused_and_is_mended_is_used() -> None:
    stand = Stand()
    rulebooks, _ = rulebooks_on(stand)
    stand.feed([published("other", 2, says="bad")])
    await rulebooks.catch_up()
    assert rulebooks.on(FIRST + 2) is MIXED
    stand.feed([published("other", 2)])
    await rulebooks.catch_up()
    assert (rulebooks.on(FIRST + 2), rulebooks.in_force(FIRST + 2).refused) == (OTHER, ())


async def test_a_lost_broker_is_waited_for_and_a_cleaned_topic_is_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_S", 0.001)
    stand = Stand()
    rulebooks, watcher = rulebooks_on(stand)
    stand.broker.reachable = False
    with pytest.raises(Lost):
        await rulebooks.catch_up()
    following = asyncio.create_task(rulebooks.run(lambda: {FIRST + 4}))
    await asyncio.sleep(0)
    stand.broker.reachable = True
    await until(lambda: watcher.judging[-1:] == [({"test"}, {one.id for one in MIXED.rules})])
    stand.feed([published("other", 3), published("other", 3)])
    stand.broker.truncate(TOPICS.rulebook, 0, 1)
    await until(lambda: watcher.judging[-1:] == [({"other"}, {"other"})])
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


@asynccontextmanager
async def learning(stand: Stand) -> AsyncIterator[tuple[Worker, Rulebooks]]:
    rulebooks, _ = rulebooks_on(stand)
    await rulebooks.catch_up()
    intake = MemoryIntake(stand.broker, [TOPICS.usage, TOPICS.feedback], GROUP)
    worker = Worker(stand.world, replace(stand.terms, rulebook=rulebooks), intake, MemorySender(stand.broker))
    following = asyncio.create_task(rulebooks.run(worker.shelf.open_days))
    try:
        async with working(stand, worker=worker):
            yield worker, rulebooks
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


def judged(stand: Stand) -> dict[date, set[str]]:
    """Hashes by day, over all partitions."""
    found: dict[date, set[str]] = {}
    for partition in range(PARTITIONS):
        for record in stand.records(TOPICS.decisions, partition):
            if (record.key or b"").startswith(b"day/"):
                day = date.fromisoformat((record.key or b"").decode().removeprefix("day/"))
                found.setdefault(day, set()).add(json.loads(record.value or b"")["rulebook"])
    return found


async def test_every_shard_of_a_running_worker_switches_at_its_close_of_the_day(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_LOOK_S", 0.001)
    stand = Stand()
    events = month(CITY, days=12)
    half = len(events) // 2
    stand.feed(events[:half])
    async with learning(stand) as (worker, rulebooks):
        await until(all_committed(stand), 60)
        open_days = worker.shelf.open_days()
        assert worker.desk.in_force() == InForce(MIXED)
        switch = max(open_days) + 1 - FIRST
        stand.feed([published("other", switch)])
        await until(lambda: rulebooks.newest_hash() == "other")
        assert worker.desk.in_force().rulebook is MIXED
        stand.feed(events[half:])
        await until(all_committed(stand), 60)
        assert worker.desk.in_force() == InForce(OTHER, BEGIN.date() + timedelta(days=switch))
    days = judged(stand)
    turn = BEGIN.date() + timedelta(days=switch)
    assert days.keys() >= {turn - timedelta(days=1), turn}
    assert all(hashes == ({"other"} if day >= turn else {"test"}) for day, hashes in days.items())
    raised = [episode for partition in range(PARTITIONS) for episode in _episodes(stand, partition)]
    others = [one for one in raised if one["rule"] == "other"]
    assert others
    assert min(one["raised_on"] for one in others) == turn


async def test_a_restart_judges_on_with_what_was_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_S", 0.001)
    stand, plain = Stand(), Stand()
    events = month(CITY, days=12)
    for one in (stand, plain):
        one.feed([published("other", 4), published("test", 8, number=2)])
        one.feed(events if one is plain else events[: len(events) // 2])
    async with learning(plain):
        await until(all_committed(plain), 60)
    async with learning(stand):
        await until(all_committed(stand), 60)
    stand.feed(events[len(events) // 2 :])
    async with learning(stand) as (worker, _):
        await until(ready(worker))
        await until(all_committed(stand), 60)
    assert judged(stand) == judged(plain)
    assert sorted(stand.said()) == sorted(plain.said())
    assert {len(hashes) for hashes in judged(stand).values()} == {1}


def _episodes(stand: Stand, partition: int) -> list[dict[str, Any]]:
    return read_decisions(stand.records(TOPICS.decisions, partition)).episodes.to_dicts()


async def test_what_was_standing_on_a_rulebooks_first_day_is_published_once_it_is_released(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_LOOK_S", 0.001)
    stand = Stand()
    events = month(CITY, days=12)
    half = len(events) // 2
    stand.feed([published("other", 2), *events[:half]])
    release = Released(
        "r", "standing", (BEGIN.date() + timedelta(days=2)).isoformat(), "mona", instant_text(0), "other"
    )

    def warned() -> set[str]:
        """Subscribers of whom the new rule has warned."""
        told = [json.loads(record.value or b"") for record in stand.records(TOPICS.warnings)]
        return {one["subscriber_id"] for one in told if one["rule"] == "other" and one["transition"] == "raised"}

    def standing() -> set[str]:
        episodes = [one for partition in range(PARTITIONS) for one in _episodes(stand, partition)]
        kept = [one for one in episodes if one["suppressed_by"] == "standing" and one["state"] == "raised"]
        return {one["subscriber_id"] for one in kept if one["rule"] == "other"}

    async with learning(stand):
        await until(all_committed(stand), 60)
        kept = standing()
        assert kept
        assert not warned() & kept
        stand.feed([to_partition(release, TOPICS.feedback, partition) for partition in range(PARTITIONS)])
        await until(all_heard(stand), 60)
        assert standing() == kept  # it is said at the next close
        stand.feed(events[half:])
        await until(all_committed(stand), 60)
    assert standing() == set()
    assert warned() & kept


def all_heard(stand: Stand) -> Callable[[], bool]:
    def done() -> bool:
        stand.clock.advance(timedelta(milliseconds=20))
        committed = (stand.broker.committed.get((GROUP, TOPICS.feedback, number)) for number in range(PARTITIONS))
        return all(offset == 1 for offset in committed)

    return done
