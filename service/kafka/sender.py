"""Single messages outside any transaction, such as an acknowledgement on its way to its shard."""

from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from service.kafka.connection import client_options
from service.ports import Lost, Message
from service.settings import KafkaSettings


async def started_producer(settings: KafkaSettings, **options: Any) -> Any:  # noqa: ANN401 - aiokafka has no types
    """A started producer outside any transaction: idempotent, acknowledged by all replicas. Raises: Lost."""
    producer = AIOKafkaProducer(**client_options(settings), enable_idempotence=True, acks="all", **options)
    try:
        await producer.start()
    except (KafkaError, OSError) as error:
        await producer.stop()
        raise Lost(f"the broker cannot be reached: {error}") from error
    return producer


class KafkaSender:
    """See worker.Sender."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._producer: Any = None

    async def start(self) -> None:
        """Connect. Raises: Lost."""
        self._producer = await started_producer(self._settings)

    async def send(self, message: Message) -> int:
        """Send one message; returns its offset. Raises: Lost."""
        try:
            sent = await self._producer.send_and_wait(
                message.topic,
                value=message.value,
                key=message.key,
                partition=message.partition,
                headers=list(message.headers),
            )
        except (KafkaError, OSError) as error:
            raise Lost(f"{message.topic} does not take a message now: {error}") from error
        return int(sent.offset)

    async def stop(self) -> None:
        """Disconnect."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()
