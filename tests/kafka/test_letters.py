"""Dead letters go back exactly once: replayed again, broken off anywhere, and by two at a time."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass

import pytest

from service.kafka import letters as module
from service.kafka.letters import LetterMissing, Letters, Overtaken
from service.kafka.publisher import KafkaPublisher
from service.ports import Log, Lost, Message, Publisher, Record
from service.wire.deadletters import CUT, dead_letter
from service.wire.decode import Intake
from service.wire.letters import Asked, Fate
from service.wire.rejects import Fault, Reject
from service.wire.topics import Topics
from tests.doubles.broker import MemoryPublisher
from tests.kafka.worlds import KafkaWorld, MemoryWorld, World, read_all
from tests.wire.examples import PARTITIONS, home_of

COUNT = 40
CHUNK = 4
REPLAYER = "replay"


@dataclass(frozen=True)
class Box:
    """Topics of our own with COUNT dead letters over all partitions, and who replays them."""

    world: World
    log: Log
    topics: Topics

    def letters(self, publisher: Callable[[], Publisher] | None = None) -> Letters:
        return Letters(self.log, self.topics, Intake(PARTITIONS), publisher or self.publisher)

    def publisher(self) -> Publisher:
        if isinstance(self.world, MemoryWorld):
            return MemoryPublisher(self.world.broker, REPLAYER, "g")
        assert isinstance(self.world, KafkaWorld)
        return KafkaPublisher(self.world.settings, f"{self.topics.prefix}{REPLAYER}")

    async def write(self, numbers: Sequence[int], fault: Fault = Fault.MALFORMED, **changes: str) -> None:
        sender = await self.world.sender()
        for number in numbers:
            key = f"s-{number}".encode()
            told = {"topic": self.topics.usage} | changes
            lost = Record(told["topic"], home_of(key), number, 0, key, b"v%d" % number, (("h", b"1"),))
            await sender.send(dead_letter(Reject(lost, fault, "why"), self.topics.dead_letters))

    async def sent(self) -> Counter[bytes | None]:
        """How often each value stands in the usage topic, for who reads what is committed."""
        parts = [await read_all(self.log, self.topics.usage, number) for number in range(PARTITIONS)]
        assert all(
            one.headers == (("h", b"1"),) and one.partition == home_of(one.key or b"") for p in parts for one in p
        )
        return Counter(one.value for part in parts for one in part)


def once(count: int = COUNT) -> Counter[bytes]:
    return Counter(b"v%d" % number for number in range(count))


@pytest.fixture(params=["memory", "kafka"])
async def box(request: pytest.FixtureRequest, unique: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Box]:
    monkeypatch.setattr(module, "_CHUNK_LETTERS", CHUNK)
    is_kafka = request.param == "kafka"
    world = KafkaWorld(request.getfixturevalue("kafka_bootstrap"), unique) if is_kafka else MemoryWorld()
    topics = Topics(f"{unique}." if is_kafka else "")
    for name in ("usage.events", "churn.feedback", "usage.dead-letters"):
        await world.make_topic(name, PARTITIONS)
    box = Box(world, await world.log(), topics)
    await box.write(range(COUNT))
    yield box
    if isinstance(world, KafkaWorld):
        await world.stop()


async def test_each_letter_goes_back_once_however_often_it_is_replayed(box: Box) -> None:
    assert await box.letters().foresee(Asked(), None) == {Fate.SENT: COUNT}
    assert await box.letters().replay(Asked(), None) == {Fate.SENT: COUNT}
    assert await box.letters().replay(Asked(), None) == {Fate.REPLAYED: COUNT}
    assert await box.letters().foresee(Asked(), None) == {Fate.REPLAYED: COUNT}
    await box.write([COUNT])
    assert await box.letters().replay(Asked(), None) == {Fate.SENT: 1, Fate.REPLAYED: COUNT}
    assert await box.sent() == once(COUNT + 1)
    survey = await box.letters().survey(Asked(), 5)
    assert (survey.letters, survey.replayed) == ({"malformed": COUNT + 1}, {"malformed": COUNT + 1})
    assert len(survey.newest()) == 5


async def test_only_what_is_asked_for_goes_back_and_the_rest_can_later(box: Box) -> None:
    await box.write(range(COUNT, COUNT + 3), Fault.FUTURE)
    assert await box.letters().replay(Asked(reason="future"), None) == {Fate.SENT: 3}
    assert await box.letters().replay(Asked(reason="malformed"), 7) == {Fate.SENT: 7}
    (last, _), *_ = (await box.letters().survey(Asked(reason="malformed"), 1)).newest()
    place = last.record.partition, last.record.offset
    assert await box.letters().find(*place) == last
    assert await box.letters().replay(Asked(at=place), None) == {Fate.SENT: 1}
    fates = await box.letters().replay(Asked(), None)
    assert fates == {Fate.SENT: COUNT - 8, Fate.REPLAYED: 11}
    assert await box.sent() == once(COUNT + 3)


async def test_what_cannot_be_replayed_is_counted_and_stays(box: Box) -> None:
    await box.write([COUNT], topic="elsewhere")
    (cut,) = [dead_letter(Reject(Record(box.topics.usage, 1, 1, 0, b"k", None), Fault.MALFORMED, "why"), "")]
    sender = await box.world.sender()
    await sender.send(Message(box.topics.dead_letters, 1, b"k", None, (*cut.headers, CUT)))
    for _ in range(2):
        fates = await box.letters().replay(Asked(), None)
        assert (fates[Fate.CUT], fates[Fate.FOREIGN], fates.total()) == (1, 1, COUNT + 2)
    assert await box.sent() == once()


async def test_a_letter_that_is_not_there_is_named(box: Box) -> None:
    with pytest.raises(LetterMissing, match=r"has no partition 4: name one of 0 to 3"):
        await box.letters().find(PARTITIONS, 0)
    with pytest.raises(LetterMissing, match=r"no dead letter in partition 0 at offset 1000; it holds offsets 0 to"):
        await box.letters().find(0, 1000)
    await box.letters().replay(Asked(), 1)
    await read_all(box.log, box.topics.dead_letters)
    end = (await box.log.ends(box.topics.dead_letters, 0)).last_stable
    with pytest.raises(LetterMissing, match="no dead letter in partition 0 at offset"):  # a marker, or its commit's
        await box.letters().find(0, end - 1)


class Paused:
    """A publisher that says when it is about to send a chunk, and waits there."""

    def __init__(self, publisher: Publisher, chunks: int) -> None:
        self._publisher = publisher
        self._chunks = chunks
        self.waits, self.goes_on = asyncio.Event(), asyncio.Event()
        self.start, self.stop = publisher.start, publisher.stop

    async def publish(self, messages: Sequence[Message], offsets: Mapping[tuple[str, int], int]) -> None:
        self._chunks -= 1
        if self._chunks < 0:
            self.waits.set()
            await self.goes_on.wait()
        await self._publisher.publish(messages, offsets)


async def test_who_is_overtaken_sends_nothing_more(box: Box) -> None:
    paused = Paused(box.publisher(), chunks=3)
    first = asyncio.create_task(box.letters(lambda: paused).replay(Asked(), None))
    await asyncio.wait_for(paused.waits.wait(), 60)
    assert await box.letters().replay(Asked(), None) == {Fate.SENT: COUNT - 3 * CHUNK, Fate.REPLAYED: 3 * CHUNK}
    paused.goes_on.set()
    with pytest.raises(Overtaken, match=f"ends after {3 * CHUNK} letters"):
        await first
    assert await box.sent() == once()


async def test_who_is_killed_between_chunks_is_taken_up_by_the_next(box: Box) -> None:
    paused = Paused(box.publisher(), chunks=2)
    first = asyncio.create_task(box.letters(lambda: paused).replay(Asked(), None))
    await asyncio.wait_for(paused.waits.wait(), 60)
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    assert await box.letters().replay(Asked(), None) == {Fate.SENT: COUNT - 2 * CHUNK, Fate.REPLAYED: 2 * CHUNK}
    assert await box.sent() == once()


class LeftOpen:
    """A publisher whose process ends in the middle of its second transaction, with all of it sent."""

    def __init__(self, publisher: KafkaPublisher) -> None:
        self._publisher = publisher
        self._chunks = 0
        self.start, self.stop = publisher.start, self._nothing

    async def publish(self, messages: Sequence[Message], offsets: Mapping[tuple[str, int], int]) -> None:
        self._chunks += 1
        if self._chunks == 1:
            await self._publisher.publish(messages, offsets)
            return
        await self._publisher._producer.begin_transaction()
        await self._publisher._send(messages)
        raise asyncio.CancelledError

    async def _nothing(self) -> None: ...


@pytest.mark.parametrize("box", ["kafka"], indirect=True)
async def test_a_transaction_left_open_is_settled_by_the_next_replay(box: Box) -> None:
    publisher = box.publisher()
    assert isinstance(publisher, KafkaPublisher)
    with pytest.raises(asyncio.CancelledError):
        await box.letters(lambda: LeftOpen(publisher)).replay(Asked(), None)
    assert await box.letters().replay(Asked(), None) == {Fate.SENT: COUNT - CHUNK, Fate.REPLAYED: CHUNK}
    assert await box.sent() == once()
    await publisher.stop()


@pytest.mark.parametrize("box", ["memory"], indirect=True)
@pytest.mark.parametrize("fault", ["abort", "unknown-lost", "unknown-committed"])
async def test_a_chunk_of_unknown_fate_is_sent_once(box: Box, fault: str) -> None:
    assert isinstance(box.world, MemoryWorld)
    box.world.broker.faults[REPLAYER].extend([fault, "none", fault, "none", "none", fault])
    assert await box.letters().replay(Asked(), None) == {Fate.SENT: COUNT}
    assert await box.sent() == once()


@pytest.mark.parametrize("box", ["memory"], indirect=True)
async def test_what_never_commits_ends_with_a_sentence(box: Box) -> None:
    assert isinstance(box.world, MemoryWorld)
    box.world.broker.faults[REPLAYER].extend(["abort"] * 9)
    with pytest.raises(Lost, match="5 times a transaction came to nothing"):
        await box.letters().replay(Asked(), None)
    assert await box.sent() == {}
