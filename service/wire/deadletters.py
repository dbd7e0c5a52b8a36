"""Records that do not count, handed on as they came: the unreadable with their reason, the late ones with theirs."""

from collections.abc import Sequence

import polars as pl

from service.wire.records import Message, Record, is_text
from service.wire.rejects import Fault, Reject

# The names that Kafka Connect gives these headers, so that its tools can read them.
PREFIX = "__connect.errors."
CUT = ("churn.value.cut", b"the broker takes no record of this size")  # last of a letter whose value was left out
LATE_REASON = "churn.late.reason"
_LATE_FROM = ("churn.late.topic", "churn.late.partition", "churn.late.offset")
EXCEPTIONS = {
    Fault.MALFORMED: "MalformedValue",
    Fault.INVALID: "InvalidEvent",
    Fault.UNMAPPED: "UnmappedRecord",
    Fault.NO_KEY: "MissingKey",
    Fault.WRONG_KEY: "KeyMismatch",
    Fault.WRONG_PARTITION: "WrongPartition",
    Fault.FUTURE: "DatedInTheFuture",
}
_STAGE = "VALUE_CONVERTER"


def dead_letter(reject: Reject, topic: str) -> Message:
    """The message for `topic`: original bytes and headers, and where the record stood and what is wrong with it."""
    record = reject.record
    told = {
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
        "stage": _STAGE,
        "exception.class.name": EXCEPTIONS[reject.fault],
        "exception.message": reject.reason,
    }
    # A letter that failed again says only why it failed last; a name that is no text cannot be sent.
    kept = tuple(header for header in record.headers if is_text(header[0]) and not header[0].startswith(PREFIX))
    added = tuple((PREFIX + name, text.encode(errors="replace")) for name, text in told.items())
    return Message(topic, record.partition, record.key, record.value, kept + added)


def late_messages(late: pl.DataFrame, records: Sequence[Record], topic: str) -> list[Message]:
    """One message per row of a turn's `late` (columns offset, reason): the record as it came, and why it is late.

    Raises:
        KeyError: an offset that is not among `records`.
    """
    if late.is_empty():
        return []
    by_offset = {record.offset: record for record in records}
    return [_late(by_offset[offset], reason, topic) for offset, reason in late.select("offset", "reason").iter_rows()]


def _late(record: Record, reason: str, topic: str) -> Message:
    stood = (record.topic, str(record.partition), str(record.offset))
    added = tuple((name, text.encode()) for name, text in zip(_LATE_FROM, stood, strict=True))
    return Message(
        topic, record.partition, record.key, record.value, (*record.headers, *added, (LATE_REASON, reason.encode()))
    )
