"""A turn's transitions to the messages that tell the world: warnings and outbound orders, as binary CloudEvents.

Nothing here depends on the wall clock: the same turn always gives the same bytes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import polars as pl

from service.core.turn import TRANSITIONS
from service.wire.records import Message
from service.wire.topics import Topics
from service.wire.warnings import Case, Ordered, Warned, Window

SOURCE = "/churn-warning"
WARNING_SCHEMA = "urn:churn-warning:schema:warning:1"
ORDER_SCHEMA = "urn:churn-warning:schema:order:1"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_encode = msgspec.json.Encoder().encode
_object = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True, slots=True)
class Outlet:
    """Where a shard's messages go, and the currency of their amounts."""

    topics: Topics
    partition: int
    currency: str = "CNY"


def turn_messages(transitions: pl.DataFrame, outlet: Outlet) -> list[Message]:
    """Messages of a turn's transitions (columns of TRANSITIONS), in their order.

    Each gives a warning, and if it was raised or became graver just now an order for each channel that is `ordered`.
    What is suppressed is kept and not published; restricted ones are published and never ordered.
    """
    published = transitions.filter(pl.col("suppressed_by").is_null())
    return [
        message for row in published.select(list(TRANSITIONS)).iter_rows(named=True) for message in _told(row, outlet)
    ]


def _told(row: Mapping[str, Any], outlet: Outlet) -> Iterator[Message]:
    orders: dict[str, str] = _object(row["orders"] or "{}")
    shared = _shared(row, outlet.currency)
    # An aggregate of fields of one struct: the struct checks nothing when made, the tests check all of it.
    warned = Warned(**shared, **_state(row), orders=orders)  # type: ignore[arg-type]  # channels are texts in the core
    # An episode is raised once; all else may befall it again.
    again = "" if row["transition"] == "raised" else f".{row['changed_us']}"
    suffix = f"{row['transition']}{again}"
    yield _cloud_event(warned, row, f"churn.warning.{row['transition']}", suffix, outlet)
    if row["transition"] not in ("raised", "escalated") or row["kind"] == "restricted":
        return
    for channel, said in orders.items():
        if said == "ordered":
            order_id = f"{row['episode_id']}.{channel}{again}"
            ordered = Ordered(**shared, order_id=order_id, channel=channel)  # type: ignore[arg-type]  # the same
            yield _cloud_event(ordered, row, f"churn.order.{channel}", f"{channel}{again}", outlet)


def _shared(row: Mapping[str, Any], currency: str) -> dict[str, Any]:
    numbers: dict[str, Any] = _object(row["numbers"] or "{}")
    copied = ("subscriber_id", "rule", "rule_version", "kind", "severity", "raised_on", "act_by", "money_at_risk_minor")
    return {
        **{name: row[name] for name in (*copied, "market", "area", "manager")},
        "warning_id": row["episode_id"],
        "raised_at": _instant(row["raised_us"]),
        "numbers": numbers,
        "baseline": _baseline(row, numbers),
        "window": _window(row),
        "currency": currency,
        "consent": _object(row["consent"] or "{}"),
        "why": _object(row["why"] or "{}"),
    }


def _state(row: Mapping[str, Any]) -> dict[str, Any]:
    copied = ("transition", "state", "outcome", "recovering_on", "resolved_on", "snoozed_until", "acknowledged_by")
    return {
        **{name: row[name] for name in copied},
        "changed_at": _instant(row["changed_us"]),
        "acknowledged_at": _instant(row["acknowledged_us"]),
    }


def _baseline(row: Mapping[str, Any], numbers: Mapping[str, Any]) -> float | int | None:
    """The baseline of the rule's own window, or the only baseline among its numbers (a bill has one)."""
    own = f"{row['measure']}_{row['window_days']}d_baseline"
    if own in numbers:
        found: float | int | None = numbers[own]
        return found
    others = [value for name, value in numbers.items() if name.endswith("_baseline")]
    return others[0] if len(others) == 1 else None


def _window(row: Mapping[str, Any]) -> Window | None:
    """The closed days up to the one on which it was raised."""
    measure, days, last = row["measure"], row["window_days"], row["raised_on"]
    if measure is None or not days:
        return None
    first: date = last - timedelta(days=days - 1)
    return Window(measure=measure, days=days, first=first, last=last)


def _instant(time_us: int | None) -> datetime | None:
    return None if time_us is None else _EPOCH + timedelta(microseconds=time_us)


def _cloud_event(data: Case, row: Mapping[str, Any], event_type: str, suffix: str, outlet: Outlet) -> Message:
    is_order = isinstance(data, Ordered)
    topic = outlet.topics.outbound(data.channel) if isinstance(data, Ordered) else outlet.topics.warnings
    told = {
        "ce_specversion": "1.0",
        "ce_id": f"{row['episode_id']}.{suffix}",
        "ce_source": SOURCE,
        "ce_type": event_type,
        "ce_subject": row["subscriber_id"],
        "ce_time": (_EPOCH + timedelta(microseconds=row["changed_us"])).isoformat().replace("+00:00", "Z"),
        "ce_dataschema": ORDER_SCHEMA if is_order else WARNING_SCHEMA,
        "content-type": "application/json",
    }
    headers = tuple((name, text.encode()) for name, text in told.items())
    return Message(topic, outlet.partition, row["subscriber_id"].encode(), _encode(data), headers)
