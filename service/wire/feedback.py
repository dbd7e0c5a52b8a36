"""The records of churn.feedback: what agents and channels report and where a feed ends, read and written."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Literal

import msgspec
import numpy as np
import polars as pl
from msgspec import Meta, Struct

from service.wire.cloudevents import unwrap
from service.wire.columns import dates, instants
from service.wire.decode import Intake
from service.wire.events import Date, Id, Instant
from service.wire.partitioning import partition_of
from service.wire.records import Message, Record
from service.wire.rejects import UNREADABLE, Fault, Reject, UnreadableError, fault_of, unknown_type

FEEDBACK = {
    "offset": pl.Int64(),
    "id": pl.String(),
    "type": pl.String(),
    "subscriber_id": pl.String(),
    "episode_id": pl.String(),
    "by": pl.String(),
    "note": pl.String(),
    "channel": pl.String(),
    "outcome": pl.String(),
    "occurred_us": pl.Int64(),
    "through": pl.Date(),
    "at_offset": pl.Int64(),
    "what": pl.String(),
    "rule": pl.String(),
}

_MOST_NOTE = 2000
_TYPE_LENGTH = 64


def _told(description: str) -> Meta:
    return Meta(description=description)


class Report(Struct, frozen=True, gc=False, tag_field="type", omit_defaults=True):
    """What every record of churn.feedback has."""

    id: Annotated[Id, _told("Names the report")]


class Acknowledged(Report, frozen=True, gc=False, tag="warning.acknowledged"):
    """Somebody took a warning over."""

    subscriber_id: Annotated[Id, _told("The account's stable id, also the record's key")]
    warning_id: Annotated[Id, _told("The warning")]
    by: Annotated[Id, _told("Who")]
    occurred_at: Annotated[Instant, _told("When: RFC 3339 with an offset")]
    note: Annotated[Annotated[str, Meta(max_length=_MOST_NOTE)] | None, _told("What they want to say")] = None


class Contacted(Report, frozen=True, gc=False, tag="contact.reported"):
    """What came of a contact."""

    subscriber_id: Annotated[Id, _told("The account's stable id, also the record's key")]
    channel: Annotated[Literal["call", "sms", "manager"], _told("How the subscriber was contacted")]
    outcome: Annotated[
        Literal["reached", "refused", "accepted", "complained"], _told("What the subscriber said, if anything")
    ]
    occurred_at: Annotated[Instant, _told("When: RFC 3339 with an offset")]
    warning_id: Annotated[Id | None, _told("The warning it was about")] = None


class FeedClosed(Report, frozen=True, gc=False, tag="feed.closed"):
    """The feed of a partition is complete up to a day; no key, sent to each partition."""

    through: Annotated[Date, _told("The last local day that is complete")]
    offset: Annotated[
        int, Meta(ge=0, le=2**63 - 1, description="Close the days once the shard stands at this offset of usage")
    ]
    occurred_at: Annotated[Instant | None, _told("When it was written")] = None


class Released(Report, frozen=True, gc=False, tag="warnings.released"):
    """What was kept back of warnings may be published; no key, sent to each partition."""

    what: Annotated[
        Literal["standing", "breaker"],
        _told("What was true on a rulebook's first day, or what was too much for one close"),
    ]
    raised_through: Annotated[Date, _told("The last local day of those that are released")]
    by: Annotated[Id, _told("Who")]
    occurred_at: Annotated[Instant, _told("When: RFC 3339 with an offset")]
    rule: Annotated[Id | None, _told("Of this rule only")] = None
    note: Annotated[Annotated[str, Meta(max_length=_MOST_NOTE)] | None, _told("What they want to say")] = None


AnyReport = Acknowledged | Contacted | FeedClosed | Released
STRUCTS: dict[str, type[Report]] = {str(struct.__struct_config__.tag): struct for struct in Report.__subclasses__()}
_decode = msgspec.json.Decoder(AnyReport).decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class DecodedFeedback:
    """Frame of FEEDBACK in offset order, what was rejected, and what is of no known type."""

    frame: pl.DataFrame
    rejects: list[Reject]
    ignored: Counter[str]


def decode_feedback(records: Sequence[Record], rules: Intake) -> DecodedFeedback:
    """Decode records of churn.feedback of one shard, in offset order; no bytes make it raise.

    `rules.expand` is not used: feedback has no mapping.
    """
    reports: list[tuple[Record, AnyReport]] = []
    rejects: dict[int, Reject] = {}
    ignored: Counter[str] = Counter()
    for record in records:
        try:
            reports.append((record, _read(record, rules)))
        except UNREADABLE as error:
            stranger = _stranger(record)
            if stranger is None:
                rejects[record.offset] = Reject(record, *fault_of(error))
            else:
                ignored[stranger[:_TYPE_LENGTH]] += 1
    frame = _frame(reports, rules, rejects)
    return DecodedFeedback(frame, [rejects[offset] for offset in sorted(rejects)], ignored)


def acknowledgement(report: Acknowledged, topic: str, partition: int) -> Message:
    """The message that acknowledges a warning."""
    return Message(topic, partition, report.subscriber_id.encode(), _encode(report))


def feed_closed(through: date, offset: int, topic: str, partition: int) -> Message:
    """The message that ends a feed for one partition; see FeedClosed."""
    report = FeedClosed(id=f"feed-{through}-{partition}-{offset}", through=through.isoformat(), offset=offset)
    return Message(topic, partition, None, _encode(report))


def released(report: Released, topic: str, partition: int) -> Message:
    """The message that releases warnings of one partition."""
    return Message(topic, partition, None, _encode(report))


def instant_text(time_us: int) -> str:
    """Microseconds UTC as RFC 3339, as `occurred_at` wants it."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)).isoformat().replace("+00:00", "Z")


