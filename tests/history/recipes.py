"""The replay recipes of the two real files once more, in plain Python and by hand: what mappings must tell."""

import calendar
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

NEVER = {1276, 1307, 1338}

# (occurred_at, subscriber_id, type, other fields)
Told = tuple[str, str, str, tuple[tuple[str, Any], ...]]


def told(day: date, hour: int, who: Any, event_type: str, /, **fields: Any) -> Told:
    return f"{day}T{hour:02d}:00:00Z", str(who), event_type, tuple(sorted(fields.items()))


def half_even(number: float, factor: int) -> int:
    # The float is what the file says; its shortest decimal is what was meant.
    return round(Fraction(repr(number)) * factor)


def shares(total: int, first: date, last: date) -> Iterator[tuple[date, int]]:
    """Equal whole shares a day, the remainder on the last day; days with nothing are not told."""
    days = max((last - first).days + 1, 1)
    each = abs(total) // days * (1 if total > 0 else -1)
    for nth in range(days):
        part = each if nth < days - 1 else total - each * (days - 1)
        if part:
            yield first + timedelta(days=nth), part


def prepaid_monthly(rows: Iterable[dict[str, Any]]) -> list[Told]:
    events: list[Told] = []
    seen: set[int] = set()
    dated: set[int] = set()
    for row in sorted(rows, key=lambda row: (row["year"], row["month"])):
        who, start = row["id"], date(row["year"], row["month"], 1)
        end = start.replace(day=calendar.monthrange(row["year"], row["month"])[1])
        activated = None if row["lifetime_days"] > 15000 else end - timedelta(days=row["lifetime_days"])
        first = start if activated is None else max(start, activated)
        active = None if row["days_silent"] in NEVER else end - timedelta(days=row["days_silent"])
        last = first if active is None else max(active, first)
        # Some lifetimes are only known from a later month on.
        if activated is not None and who not in dated:
            dated.add(who)
            events.append(told(first, 0, who, "subscriber.profile", activated_on=str(activated)))
        if who not in seen:
            seen.add(who)
            events.append(told(first, 0, who, "subscriber.profile", plan="prepaid", fee_minor=0))
            events += [
                told(first, 0, who, "consent.changed", channel=c, granted=True) for c in ("call", "sms", "manager")
            ]
        spend, seconds = half_even(row["spend"], 100), half_even(row["out_minutes"], 60)
        volume, messages = half_even(row["data_mb"], 10**6), row["sms_out"]
        kind = "refund" if spend < 0 else "usage"
        events += [told(d, 12, who, "charge", amount_minor=n, kind=kind) for d, n in shares(spend, first, last)]
        events += [told(d, 12, who, "usage.voice", seconds=n) for d, n in shares(seconds, first, last)]
        events += [told(d, 12, who, "usage.data", bytes=n) for d, n in shares(volume, first, last)]
        events += [told(d, 12, who, "usage.sms", count=n) for d, n in shares(messages, first, last)]
        if not (spend or seconds or volume or messages) and active is not None and active >= first:
            events.append(told(active, 12, who, "usage.voice", seconds=0))
        recharged = end - timedelta(days=row["days_since_reload"])
        paid = half_even(row["reload_sum"], 100)
        if row["days_since_reload"] not in NEVER and start <= recharged <= end and paid:
            events.append(told(recharged, 12, who, "recharge", amount_minor=paid))
    return events


def postpaid_daily(rows: Iterable[dict[str, Any]]) -> list[Told]:
    events: list[Told] = []
    for row in rows:
        who, day = row["user_id"], row["date"]
        if day == row["reg_date"]:
            profile = {"plan": row["tariff"], "activated_on": str(day)}
            events.append(told(day, 0, who, "subscriber.activated"))
            events.append(told(day, 0, who, "subscriber.profile", **profile))
        if row["calls"]:
            events.append(told(day, 12, who, "usage.voice", seconds=half_even(row["minutes"], 60)))
        if row["sessions"]:
            events.append(told(day, 12, who, "usage.data", bytes=half_even(row["mb"], 10**6)))
        if row["sms"]:
            events.append(told(day, 12, who, "usage.sms", count=row["sms"]))
        if day == row["churn_date"]:
            events.append(told(day, 12, who, "subscriber.status", status="cancelled"))
    return events
