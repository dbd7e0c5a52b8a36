"""The same questions to two brokers: the double in memory and a real one."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import TopicPartition

from service.kafka.consumer import KafkaIntake
from service.kafka.log import KafkaLog
from service.kafka.publisher import KafkaPublisher
from service.kafka.sender import KafkaSender
from service.kafka.topics import create_topics
from service.ports import Log, Message, Publisher, Record
from service.settings import KafkaSettings
from service.wire.topics import TopicSpec
from service.worker.intake import Intake, Polled
from tests.doubles.broker import MemoryBroker, MemoryIntake, MemoryLog, MemoryPublisher, MemorySender

T = TypeVar("T", KafkaPublisher, KafkaLog, KafkaSender)


class Sends(Protocol):
    async def send(self, message: Message) -> int: ...


class World(Protocol):
    """A broker with fresh names; whatever it hands out is stopped at the end."""

    async def make_topic(self, name: str, partitions: int, config: Mapping[str, str] | None = None) -> str: ...
    async def publisher(self, transactional_id: str) -> Publisher: ...
    async def log(self) -> Log: ...
    async def sender(self) -> Sends: ...
    def intake(self, topics: Sequence[str]) -> Intake: ...
    async def group_offset(self, topic: str, partition: int) -> int | None: ...
    async def truncate(self, topic: str, partition: int, before: int) -> None: ...


class MemoryWorld:
    def __init__(self) -> None:
        self.broker = MemoryBroker()

    async def make_topic(self, name: str, partitions: int, config: Mapping[str, str] | None = None) -> str:
        self.broker.make_topic(name, partitions)
        if config and "max.message.bytes" in config:
            self.broker.largest = int(config["max.message.bytes"])
        return name

    async def publisher(self, transactional_id: str) -> Publisher:
        publisher = MemoryPublisher(self.broker, transactional_id, "g")
        await publisher.start()
        return publisher

    async def log(self) -> Log:
        return MemoryLog(self.broker)

    async def sender(self) -> Sends:
        return MemorySender(self.broker)

    def intake(self, topics: Sequence[str]) -> Intake:
        return MemoryIntake(self.broker, topics)

    async def group_offset(self, topic: str, partition: int) -> int | None:
        return self.broker.committed.get(("g", topic, partition))

    async def truncate(self, topic: str, partition: int, before: int) -> None:
        self.broker.truncate(topic, partition, before)


class KafkaWorld:
    def __init__(self, bootstrap: str, unique: str) -> None:
        self.settings = KafkaSettings(bootstrap_servers=bootstrap, group_id=f"{unique}-g")
        self._unique = unique
        self._stops: list[KafkaPublisher | KafkaLog | KafkaSender] = []

    async def make_topic(self, name: str, partitions: int, config: Mapping[str, str] | None = None) -> str:
        spec = TopicSpec(f"{self._unique}.{name}", partitions, config or {})
        assert await create_topics(self.settings, [spec], -1) == [spec.name]
        return spec.name

    async def publisher(self, transactional_id: str) -> Publisher:
        return await self._started(KafkaPublisher(self.settings, f"{self._unique}-{transactional_id}"))

    async def log(self) -> Log:
        return await self._started(KafkaLog(self.settings))

    async def sender(self) -> Sends:
        return await self._started(KafkaSender(self.settings))

    def intake(self, topics: Sequence[str]) -> Intake:
        return KafkaIntake(self.settings, topics)

    async def group_offset(self, topic: str, partition: int) -> int | None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.settings.bootstrap_servers,
            group_id=self.settings.group_id,
            enable_auto_commit=False,
        )
        await consumer.start()
        try:
            offset: int | None = await consumer.committed(TopicPartition(topic, partition))
        finally:
            await consumer.stop()
        return offset

    async def truncate(self, topic: str, partition: int, before: int) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.settings.bootstrap_servers)
        await admin.start()
        try:
            await admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(before)})
        finally:
            await admin.close()

    async def stop(self) -> None:
        for one in self._stops:
            await one.stop()

    async def _started(self, one: T) -> T:
        self._stops.append(one)
        await one.start()
        return one


def message(topic: str, value: str, partition: int = 0, key: str | None = "k") -> Message:
    return Message(topic, partition, None if key is None else key.encode(), value.encode(), (("h", b"1"),))


async def read_all(log: Log, topic: str, partition: int = 0) -> list[Record]:
    """What a read_committed reader sees, once every transaction that has ended is marked so in the log."""
    async with asyncio.timeout(20):
        while (ends := await log.ends(topic, partition)).last_stable < ends.high_watermark:
            pass  # a commit is answered before its markers are written
    return [one for records in [r async for r in log.read(topic, partition, -1, ends.last_stable)] for one in records]


def values(records: Sequence[Record]) -> list[str]:
    return [(record.value or b"").decode() for record in records]


async def poll_until(intake: Intake, partitions: Sequence[int], count: int) -> list[Polled]:
    """Poll until so many records have come."""
    polled: list[Polled] = []
    async with asyncio.timeout(20):
        while sum(len(one.records) for one in polled) < count:
            polled += await intake.poll(partitions, 1_000)
    return polled
