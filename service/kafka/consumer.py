"""Our membership of the consumer group: usage and feedback of the same partitions, handed out only when asked for.

It commits nothing: offsets are committed with the outputs, by each shard's publisher.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka import errors as kafka
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from service.kafka.assignor import ShardAssignor
from service.kafka.batches import BatchReader
from service.kafka.connection import client_options
from service.kafka.log import started, stopped
from service.ports import Lost, Truncated
from service.settings import KafkaSettings
from service.worker.intake import Assigned, Polled

_LOG = logging.getLogger(__name__)
_ANSWER_WITHIN_S = 2.0
_NOTHING_FLOWS_S = 0.02
# We poll only what there is room for, so a long back-pressure must not cost us our membership.
_POLL_AT_LEAST_MS = 24 * 3_600_000


class KafkaIntake:
    """See worker.Intake. `topics` have the same number of partitions; `rulebook` gives the hash of ours, for others."""

    def __init__(self, settings: KafkaSettings, topics: Sequence[str], rulebook: Callable[[], str] = str) -> None:
        self._settings = settings
        self._topics = tuple(topics)
        self._assignor = ShardAssignor(rulebook)
        self._consumer: Any = None
        self._reader: BatchReader | None = None
        self._ends: dict[TopicPartition, int] = {}

    async def start(self, assigned: Assigned) -> None:
        """Join the group. Raises: Lost."""
        settings = self._settings
        consumer = AIOKafkaConsumer(
            **client_options(settings),
            group_id=settings.group_id,
            isolation_level="read_committed",
            auto_offset_reset="none",
            enable_auto_commit=False,
            partition_assignment_strategy=(self._assignor,),  # exactly one, or members might disagree
            session_timeout_ms=settings.session_timeout_ms,
            heartbeat_interval_ms=settings.heartbeat_interval_ms,
            rebalance_timeout_ms=settings.rebalance_timeout_ms,
            max_poll_interval_ms=_POLL_AT_LEAST_MS,
            fetch_max_bytes=settings.fetch_bytes,
            max_partition_fetch_bytes=settings.fetch_partition_bytes,
            check_crcs=settings.check_crcs,
        )
        self._ends.clear()
        consumer.subscribe(topics=self._topics, listener=_Listener(consumer, self._ends, assigned))
        self._consumer = await started(consumer)
        self._reader = BatchReader(consumer, whole_batches=settings.whole_batches)

    async def resume(self, partition: int, positions: Mapping[str, int]) -> None:
        """Seek and let flow, without waiting for anything; a partition that is no longer ours is left alone."""
        if self._consumer is None:  # between two lives: the next assignment brings it back
            return
        for tp in [tp for tp in self._ends if tp.partition == partition and tp.topic not in positions]:
            self._hold_back(tp)
        for topic, position in positions.items():
            tp = TopicPartition(topic, partition)
            if tp in self._consumer.assignment():
                self._consumer.seek(tp, position)
                self._ends[tp] = position
                self._consumer.resume(tp)

    def _hold_back(self, tp: TopicPartition) -> None:
        end = self._ends.pop(tp)
        if tp in self._consumer.assignment():
            self._consumer.pause(tp)
            # What was fetched and not asked for would hold up its broker's other partitions: a seek drops it.
            self._consumer.seek(tp, end)

    async def poll(self, partitions: Collection[int], most: int) -> list[Polled]:
        """See worker.Intake."""
        tps = [tp for tp in self._ends if tp.partition in partitions]
        if not tps or self._reader is None:
            # Running, but not sought yet, or being shared out anew: the loop must go on meanwhile.
            await asyncio.sleep(_NOTHING_FLOWS_S)
            return []
        try:
            found = await self._reader.take(tps, self._settings.poll_wait_ms, most)
        except kafka.OffsetOutOfRangeError as error:
            raise await self._truncated(error) from error
        except (KafkaError, OSError) as error:
            raise Lost(f"the group's records cannot be had: {error}") from error
        polled = []
        for tp in self._flowing(tps):
            # Control records move the position on without a record.
            end = await self._consumer.position(tp)
            if found.get(tp) or end > self._ends[tp]:
                polled.append(Polled(tp.topic, tp.partition, found.get(tp, ()), end))
                self._ends[tp] = end
        return polled

    async def reachable(self) -> bool:
        """Whether the broker answers."""
        consumer = self._consumer
        if consumer is None:  # between two lives, or before the first
            return False
        with contextlib.suppress(KafkaError, OSError, TimeoutError):
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                await consumer.topics()
                return True
        return False

    async def stop(self) -> None:
        """Leave the group."""
        consumer, self._consumer, self._reader = self._consumer, None, None
        self._ends.clear()
        if consumer is not None:
            await stopped(consumer)

    def _flowing(self, tps: Iterable[TopicPartition]) -> list[TopicPartition]:
        """Those that are still ours and have not been revoked while we waited."""
        ours = self._consumer.assignment() if self._consumer is not None else ()
        return [tp for tp in tps if tp in ours and tp in self._ends]

    async def _truncated(self, error: KafkaError) -> Exception:
        (tp, asked) = next(iter(error.args[0].items()))
        try:
            beginning = (await self._consumer.beginning_offsets([tp]))[tp]
        except (KafkaError, OSError) as raised:
            return Lost(f"the beginning of {tp.topic}-{tp.partition} is not to be had: {raised}")
        return Truncated(tp.topic, tp.partition, asked, beginning)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    def __init__(self, consumer: Any, ends: dict[TopicPartition, int], assigned: Assigned) -> None:  # noqa: ANN401 - aiokafka has no types
        self._consumer = consumer
        self._ends = ends
        self._assigned = assigned

    def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """All of them, at every rebalance: whether we keep them the next assignment tells."""
        del revoked
        self._ends.clear()
        self._assigned(None)

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Hold everything back; synchronous, so that nothing is fetched before."""
        self._consumer.pause(*assigned)
        for tp in assigned:
            # Without a position, a partition makes every poll fail; `resume` seeks to the right one.
            self._consumer.seek(tp, 0)
        self._ends.clear()
        self._assigned(frozenset(tp.partition for tp in assigned))
