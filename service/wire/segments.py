"""Changes of segment to the messages that tell of them, as binary CloudEvents; the same change gives the same bytes."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

import msgspec
import polars as pl
from msgspec import Meta, Struct

from service.core.turn import SEGMENT_CHANGES
from service.wire.messages import SOURCE, Outlet
from service.wire.records import Message

SEGMENT_SCHEMA = "urn:churn-warning:schema:segment:1"
CHANGED = "churn.segment.changed"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SEGMENTS = "1 stable; 21, 22, 23 up in spend, voice, data; 3 declining; 41, 42, 43 warned; 5 lost; 0 not eligible"
_encode = msgspec.json.Encoder().encode


def _told(description: str) -> Meta:
    return Meta(description=description)


class SegmentChanged(Struct, frozen=True):
    """A subscriber is in another segment than at the close before."""

    subscriber_id: Annotated[str, _told("The account's stable id, also the record's key")]
    day: Annotated[date, _told("Local day at whose close the segment changed")]
    segment: Annotated[int, _told(f"The segment from now on: {_SEGMENTS}")]
    before: Annotated[int, _told("The segment before, by the same codes")]
    before_since: Annotated[date | None, _told("Day from which on it was that; null: since first known")]
    market: Annotated[str | None, _told("The subscriber's market")]
    codes: Annotated[
        list[Annotated[int, Meta(ge=100_000, le=999_999)]],
        _told(
            "Six digits of each dimension with each measure: tier (3), measure (2), trend (1: 1 stable, 2 up, "
            "3 declining, 4 warned, 5 lost), as far as they are known; none of who is not eligible"
        ),
    ]
    as_of: Annotated[datetime, _told("The end of the day")]


def segment_messages(changes: pl.DataFrame, outlet: Outlet) -> list[Message]:
    """A message for each change (columns of SEGMENT_CHANGES), in their order."""
    return [_message(line, outlet) for line in changes.select(list(SEGMENT_CHANGES)).iter_rows(named=True)]


def _message(line: dict[str, Any], outlet: Outlet) -> Message:
    as_of = _EPOCH + timedelta(microseconds=line.pop("changed_us"))
    told = {
        "ce_specversion": "1.0",
        "ce_id": f"{line['subscriber_id']}.segment.{line['day']}",
        "ce_source": SOURCE,
        "ce_type": CHANGED,
        "ce_subject": line["subscriber_id"],
        "ce_time": as_of.isoformat().replace("+00:00", "Z"),
        "ce_dataschema": SEGMENT_SCHEMA,
        "content-type": "application/json",
    }
    headers = tuple((name, text.encode()) for name, text in told.items())
    value = _encode(SegmentChanged(**line, as_of=as_of))
    return Message(outlet.topics.segments, outlet.partition, line["subscriber_id"].encode(), value, headers)
