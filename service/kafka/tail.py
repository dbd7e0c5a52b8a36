"""The live tail of churn.warnings for whoever streams it: committed records only, no group, for ever."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from service.kafka.log import reader, started, stopped
from service.ports import Alert, Lost, Truncated
from service.settings import KafkaSettings
from service.wire.records import is_text

_LOG = logging.getLogger(__name__)
_WAIT_MS = 250
_BACK_OFF_S = 1.0
_MOST = 1_000


class KafkaAlertTail:
    """See ports.AlertTail. Make it on the loop that uses it."""

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        self._settings = settings
        self._topic = topic

    async def positions(self) -> Mapping[int, int]:
        """Last stable offset of every partition now. Raises: Lost."""
        consumer = await started(reader(self._settings))
        try:
            ends = await consumer.end_offsets(await self._partitions(consumer))
        except (KafkaError, OSError) as error:
            raise Lost(f"the ends of {self._topic} are not to be had: {error}") from error
        finally:
            await stopped(consumer)
        return {tp.partition: offset for tp, offset in ends.items()}

    async def follow(self, positions: Mapping[int, int]) -> AsyncIterator[Alert]:
        """Alerts from `positions` on; a broker that is lost is waited for. Raises: Truncated."""
        held = dict(positions)
        while True:
            try:
                async for alert in self._connected(held):
                    yield alert
            except (Lost, KafkaError, OSError) as error:
                _LOG.warning("the tail of %s waits for the broker: %s", self._topic, error)
                await asyncio.sleep(_BACK_OFF_S)

    async def _connected(self, held: dict[int, int]) -> AsyncIterator[Alert]:
        consumer = await started(reader(self._settings))
        try:
            tps = await self._partitions(consumer)
            beginnings = await consumer.beginning_offsets(tps)
            consumer.assign(tps)
            for tp in tps:
                asked = held.setdefault(tp.partition, beginnings[tp])
                if asked < beginnings[tp]:
                    raise Truncated(tp.topic, tp.partition, asked, beginnings[tp])
                consumer.seek(tp, asked)
            while True:
                found = await consumer.getmany(timeout_ms=_WAIT_MS, max_records=_MOST)
                for tp, records in found.items():
                    for record in records:
                        held[tp.partition] = record.offset + 1
                        alert = _alert(record)
                        if alert is not None:
                            yield alert
        finally:
            await stopped(consumer)

    async def _partitions(self, consumer: Any) -> list[TopicPartition]:  # noqa: ANN401 - aiokafka has no types
        await consumer._client._wait_on_metadata(self._topic)  # noqa: SLF001 - the public way answers from memory only
        return [TopicPartition(self._topic, number) for number in sorted(consumer.partitions_for_topic(self._topic))]


def _alert(record: Any) -> Alert | None:  # noqa: ANN401 - aiokafka has no types
    """None for what somebody else may have written there."""
    try:
        headers = {name: (value or b"").decode() for name, value in record.headers if is_text(name)}
        data = orjson.loads(record.value or b"")
    except ValueError:
        data = None
    if not isinstance(data, dict):
        _LOG.warning("%s-%d@%d is no warning of ours", record.topic, record.partition, record.offset)
        return None
    return Alert(record.partition, record.offset, headers, data)
