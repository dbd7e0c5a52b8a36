"""A record that cannot be read, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from service.wire.records import Record


class Fault(StrEnum):
    """What is wrong with a record, in one word for a counter."""

    MALFORMED = "malformed"  # no JSON object with a type
    INVALID = "invalid"  # a field is missing or of another type, out of bounds, no time or no date
    UNMAPPED = "unmapped"  # the mapping cannot make an event of it
    NO_KEY = "no_key"
    WRONG_KEY = "wrong_key"  # the key is not the subscriber
    WRONG_PARTITION = "wrong_partition"  # the partitioner would have chosen another
    FUTURE = "future"  # dated beyond the broker's time


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that does not count."""

    record: Record
    fault: Fault
    reason: str


class UnreadableError(ValueError):
    """A value that cannot be read; `fault` and the sentence say why."""

    def __init__(self, fault: Fault, reason: str) -> None:
        super().__init__(reason)
        self.fault = fault


# What the JSON reader may raise for some bytes: bad JSON, bad text (both ValueErrors), nesting without end.
UNREADABLE = (ValueError, RecursionError)


class _Head(msgspec.Struct):
    type: str


_HEAD = msgspec.json.Decoder(_Head)


def unknown_type(value: bytes | None, known: Mapping[str, object]) -> str | None:
    """The type of a JSON object whose type is not among `known`, else None."""
    try:
        head = _HEAD.decode(value or b"")
    except UNREADABLE:
        return None
    return None if head.type in known else head.type


def fault_of(error: Exception) -> tuple[Fault, str]:
    """What one of UNREADABLE says of a value."""
    if isinstance(error, UnreadableError):
        return error.fault, str(error)
    if isinstance(error, RecursionError):
        return Fault.MALFORMED, "nested too deeply"
    if isinstance(error, UnicodeError):
        return Fault.MALFORMED, "text is not UTF-8"
    if isinstance(error, msgspec.ValidationError):
        return Fault.INVALID, str(error)
    return Fault.MALFORMED, str(error)
