"""The transactional producer of one shard: all messages of a turn and its offsets, or nothing.

It refuses to guess: whatever aiokafka answers becomes one of five verdicts (done, aborted, unknown, fenced, refused).
Its checks of state are assertions, so Python must not run with -O.
"""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from service.kafka.connection import client_options
from service.ports import Aborted, Fenced, Lost, Message, Refused, Unknown
from service.settings import KafkaSettings

_LOG = logging.getLogger(__name__)
# The broker's limit is on a batch, about 1 MB by default: ours stay well below, one large message may go up to it.
_BATCH_BYTES = 512 << 10
_LOWER = "CHURN_KAFKA__TRANSACTION_TIMEOUT_MS must be at most the broker's transaction.max.timeout.ms"
_STOP_WITHIN_S = 3.0
_REFUSALS = (
    kafka.MessageSizeTooLargeError,
    kafka.RecordListTooLargeError,
    kafka.InvalidTimestampError,
    kafka.PolicyViolationError,
    kafka.TopicAuthorizationFailedError,
)


class _BatchLost(Exception):  # noqa: N818 - handed from one function to the next
    def __init__(self, message: Message, error: BaseException) -> None:
        super().__init__(str(error))
        self.message = message
        self.error = error


class KafkaPublisher:
    """See ports.Publisher; `transactional_id` must be the same wherever the shard lives, and no other shard's."""

    def __init__(self, settings: KafkaSettings, transactional_id: str) -> None:
        self._settings = settings
        self._transactional_id = transactional_id
        self._producer: Any = None
        self._spent = False

    async def start(self) -> None:
        """Fence the former owner of the id and wait until its open transaction is settled. Raises: Lost."""
        compression = self._settings.compression
        producer = AIOKafkaProducer(
            **client_options(self._settings),
            transactional_id=self._transactional_id,
            transaction_timeout_ms=self._settings.transaction_timeout_ms,
            enable_idempotence=True,
            acks="all",
            linger_ms=0,
            max_batch_size=_BATCH_BYTES,
            retry_backoff_ms=self._settings.retry_backoff_ms,
            compression_type=None if compression == "none" else compression,
        )
        try:
            await producer.start()
        except (KafkaError, OSError) as error:
            await _stop(producer)
            refused = isinstance(error, kafka.InvalidTransactionTimeout)
            remedy = f"; {_LOWER}" if refused else ""
            raise Lost(f"no transaction can be begun: {error}{remedy}") from error
        except BaseException:
            await _stop(producer)
            raise
        self._producer = producer

    async def publish(self, messages: Sequence[Message], offsets: Mapping[tuple[str, int], int]) -> None:
        """Send all in one transaction, with the group's offsets as a mirror. See ports.Publisher."""
        if self._producer is None or self._spent:
            raise Unknown("the publisher is not running")
        self._spent = True  # also where we are cancelled in the middle
        try:
            await self._producer.begin_transaction()
            await self._send(messages)
            if offsets:
                mirror = {TopicPartition(topic, partition): offset for (topic, partition), offset in offsets.items()}
                await self._producer.send_offsets_to_transaction(mirror, self._settings.group_id)
        except (KafkaError, AssertionError, _BatchLost) as error:
            raise await self._verdict(error) from error
        try:
            await self._producer.commit_transaction()
        except (KafkaError, AssertionError) as error:
            raise await self._verdict(error) from error
        self._spent = False

    async def stop(self) -> None:
        """Let go of the producer, also of one that hangs on a lost broker."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await _stop(producer)

    async def _send(self, messages: Sequence[Message]) -> None:
        """Hand over every message as batches and await them all: a commit alone would not notice a failed one."""
        by_partition: dict[tuple[str, int], list[Message]] = defaultdict(list)
        for message in messages:
            by_partition[message.topic, message.partition].append(message)
        # Partitions side by side; within one, a batch waits until the one before it is on its way.
        outcomes = await asyncio.gather(
            *(self._send_partition(*at, part) for at, part in by_partition.items()), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _send_partition(self, topic: str, partition: int, messages: Sequence[Message]) -> None:
        futures = []
        try:
            for batch, part in self._batches(messages):
                futures.append((part, await self._producer.send_batch(batch, topic, partition=partition)))
        finally:
            done = await asyncio.gather(*(future for _, future in futures), return_exceptions=True)
        for (part, _), outcome in zip(futures, done, strict=True):
            if isinstance(outcome, BaseException):
                raise _BatchLost(max(part, key=_size), outcome)

    def _batches(self, messages: Iterable[Message]) -> Iterable[tuple[Any, list[Message]]]:
        batch, part = self._producer.create_batch(), list[Message]()
        for message in messages:
            fields = {
                "timestamp": None,
                "key": message.key,
                "value": message.value,
                "headers": list(message.headers),
            }
            if batch.append(**fields) is None:
                yield batch, part
                batch, part = self._producer.create_batch(), []
                batch.append(**fields)
            part.append(message)
        if part:
            batch.close()
            yield batch, part

    async def _verdict(self, error: Exception) -> Exception:
        """What an error means for the transaction; aborts it where that is still ours to do."""
        cause = error.error if isinstance(error, _BatchLost) else error
        if (verdict := self._end(cause)) is not None:
            return verdict
        try:
            await self._producer.abort_transaction()
        except (KafkaError, AssertionError) as raised:
            return self._end(raised) or Unknown(f"{self._transactional_id} could not abort: {raised!r}")
        if not isinstance(error, _BatchLost):
            self._spent = False
            return Aborted(f"{self._transactional_id} aborted: {error!r}")
        # The lost batch has used up sequence numbers, so this producer could not send to its partition again.
        if isinstance(cause, _REFUSALS):
            return Refused(error.message, str(cause))
        return Unknown(f"{self._transactional_id} lost a batch: {cause!r}")

    def _end(self, error: BaseException) -> Exception | None:
        """The verdict where the producer is at its end, else None."""
        fatal = _fatal_cause(self._producer)
        if isinstance(error, kafka.ProducerFenced) or isinstance(fatal, kafka.ProducerFenced):
            return Fenced(f"{self._transactional_id} has a newer owner, or its transaction timed out")
        return None if fatal is None else Unknown(f"{self._transactional_id} ended in {fatal!r}")


def _size(message: Message) -> int:
    return len(message.key or b"") + len(message.value or b"")


def _fatal_cause(producer: Any) -> BaseException | None:  # noqa: ANN401 - aiokafka has no types
    """Why the producer is in its fatal state, or None; aiokafka tells that nowhere but in its transaction manager."""
    manager = producer._txn_manager  # noqa: SLF001 - see above
    if not manager.is_fatal_error():
        return None
    waiter = manager.wait_for_transaction_end()
    cause: BaseException | None = waiter.exception() if waiter is not None and waiter.done() else None
    return cause or KafkaError("fatal")


async def _stop(producer: Any) -> None:  # noqa: ANN401 - aiokafka has no types
    """Stop within a bound: the last flush of a producer waits for its broker for ever."""
    stopping = asyncio.ensure_future(producer.stop())
    await asyncio.wait([stopping], timeout=_STOP_WITHIN_S)
    if not stopping.done():
        _LOG.warning("a producer did not stop in time and is left behind")
        stopping.cancel()
        for close in (producer._sender.close(), producer.client.close()):  # noqa: SLF001 - what stop would have done
            with contextlib.suppress(TimeoutError, KafkaError):
                await asyncio.wait_for(close, _STOP_WITHIN_S)
    elif stopping.exception() is not None:
        _LOG.debug("a producer stopped with %r", stopping.exception())
