"""A record as Kafka gave it, and a message to be sent: the bytes on both sides of the wire."""

from dataclasses import dataclass
from typing import NamedTuple


class Record(NamedTuple):
    """A record as Kafka gave it; a tuple, because millions of them are made and taken apart again by columns."""

    topic: str
    partition: int
    offset: int
    timestamp_us: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """A record to be sent."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
