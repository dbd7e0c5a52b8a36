"""Rulebooks are published one at a time, never for a day that some shard has open, and can be published again."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import pytest

from service.core.books import Books, Publication
from service.core.calendar import to_date, to_day
from service.core.rules import Rulebook
from service.kafka.publisher import KafkaPublisher
from service.kafka.rulebooks import DayMissing, Overtaken, RulebookTopic, TooEarly, VersionMissing, Wish
from service.ports import Log, Lost, Message, Publisher
from service.wire.topics import Topics
from tests.doubles.broker import MemoryPublisher
from tests.kafka.worlds import KafkaWorld, MemoryWorld, World, read_all
from tests.wire.examples import PARTITIONS

DAY = to_day(date(2026, 1, 10))
NAME = "publish"
AT = "2026-01-09T00:00:00Z"


def wish(rulebook_hash: str, effective_on: int | None = None, **changes: object) -> Wish:
    return replace(Wish(rulebook_hash, {"a.yaml": rulebook_hash}, effective_on, None, "mona", AT), **changes)  # type: ignore[arg-type]  # any field


@dataclass
class Meddling:
    """A publisher that lets something happen just before it publishes."""

    real: Publisher
    before: Callable[[], Awaitable[object]]

    async def start(self) -> None:
        await self.real.start()

    async def publish(self, messages: Sequence[Message], offsets: Mapping[tuple[str, int], int]) -> None:
        await self.before()
        await self.real.publish(messages, offsets)

    async def stop(self) -> None:
        await self.real.stop()


@dataclass(frozen=True)
class Shelf:
    world: World
    log: Log
    topics: Topics

    def topic(self, publisher: Callable[[], Publisher] | None = None) -> RulebookTopic:
        return RulebookTopic(self.log, self.topics, PARTITIONS, publisher or self.publisher)

    def publisher(self) -> Publisher:
        if isinstance(self.world, MemoryWorld):
            return MemoryPublisher(self.world.broker, NAME, "g")
        assert isinstance(self.world, KafkaWorld)
        return KafkaPublisher(self.world.settings, f"{self.topics.prefix}{NAME}")

    def meddling(self, before: Callable[[], Awaitable[object]]) -> RulebookTopic:
        return self.topic(lambda: Meddling(self.publisher(), before))

    async def close(self, partition: int, *days: int) -> None:
        sender = await self.world.sender()
        for day in days:
            for key in (f"day/{to_date(day)}", "episode/day/1", "cursor", "day/odd"):
                await sender.send(Message(self.topics.decisions, partition, key.encode(), b"{}"))


@pytest.fixture(params=["memory", "kafka"])
async def shelf(request: pytest.FixtureRequest, unique: str) -> AsyncIterator[Shelf]:
    is_kafka = request.param == "kafka"
    world = KafkaWorld(request.getfixturevalue("kafka_bootstrap"), unique) if is_kafka else MemoryWorld()
    topics = Topics(f"{unique}." if is_kafka else "")
    await world.make_topic("churn.rulebook", 1)
    await world.make_topic("churn.decisions", PARTITIONS)
    yield Shelf(world, await world.log(), topics)
    if isinstance(world, KafkaWorld):
        await world.stop()


async def test_the_day_is_one_that_no_shard_has_opened(shelf: Shelf) -> None:
    topic = shelf.topic()
    with pytest.raises(DayMissing):
        await topic.publish(wish("aa"))
    assert (await topic.publish(wish("aa", today=DAY))).publication.effective_on == DAY + 1
    await shelf.close(0, DAY - 1, DAY)
    await shelf.close(2, DAY + 1, DAY - 3)
    assert await topic.closed_days() == {0: DAY, 2: DAY + 1}
    for day in (DAY, DAY + 1, DAY + 2):  # two are closed somewhere, the third is open
        with pytest.raises(TooEarly) as early:
            await topic.publish(wish("bb", day))
        assert early.value.earliest == DAY + 3
    published = await topic.publish(wish("bb"))
    assert published.publication == Publication("bb", DAY + 3, 2, AT, "mona")
    assert published.overtaken_by == ()
    assert len(await read_all(shelf.log, shelf.topics.rulebook)) == 2  # what was refused wrote nothing


async def test_an_older_version_is_published_again_by_its_hash(shelf: Shelf) -> None:
    topic = shelf.topic()
    await topic.publish(wish("aa", DAY))
    await topic.publish(wish("bb", DAY + 5))
    await topic.publish(wish("aa", DAY + 9, files=None, by="noor"))
    versions = await topic.versions()
    assert {name: version.files for name, version in versions.items()} == {
        "aa": {"a.yaml": "aa"},
        "bb": {"a.yaml": "bb"},
    }
    assert [(one.effective_on, one.number, one.by) for one in versions["aa"].publications] == [
        (DAY, 1, "mona"),
        (DAY + 9, 3, "noor"),
    ]
    with pytest.raises(VersionMissing) as missing:
        await topic.publish(wish("cc", DAY + 12, files=None))
    assert (missing.value.hash, sorted(missing.value.known)) == ("cc", ["aa", "bb"])


async def test_shards_that_open_the_day_meanwhile_are_named(shelf: Shelf) -> None:
    await shelf.close(1, DAY)
    published = await shelf.meddling(lambda: shelf.close(1, DAY + 1)).publish(wish("aa"))
    assert (published.publication.effective_on, published.overtaken_by) == (DAY + 2, (1,))


async def test_of_two_who_publish_at_a_time_one_is_overtaken_and_nothing_is_lost(shelf: Shelf) -> None:
    await shelf.topic().publish(wish("first", DAY))

    async def another() -> None:
        await shelf.topic().publish(wish("bb", DAY + 1))

    with pytest.raises(Overtaken):
        await shelf.meddling(another).publish(wish("aa", DAY + 1))
    assert sorted(await shelf.topic().versions()) == ["bb", "first"]
    await shelf.topic().publish(wish("aa", DAY + 1))
    numbers = [version.publications[0].number for version in (await shelf.topic().versions()).values()]
    assert sorted(numbers) == [1, 2, 3]


async def test_what_is_no_version_is_passed_over(shelf: Shelf) -> None:
    sender = await shelf.world.sender()
    await sender.send(Message(shelf.topics.rulebook, 0, b"x", b"{"))
    await shelf.topic().publish(wish("aa", DAY))
    assert list(await shelf.topic().versions()) == ["aa"]


@pytest.mark.parametrize(("fault", "numbers"), [("abort", [1]), ("unknown-lost", [1]), ("unknown-committed", [1, 2])])
async def test_a_publication_of_unknown_outcome_is_made_again(fault: str, numbers: list[int]) -> None:
    world = MemoryWorld()
    for name, partitions in (("churn.rulebook", 1), ("churn.decisions", PARTITIONS)):
        await world.make_topic(name, partitions)
    world.broker.faults[NAME].append(fault)
    shelf = Shelf(world, await world.log(), Topics())
    await shelf.topic().publish(wish("aa", DAY))
    (version,) = (await shelf.topic().versions()).values()
    assert [one.number for one in version.publications] == numbers
    known = {"aa": Rulebook("aa", ())}
    assert [Books(Rulebook("", ()), known, version.publications).on(day).hash for day in (DAY - 1, DAY)] == ["", "aa"]
    world.broker.faults[NAME].extend(["abort"] * 5)
    with pytest.raises(Lost, match="5 times a transaction came to nothing"):
        await shelf.topic().publish(wish("aa", DAY + 1))
