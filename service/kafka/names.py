# ruff: noqa: SLF001 - the bytes of a batch are to be had only from within the client
"""Header names that are not UTF-8: any producer may write them, and by itself aiokafka reads no further than there.

Their bytes are kept as lone surrogates ("surrogateescape"); `wire` rejects a record with such a header.
"""

from collections.abc import Iterable, Iterator

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy, _DefaultRecordPy
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import decode_varint

_LENGTH = slice(8, 12)  # of a batch from here on
_FORMAT = 16  # where its number stands in every format
_V2 = 2  # the first format with headers


def allow_any_names() -> None:
    """Let every consumer of this process read on over such names."""
    fetcher.MemoryRecords = _Fetched


class _Fetched:
    """As MemoryRecords: the batches of one fetch, which are read again from their bytes where they must be."""

    def __init__(self, data: bytes) -> None:
        self._left = memoryview(data)
        self._records = MemoryRecords(data)
        self.has_next = self._records.has_next
        self.size_in_bytes = self._records.size_in_bytes

    def next_batch(self) -> object:
        size = _LENGTH.stop + int.from_bytes(self._left[_LENGTH], "big")
        data, self._left = self._left[:size], self._left[size:]
        batch = self._records.next_batch()
        # Control batches have no headers, and their marker is asked for by `next`.
        return batch if data[_FORMAT] < _V2 or batch.is_control_batch else _Batch(batch, data)


class _Batch:
    """As a batch of aiokafka, and its records whatever their headers are called."""

    def __init__(self, batch: Iterable[object], data: memoryview) -> None:
        self._batch = batch
        self._data = data

    def __getattr__(self, name: str) -> object:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[object]:
        try:
            return iter(list(self._batch))
        except UnicodeDecodeError:
            return _spelled_out(bytearray(self._data))


def _spelled_out(whole: bytearray) -> Iterator[object]:
    """The records of a batch, read field by field."""
    batch = _DefaultRecordBatchPy(whole)
    batch._maybe_uncompress()
    data, at = batch._buffer, batch._pos
    for _ in range(batch._num_records):
        _, at = decode_varint(data, at)  # length
        _, at = decode_varint(data, at)  # attributes, of which there are none
        later, at = decode_varint(data, at)
        further, at = decode_varint(data, at)
        key, at = _bytes(data, at)
        value, at = _bytes(data, at)
        count, at = decode_varint(data, at)
        headers = []
        for _ in range(count):
            name, at = _bytes(data, at)
            content, at = _bytes(data, at)
            headers.append(((name or b"").decode(errors="surrogateescape"), content))
        appended = batch.timestamp_type == batch.LOG_APPEND_TIME
        time_ms = batch.max_timestamp if appended else batch.first_timestamp + later
        yield _DefaultRecordPy(batch.base_offset + further, time_ms, batch.timestamp_type, key, value, headers)


def _bytes(data: bytearray, at: int) -> tuple[bytes | None, int]:
    """A field with its length before it, and where the next begins; the length of null is negative."""
    length, at = decode_varint(data, at)
    return (None, at) if length < 0 else (bytes(data[at : at + length]), at + length)
