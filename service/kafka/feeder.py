"""Writing a feed of usage events fast: whole batches, the partition chosen as every other producer chooses it."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import numpy as np
from aiokafka.errors import KafkaError

from service.kafka.sender import started_producer
from service.ports import Lost, Message
from service.settings import KafkaSettings
from service.wire.feedback import feed_closed
from service.wire.partitioning import partitions_of
from service.wire.topics import Topics

_BATCH_BYTES = 512 << 10


class KafkaFeeder:
    """Sends usage events and says when a feed has ended; remembers how far each partition was written."""

    def __init__(self, settings: KafkaSettings, topics: Topics, partitions: int) -> None:
        self._settings = settings
        self._topics = topics
        self._partitions = partitions
        self._producer: Any = None
        self.ends = dict.fromkeys(range(partitions), 0)  # the offset after the last event sent, by partition

    async def start(self) -> None:
        """Connect. Raises: Lost."""
        compression = self._settings.compression
        self._producer = await started_producer(
            self._settings,
            max_batch_size=_BATCH_BYTES,
            compression_type=None if compression == "none" else compression,
        )

    async def stop(self) -> None:
        """Disconnect."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    async def send(
        self, keys: Sequence[bytes | None], values: Sequence[bytes], times_us: Sequence[int] | None = None
    ) -> None:
        """Send events in order and wait until the broker has them; `times_us` become the records' own timestamps.

        Raises: Lost.
        """
        partitions = self._choose(keys)
        try:
            for partition in np.unique(partitions).tolist():
                at = np.flatnonzero(partitions == partition).tolist()
                records = [(keys[i], values[i], None if times_us is None else times_us[i] // 1000) for i in at]
                batches = list(self._batches(records))
                sent = [
                    await self._producer.send_batch(batch, self._topics.usage, partition=partition) for batch in batches
                ]
                counts = [batch.record_count() for batch in batches]
                for answer, count in zip(await asyncio.gather(*sent), counts, strict=True):
                    self.ends[partition] = max(self.ends[partition], answer.offset + count)
        except (KafkaError, OSError) as error:
            raise Lost(f"{self._topics.usage} does not take events now: {error}") from error

    async def finish(self, through: date) -> None:
        """Tell every shard that the feed has ended: having read what was sent, it closes the days up to `through`.

        Raises: Lost.
        """
        try:
            for partition, end in self.ends.items():
                message = feed_closed(through, end, self._topics.feedback, partition)
                await self._send(message)
        except (KafkaError, OSError) as error:
            raise Lost(f"{self._topics.feedback} does not take messages now: {error}") from error

    async def _send(self, message: Message) -> None:
        await self._producer.send_and_wait(
            message.topic, message.value, message.key, partition=message.partition, headers=list(message.headers)
        )

    def _choose(self, keys: Sequence[bytes | None]) -> np.ndarray:
        """`any` leaves the choice to us."""
        partitioner = self._settings.partitioner
        chosen = partitions_of(
            [key or b"" for key in keys], self._partitions, "murmur2" if partitioner == "any" else partitioner
        )
        partitions: np.ndarray = np.asarray(chosen)
        return partitions

    def _batches(self, records: Sequence[tuple[bytes | None, bytes, int | None]]) -> Iterator[Any]:
        batch = self._producer.create_batch()
        for key, value, time_ms in records:
            if batch.append(key=key, value=value, timestamp=time_ms) is None:
                yield batch
                batch = self._producer.create_batch()
                batch.append(key=key, value=value, timestamp=time_ms)
        if batch.record_count():
            yield batch
