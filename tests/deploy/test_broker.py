"""The broker that all Kafka tests stand on: it works, survives a restart with its data, and is ended by its own id."""

import re
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import TopicPartition

from deploy.broker import Broker, BrokerError, jars, kafka_version

ROOT = Path(__file__).parents[2]


async def make_topic(address: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    await admin.close()


async def committed_values(address: str, topic: str) -> list[bytes | None]:
    consumer = AIOKafkaConsumer(bootstrap_servers=address, isolation_level="read_committed", enable_auto_commit=False)
    async with consumer:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        end = (await consumer.end_offsets([partition]))[partition]
        values: list[bytes | None] = []
        while await consumer.position(partition) < end:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                values += [record.value for record in records]
        return values


async def test_an_aborted_transaction_is_invisible_to_committed_readers(kafka_bootstrap: str, unique: str) -> None:
    await make_topic(kafka_bootstrap, unique)
    async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap, transactional_id=unique) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(unique, b"never", partition=0)
        await producer.abort_transaction()
        await producer.begin_transaction()
        await producer.send_and_wait(unique, b"kept", partition=0)
        await producer.commit_transaction()
    assert await committed_values(kafka_bootstrap, unique) == [b"kept"]


async def test_a_killed_broker_comes_back_with_its_address_and_data(own_broker: Broker) -> None:
    address, pid = own_broker.address, own_broker.pid
    await make_topic(address, "kept")
    async with AIOKafkaProducer(bootstrap_servers=address) as producer:
        await producer.send_and_wait("kept", b"1", partition=0)
    own_broker.kill()
    own_broker.start()
    assert own_broker.pid != pid
    assert own_broker.address == address
    assert await committed_values(address, "kept") == [b"1"]


def test_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(BrokerError, match="apt-get install maven"):
        jars()
    with pytest.raises(BrokerError, match="apt-get install default-jre-headless"):
        Broker(tmp_path / "broker").start()


def test_compose_runs_the_same_kafka_as_the_tests() -> None:
    compose = (ROOT / "deploy/compose.yaml").read_text(encoding="utf-8")
    assert re.findall(r"apache/kafka:(\S+)", compose) == [kafka_version()]
