# ruff: noqa: SLF001 - aiokafka has no public way to its batches: that is what TESTED is for
"""Reading through aiokafka a batch at a time: the records that `getmany` gives, without an object for each.

aiokafka unpacks what it fetched through an iterator; here that iterator hands out columns of many records instead.
It reaches into the client, so it is used with versions it was tested with, and plain `getmany` with any other.
"""

import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any, Protocol

import aiokafka
import numpy as np
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult
from aiokafka.errors import CorruptRecordException
from aiokafka.structs import TopicPartition

from service.wire.records import Headers, Records

_LOG = logging.getLogger(__name__)
TESTED = ("0.14.0",)
_PIECE = 5_000  # records handed out together, if there are so many
_TOGETHER = 512  # records whose fields are taken out of them together, while they lie in the processor's cache
_OFFSET, _TIME_MS, _KEY, _VALUE, _HEADERS = map(attrgetter, ("offset", "timestamp", "key", "value", "headers"))


# What of aiokafka is relied upon, as its source of TESTED has it.


class _Record(Protocol):
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class _Batch(Iterable[_Record], Protocol):
    base_offset: int
    next_offset: int
    producer_id: int | None
    is_control_batch: bool
    is_transactional: bool

    def validate_crc(self) -> bool: ...


class _Batches(Protocol):
    def has_next(self) -> bool: ...
    def next_batch(self) -> _Batch: ...


class _Fetched(Protocol):
    _tp: TopicPartition
    _records: _Batches
    _records_iterator: Iterator[Any]
    _check_crcs: bool
    _isolation_level: int
    _aborted_producers: set[int]
    next_fetch_offset: int

    def _consume_aborted_up_to(self, offset: int) -> None: ...
    def _contains_abort_marker(self, batch: _Batch) -> bool: ...


class _Fetcher(Protocol):
    _records: Mapping[TopicPartition, Any]  # results of fetches, or errors
    _proc_fetch_request: Callable[..., Awaitable[bool]]


class _Consumer(Protocol):
    _fetcher: _Fetcher

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int, max_records: int
    ) -> Mapping[TopicPartition, Sequence[Any]]: ...


class BatchReader:
    """Reads a started consumer; whether by `whole_batches` or record by record makes no difference but in time."""

    def __init__(self, consumer: _Consumer, *, whole_batches: bool) -> None:
        self._consumer = consumer
        self.by_batch = whole_batches and _is_tested()
        if self.by_batch:
            _hand_out_columns(consumer._fetcher)

    async def take(
        self, partitions: Collection[TopicPartition], wait_ms: int, most: int
    ) -> dict[TopicPartition, Records]:
        """As `getmany`: records of these partitions, about so many at most; waits a little where there are none.

        Raises: what `getmany` raises.
        """
        pieces = max(1, most // _PIECE) if self.by_batch else most
        found = await self._consumer.getmany(*partitions, timeout_ms=wait_ms, max_records=pieces)
        return {tp: Records.joined(many) if self.by_batch else _columns(tp, many) for tp, many in found.items()}


def _is_tested() -> bool:
    if aiokafka.__version__ in TESTED:
        return True
    _LOG.warning("records are read one by one: whole batches are not tested with aiokafka %s", aiokafka.__version__)
    return False


def _hand_out_columns(fetcher: _Fetcher) -> None:
    """Exchange the iterator of every fetch before anybody has begun to read it."""
    fetch = fetcher._proc_fetch_request

    async def fetch_columns(*request: object) -> bool:
        arrived = await fetch(*request)
        # Nobody has run since the results were put there: a coroutine that returns does not pause.
        for result in fetcher._records.values():
            fetched = result._partition_records if type(result) is FetchResult else None
            if fetched is not None and fetched._records_iterator.__name__ != _pieces.__name__:
                fetched._records_iterator = _pieces(fetched)
        return arrived

    fetcher._proc_fetch_request = fetch_columns


def _pieces(fetched: _Fetched) -> Iterator[Records]:
    """What was fetched, in pieces; the position moves on with each, and at last over what holds no records."""
    start = end = fetched.next_fetch_offset
    held: list[Records] = []
    for end, batch in _batches(fetched):
        many = list(batch)
        held += [_columns(fetched._tp, many[at : at + _TOGETHER]) for at in range(0, len(many), _TOGETHER)]
        if sum(map(len, held)) >= _PIECE:
            fetched.next_fetch_offset = end
            yield Records.joined(held).since(start)
            held = []
    fetched.next_fetch_offset = end
    # A fetch begins with the whole batch in which the position lies.
    if held and len(records := Records.joined(held).since(start)):
        yield records


def _batches(fetched: _Fetched) -> Iterator[tuple[int, Iterable[_Record]]]:
    """The position after each batch, and its records: none of control batches and of what was aborted.

    The same as PartitionRecords._unpack_records does, but for the unpacking of records.
    """
    while fetched._records.has_next():
        batch = fetched._records.next_batch()
        if fetched._check_crcs and not batch.validate_crc():
            raise CorruptRecordException(f"Invalid CRC - {fetched._tp}")
        if fetched._isolation_level == READ_COMMITTED and batch.producer_id is not None:
            fetched._consume_aborted_up_to(batch.base_offset)
            if batch.is_control_batch and fetched._contains_abort_marker(batch):
                fetched._aborted_producers.discard(batch.producer_id)
            if batch.is_transactional and batch.producer_id in fetched._aborted_producers:
                yield batch.next_offset, ()
                continue
        yield batch.next_offset, () if batch.is_control_batch else batch


def _columns(tp: TopicPartition, many: Sequence[_Record]) -> Records:
    """Columns of aiokafka's records, of either kind."""
    count = len(many)
    headers: list[Headers] | None = list(map(tuple, map(_HEADERS, many))) if any(map(_HEADERS, many)) else None
    return Records(
        tp.topic,
        np.full(count, tp.partition, np.int64),
        np.fromiter(map(_OFFSET, many), np.int64, count),
        np.fromiter(map(_TIME_MS, many), np.int64, count) * 1000,
        list(map(_KEY, many)),
        list(map(_VALUE, many)),
        headers,
    )