def _read(record: Record, rules: Intake) -> AnyReport:
    report: AnyReport = _decode(unwrap(record))
    if isinstance(report, FeedClosed | Released):
        return report
    if record.key is None:
        raise UnreadableError(Fault.NO_KEY, "the record has no key")
    if record.key != report.subscriber_id.encode():
        raise UnreadableError(Fault.WRONG_KEY, "the key is not the subscriber_id")
    if partition_of(record.key, rules.partitions, rules.partitioner) not in (record.partition, None):
        reason = f"{rules.partitioner} over {rules.partitions} partitions puts the key elsewhere"
        raise UnreadableError(Fault.WRONG_PARTITION, reason)
    return report


def _stranger(record: Record) -> str | None:
    try:
        return unknown_type(unwrap(record), STRUCTS)
    except UNREADABLE:
        return None


def _frame(reports: Sequence[tuple[Record, AnyReport]], rules: Intake, rejects: dict[int, Reject]) -> pl.DataFrame:
    """Columns of the reports; those with a bad time or date go to `rejects`."""
    times, bad_time = instants([report.occurred_at for _, report in reports])
    last_days = [getattr(report, "through", None) or getattr(report, "raised_through", None) for _, report in reports]
    through, bad_date = dates("through", last_days)
    stamps = pl.Series([record.timestamp_us for record, _ in reports], dtype=pl.Int64)
    early = ((times > stamps + rules.tolerance_us) & (stamps >= 0)).fill_null(value=False)
    future = f"dated more than {rules.tolerance_us // 1_000_000} s after the broker's time"
    # Local days begin up to 14 hours before those of UTC.
    tomorrow = pl.from_epoch(stamps + rules.tolerance_us, "us").dt.date().dt.offset_by("1d")
    unlived = (through > tomorrow) & (stamps >= 0)
    closes = (unlived.fill_null(value=False), "through is later than the day after the broker's time")
    faults = (
        (Fault.INVALID, bad_time),
        (Fault.INVALID, bad_date),
        (Fault.FUTURE, (early, future)),
        (Fault.FUTURE, closes),
    )
    for fault, (flags, reason) in faults:
        for at in np.flatnonzero(flags.to_numpy()).tolist():
            record = reports[at][0]
            rejects.setdefault(record.offset, Reject(record, fault, reason))
    texts = {"id": "id", "subscriber_id": "subscriber_id", "episode_id": "warning_id"}
    texts |= {name: name for name in ("by", "note", "channel", "outcome", "what", "rule")}
    columns = {
        **{name: [getattr(report, source, None) for _, report in reports] for name, source in texts.items()},
        "offset": [record.offset for record, _ in reports],
        "type": [str(report.__struct_config__.tag) for _, report in reports],
        "occurred_us": times,
        "through": through,
        "at_offset": [getattr(report, "offset", None) for _, report in reports],
    }
    frame = pl.DataFrame(columns, schema_overrides=FEEDBACK, strict=False).select(list(FEEDBACK))
    return frame.filter(~pl.col("offset").is_in(list(rejects)))
