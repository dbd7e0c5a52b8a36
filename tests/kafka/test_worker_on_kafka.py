"""The worker on a real Kafka: killed, moved and cut off from its broker, it says everything once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from aiokafka import AIOKafkaProducer

from deploy.broker import Broker
from service.clock import SystemClock
from service.kafka.consumer import KafkaIntake
from service.kafka.log import KafkaLog
from service.kafka.publisher import KafkaPublisher
from service.kafka.sender import KafkaSender
from service.kafka.topics import create_topics
from service.ports import Acknowledge, Message, WarningQuery
from service.settings import KafkaSettings
from service.shard import World
from service.wire.topics import Topics
from service.worker import Summary, Worker
from tests.doubles.broker import until
from tests.doubles.stand import PARTITIONS, MemoryStore, Stand, Witness, month, neighbours, usage
from tests.kafka.worlds import read_all
from tests.worker.test_worker import all_committed, working

CITY = [who for partition in range(PARTITIONS) for who in neighbours(partition, 6)]
MONTH = month(CITY, days=8)


class Place:
    """A broker with topics of our own, and workers that come and go on it."""

    def __init__(self, bootstrap: str, unique: str) -> None:
        self.settings = KafkaSettings(
            bootstrap_servers=bootstrap, group_id=f"{unique}-g", session_timeout_ms=2_000, heartbeat_interval_ms=500
        )
        self.topics = Topics(f"{unique}.")
        self.terms = replace(Stand().terms, topics=self.topics, turn_records=80, mirror_interval_s=0.05)
        self.store = MemoryStore()
        self.log = KafkaLog(self.settings)
        self.sender = KafkaSender(self.settings)
        self.summary = Summary(Witness())

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Place"]:
        await create_topics(self.settings, self.topics.specs(PARTITIONS, 30), -1)
        await self.log.start()
        await self.sender.start()
        try:
            yield self
        finally:
            await self.sender.stop()
            await self.log.stop()

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[Worker]:
        """A worker that is killed at the end, unless it was stopped."""
        world = World(self.log, self._publisher, self.store, SystemClock(), self.summary)
        intake = KafkaIntake(self.settings, [self.topics.usage, self.topics.feedback])
        worker = Worker(world, self.terms, intake, self.sender)
        task = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await worker.stop(0)

    def _publisher(self, partition: int) -> KafkaPublisher:
        return KafkaPublisher(self.settings, f"{self.settings.group_id}-{partition}")

    async def feed(self, messages: Sequence[Message]) -> None:
        async with AIOKafkaProducer(bootstrap_servers=self.settings.bootstrap_servers, linger_ms=5) as producer:
            futures = [
                await producer.send(self.topics.usage, m.value, key=m.key, partition=m.partition) for m in messages
            ]
            await asyncio.gather(*futures)

    async def said(self) -> Counter[str]:
        """Ids of all warnings, orders and changes of segment that a read_committed reader sees."""
        topics = [
            self.topics.warnings,
            self.topics.segments,
            *(self.topics.outbound(channel) for channel in ("call", "sms", "manager")),
        ]
        found: Counter[str] = Counter()
        for topic in topics:
            for partition in range(PARTITIONS):
                for record in await read_all(self.log, topic, partition):
                    found[dict(record.headers)["ce_id"].decode()] += 1
        return found

    def has_taken(self, count: int) -> Callable[[], bool]:
        return lambda: self.summary.events_in >= count


def ready(worker: Worker) -> Callable[[], bool]:
    return lambda: bool(worker.readiness()["ready"])


async def expected() -> set[str]:
    """What a worker on the double says of the same month."""
    stand = Stand()
    stand.feed(MONTH)
    async with working(stand):
        await until(all_committed(stand), 60)
    return {str(name) for _, name, _ in stand.said()}


async def test_a_worker_killed_and_started_again_says_everything_once(kafka_bootstrap: str, unique: str) -> None:
    async with Place(kafka_bootstrap, unique).open() as place:
        await place.feed(MONTH[: len(MONTH) // 2])
        async with place.worker() as worker:
            await until(place.has_taken(100), 60)
            assert worker.readiness()["broker"]
        async with place.worker() as worker:
            await until(ready(worker), 60)
            await place.feed(MONTH[len(MONTH) // 2 :])
            await until(lambda: _stands_at_the_end(worker), 60)
            await worker.stop(10)
        async with place.worker() as worker:
            await until(ready(worker), 60)
            assert worker.desk.warnings(WarningQuery(limit=5)).warnings.height == 5
        said = await place.said()
    assert set(said.values()) == {1}
    assert said.keys() == await expected()


async def test_shards_move_to_a_second_worker_and_back(kafka_bootstrap: str, unique: str) -> None:
    async with Place(kafka_bootstrap, unique).open() as place, place.worker() as first:
        await until(ready(first), 60)
        await place.feed(MONTH)
        async with place.worker() as second:
            await until(lambda: ready(second)() and len(second.readiness()["shards"]) == 2, 60)
            await until(lambda: ready(first)() and len(first.readiness()["shards"]) == 2, 60)
            await second.stop(10)
        await until(lambda: ready(first)() and _stands_at_the_end(first), 60)
        said = await place.said()
    assert set(said.values()) == {1}
    assert said.keys() == await expected()


async def test_a_broker_that_dies_and_comes_back_is_waited_for(own_broker: Broker, unique: str) -> None:
    async with Place(own_broker.address, unique).open() as place, place.worker() as worker:
        await until(ready(worker), 60)
        await place.feed(MONTH[: len(MONTH) // 2])
        await until(place.has_taken(50), 60)
        own_broker.kill()
        await until(lambda: not worker.readiness()["broker"], 30)
        assert "broker" in worker.readiness()["reason"]
        await asyncio.to_thread(own_broker.start)
        await until(ready(worker), 90)
        await place.feed(MONTH[len(MONTH) // 2 :])
        await until(lambda: _stands_at_the_end(worker), 90)
        said = await place.said()
    assert set(said.values()) == {1}
    assert said.keys() == await expected()


async def test_an_acknowledgement_goes_through_the_log(kafka_bootstrap: str, unique: str) -> None:
    async with Place(kafka_bootstrap, unique).open() as place, place.worker() as worker:
        await until(ready(worker), 60)
        await place.feed(MONTH)
        await until(lambda: _stands_at_the_end(worker), 60)
        row: dict[str, Any] = worker.desk.warnings(WarningQuery(limit=1)).warnings.row(0, named=True)
        assert await worker.desk.act(row["episode_id"], Acknowledge("agent-7"), 30)
        said = await place.said()
    taken = [count for name, count in said.items() if name.startswith(f"{row['episode_id']}.acknowledged.")]
    assert taken == [1]


async def test_a_poisoned_partition_is_held_back_beside_the_others_until_it_may_pass(
    kafka_bootstrap: str, unique: str
) -> None:
    place = Place(kafka_bootstrap, unique)
    place.terms = replace(place.terms, breaker_run=30)
    poison = [usage(CITY[0], "usage.sms", 1, count=-1) for _ in range(40)]
    async with place.open():
        async with place.worker() as worker:
            await until(ready(worker), 60)
            await place.feed(poison)
            await until(lambda: "(30 of the 30 records up to offset 29" in str(worker.readiness()["reason"]), 60)
            await place.feed(MONTH)
            others = sum(message.partition != poison[0].partition for message in MONTH)
            await until(lambda: _has_read(worker) == others, 60)
            assert worker.readiness()["ready"]
            assert await read_all(place.log, place.topics.dead_letters) == []
            await worker.stop(10)
        place.terms = replace(place.terms, breaker_share=1.0)
        async with place.worker() as worker:
            await until(lambda: _has_read(worker) == len(MONTH) + len(poison), 60)
            await worker.stop(10)
        said = await place.said()
        letters = await read_all(place.log, place.topics.dead_letters, poison[0].partition)
    assert set(said.values()) == {1}
    assert said.keys() == await expected()
    assert [dict(one.headers)["__connect.errors.offset"] for one in letters] == [b"%d" % at for at in range(40)]


def _has_read(worker: Worker) -> int:
    return sum(worker.desk.warnings(WarningQuery(limit=1)).as_of.values())


def _stands_at_the_end(worker: Worker) -> bool:
    return _has_read(worker) == len(MONTH)
