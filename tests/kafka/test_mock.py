"""The demo's broker: it carries a transaction, and says what is missing when its library is not there."""

import sys

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition

from service.kafka.mock import PARTITIONS, MockMissingError, mock_cluster


async def test_a_transaction_arrives() -> None:
    partition = TopicPartition("topic", 3)
    with mock_cluster() as address:
        async with AIOKafkaProducer(bootstrap_servers=address, transactional_id="t") as producer:
            assert await producer.partitions_for("topic") == set(range(PARTITIONS))
            async with producer.transaction():
                await producer.send_and_wait("topic", b"1", partition=3)
                await producer.send_offsets_to_transaction({partition: 7}, "group")
        async with AIOKafkaConsumer(bootstrap_servers=address, isolation_level="read_committed") as consumer:
            consumer.assign([partition])
            await consumer.seek_to_beginning(partition)
            assert (await consumer.getone()).value == b"1"


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(MockMissingError, match=r"churn-warning\[demo\]"), mock_cluster():
        pass
