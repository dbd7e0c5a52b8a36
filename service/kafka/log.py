"""Reading the log outside any group: from an offset to an end by position, and where partitions end."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka import errors as kafka
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from service.kafka.batches import BatchReader
from service.kafka.connection import client_options
from service.kafka.names import allow_any_names
from service.ports import Ends, Lost, Records, Truncated
from service.settings import KafkaSettings

_LOG = logging.getLogger(__name__)
_WAIT_MS = 200


class KafkaLog:
    """See ports.Log. Each read has a consumer of its own, so restores run side by side."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._committed: Any = None
        self._all: Any = None

    async def start(self) -> None:
        """Connect. Raises: Lost."""
        self._committed = await self._consumer("read_committed")
        self._all = await self._consumer("read_uncommitted")

    async def stop(self) -> None:
        """Disconnect."""
        for consumer in (self._committed, self._all):
            if consumer is not None:
                await stopped(consumer)
        self._committed = self._all = None

    async def ends(self, topic: str, partition: int) -> Ends:
        """Last stable offset and high watermark now. Raises: Lost."""
        tp = TopicPartition(topic, partition)
        try:
            stable, high = await asyncio.gather(self._committed.end_offsets([tp]), self._all.end_offsets([tp]))
        except (KafkaError, OSError) as error:
            raise Lost(f"the end of {topic}-{partition} is not to be had: {error}") from error
        # Asked side by side: the log may have grown between the answers.
        return Ends(last_stable=stable[tp], high_watermark=max(high[tp], stable[tp]))

    async def beginning(self, topic: str, partition: int) -> int:
        """The first offset that a partition still holds. Raises: Lost."""
        tp = TopicPartition(topic, partition)
        try:
            beginning: int = (await self._all.beginning_offsets([tp]))[tp]
        except (KafkaError, OSError) as error:
            raise Lost(f"the beginning of {topic}-{partition} is not to be had: {error}") from error
        return beginning

    async def read(self, topic: str, partition: int, start: int, stop: int) -> AsyncGenerator[Records]:
        """Committed records of [start, stop). Raises: Lost, Truncated."""
        tp = TopicPartition(topic, partition)
        consumer = await self._consumer("read_committed")
        batches = BatchReader(consumer, whole_batches=self._settings.whole_batches)
        try:
            await self._seek(consumer, tp, start)
            # Control records hold offsets too: the position says when the end is reached, the last record does not.
            while (position := await consumer.position(tp)) < stop:
                try:
                    found = await batches.take([tp], _WAIT_MS, self._settings.poll_records)
                except kafka.OffsetOutOfRangeError as error:
                    beginning = (await consumer.beginning_offsets([tp]))[tp]
                    raise Truncated(topic, partition, position, beginning) from error
                if tp in found and len(records := found[tp].before(stop)):
                    yield records
        except (KafkaError, OSError) as error:
            raise Lost(f"{topic}-{partition} cannot be read: {error}") from error
        finally:
            await stopped(consumer)

    async def _seek(self, consumer: Any, tp: TopicPartition, start: int) -> None:  # noqa: ANN401 - aiokafka has no types
        consumer.assign([tp])
        beginning = (await consumer.beginning_offsets([tp]))[tp]
        if 0 <= start < beginning:
            raise Truncated(tp.topic, tp.partition, start, beginning)
        consumer.seek(tp, max(start, beginning))

    async def _consumer(self, isolation: str) -> Any:  # noqa: ANN401 - aiokafka has no types
        return await started(reader(self._settings, isolation))


def reader(settings: KafkaSettings, isolation: str = "read_committed") -> Any:  # noqa: ANN401 - aiokafka has no types
    """A consumer without a group that is assigned and sought by hand; not started yet."""
    return AIOKafkaConsumer(
        **client_options(settings),
        isolation_level=isolation,
        auto_offset_reset="none",
        enable_auto_commit=False,
        fetch_max_bytes=settings.fetch_bytes,
        max_partition_fetch_bytes=settings.fetch_partition_bytes,
        check_crcs=settings.check_crcs,
    )


async def started(consumer: Any) -> Any:  # noqa: ANN401 - aiokafka has no types
    """The consumer, started. Raises: Lost."""
    allow_any_names()
    try:
        await consumer.start()
    except BaseException as error:
        await stopped(consumer)
        if isinstance(error, (KafkaError, OSError)):
            raise Lost(f"the broker cannot be reached: {error}") from error
        raise
    return consumer


async def stopped(consumer: Any) -> None:  # noqa: ANN401 - aiokafka has no types
    """Stop a consumer, whatever state it is in.

    Without its broker aiokafka breaks off with the cancellation of its own fetches: whoever stops it is not cancelled.
    """
    stopping = asyncio.ensure_future(consumer.stop())
    await asyncio.wait([stopping])
    if stopping.cancelled():
        await consumer._client.close()  # noqa: SLF001 - what stop would have done next
    elif (error := stopping.exception()) is not None:
        if not isinstance(error, KafkaError):
            raise error
        _LOG.debug("a consumer stopped with %r", error)
