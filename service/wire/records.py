"""A record as Kafka gave it, many of them by columns, and a message to be sent: the bytes on both sides of the wire."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from typing import NamedTuple, overload

import numpy as np

Headers = tuple[tuple[str, bytes], ...]


def is_text(name: str) -> bool:
    """Whether a header's name is UTF-8: what is none stands in it as lone surrogates ("surrogateescape")."""
    return name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)


class Record(NamedTuple):
    """A record as Kafka gave it."""

    topic: str
    partition: int
    offset: int
    timestamp_us: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Records(Sequence[Record]):
    """Records of one topic in offset order, a column each: millions pass without an object for any of them.

    `partitions`, `offsets` and `times_us` are int64; `headers` is None where no record has any.
    """

    topic: str
    partitions: np.ndarray
    offsets: np.ndarray
    times_us: np.ndarray
    keys: list[bytes | None]
    values: list[bytes | None]
    headers: list[Headers] | None = None

    @classmethod
    def of(cls, records: Sequence[Record]) -> "Records":
        """The columns of records that were made one by one."""
        if isinstance(records, Records):
            return records
        count = len(records)
        headers = [record.headers for record in records]
        return cls(
            records[0].topic if records else "",
            np.fromiter(map(attrgetter("partition"), records), np.int64, count),
            np.fromiter(map(attrgetter("offset"), records), np.int64, count),
            np.fromiter(map(attrgetter("timestamp_us"), records), np.int64, count),
            [record.key for record in records],
            [record.value for record in records],
            headers if any(headers) else None,
        )

    @classmethod
    def joined(cls, parts: Sequence["Records"]) -> "Records":
        """Parts of one topic after one another."""
        if len(parts) == 1:
            return parts[0]
        filled = [part for part in parts if len(part)]
        if not filled:
            return cls.of(())
        headers = None
        if any(part.headers for part in filled):
            headers = [one for part in filled for one in part.headers or [()] * len(part)]
        return cls(
            filled[0].topic,
            np.concatenate([part.partitions for part in filled]),
            np.concatenate([part.offsets for part in filled]),
            np.concatenate([part.times_us for part in filled]),
            list(chain.from_iterable(part.keys for part in filled)),
            list(chain.from_iterable(part.values for part in filled)),
            headers,
        )

    def since(self, offset: int) -> "Records":
        """Those from an offset on."""
        at = int(np.searchsorted(self.offsets, offset))
        return self[at:] if at else self

    def before(self, offset: int) -> "Records":
        """Those before an offset."""
        return self[: int(np.searchsorted(self.offsets, offset))]

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, at: int) -> Record: ...
    @overload
    def __getitem__(self, at: slice) -> "Records": ...
    def __getitem__(self, at: int | slice) -> "Record | Records":
        if isinstance(at, slice):
            columns = (self.partitions[at], self.offsets[at], self.times_us[at], self.keys[at], self.values[at])
            return Records(self.topic, *columns, None if self.headers is None else self.headers[at])
        numbers = int(self.partitions[at]), int(self.offsets[at]), int(self.times_us[at])
        return Record(self.topic, *numbers, self.keys[at], self.values[at], self.headers[at] if self.headers else ())

    def __iter__(self) -> Iterator[Record]:
        return map(self.__getitem__, range(len(self)))


@dataclass(frozen=True, slots=True)
class Message:
    """A record to be sent."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
