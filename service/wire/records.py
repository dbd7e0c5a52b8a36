"""A record as Kafka gave it, and a message to be sent: the bytes on both sides of the wire."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Record:
    """A record as Kafka gave it."""

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
