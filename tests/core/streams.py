"""Streams of events for tests of the core, and a plain second computation of what must come out."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from service.core.events import COMMON, FIELDS, Batch


@dataclass(frozen=True)
class Event:
    """One event as a person would write it down."""

    id: str
    subscriber: str
    type: str
    at: datetime
    fields: dict[str, Any] = field(default_factory=dict)


def batch_of(events: Sequence[Event], first_offset: int = 0) -> Batch:
    """The columnar form of events, offsets from `first_offset` on."""
    common = pl.DataFrame(
        {
            "offset": range(first_offset, first_offset + len(events)),
            "id": [e.id for e in events],
            "subscriber_id": [e.subscriber for e in events],
            "type": [e.type for e in events],
            "occurred_us": [micros(e.at) for e in events],
        },
        schema=COMMON,
    )
    kinds: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for at, event in enumerate(events):
        kinds[event.type].append({"at": at, **event.fields})
    fields = {
        kind: pl.DataFrame(lines, schema={"at": pl.UInt32(), **FIELDS[kind]}, orient="row")
        for kind, lines in kinds.items()
    }
    return Batch(common, fields, first_offset + len(events))


def cut(events: Sequence[Event], sizes: Iterable[int]) -> Iterator[Batch]:
    """The same events as batches of the given sizes, the rest as one."""
    start = 0
    for size in sizes:
        if start >= len(events):
            return
        yield batch_of(events[start : start + size], start)
        start += size
    if start < len(events):
        yield batch_of(events[start:], start)


def micros(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def day_of(at: datetime, zone: str) -> date:
    return at.astimezone(ZoneInfo(zone)).date()


def used(event: Event) -> dict[str, int]:
    """What an event adds to each measure."""
    f = event.fields
    out = f.get("direction") in {None, "out"}
    if event.type == "usage.voice":
        minutes = f.get("billed_minutes")
        minutes = -(-f["seconds"] // 60) if minutes is None else minutes
        return {"voice": minutes, "voice_seconds": f["seconds"], "outgoing": 1} if out else {"voice_in": minutes}
    if event.type == "usage.sms":
        return {"sms": f["count"], "outgoing": 1} if out else {}
    if event.type == "usage.data":
        return {"data": f["bytes"], "outgoing": 1}
    if event.type == "charge":
        return {"spend": f["amount_minor"]} if f["kind"] in {"usage", "refund"} else {}
    return {"recharge": f["amount_minor"]} if event.type == "recharge" else {}


def plain_windows(
    events: Iterable[Event], as_of: date, zone: str, lengths: Sequence[int]
) -> dict[tuple[str, str], int]:
    """(subscriber, `<measure>_<w>d` or `<measure>_<w>d_before`) -> sum, each id counted once per subscriber and day."""
    sums: dict[tuple[str, str], int] = defaultdict(int)
    seen = set()
    for event in events:
        day = day_of(event.at, zone)
        if (event.subscriber, event.id, day) in seen:
            continue
        seen.add((event.subscriber, event.id, day))
        age = (as_of - day).days
        for measure, amount in used(event).items():
            for w in lengths:
                if 0 <= age < w:
                    sums[event.subscriber, f"{measure}_{w}d"] += amount
                elif w <= age < 3 * w:
                    sums[event.subscriber, f"{measure}_{w}d_before"] += amount
    return {key: amount for key, amount in sums.items() if amount}
