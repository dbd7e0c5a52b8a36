"""Writing records as they are to the partitions that they name, right or wrong."""

from collections.abc import Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaProducer

from tests.e2e.running import PARTITIONS

Headers = tuple[tuple[str, bytes], ...]


class Sent(NamedTuple):
    """A record as it goes to its partition."""

    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


async def send(bootstrap: str, topic: str, records: Sequence[Sent]) -> None:
    """Write records as they are, in order, wherever they say."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True) as producer:
        for partition in range(PARTITIONS):
            batch, futures = producer.create_batch(), []
            for one in records:
                if one.partition != partition:
                    continue
                told = {"key": one.key, "value": one.value, "timestamp": None, "headers": list(one.headers)}
                if batch.append(**told) is None:
                    futures.append(await producer.send_batch(batch, topic, partition=partition))
                    batch = producer.create_batch()
                    batch.append(**told)
            futures.append(await producer.send_batch(batch, topic, partition=partition))
            for future in futures:
                await future
