"""From signals to episodes: what is raised and resolved, subscriber by subscriber and day by day."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import polars as pl

from tests.oracle.rules import ACT_WITHIN_DAYS, CALLING_RULES, CANCELLED, CANCELLED_KEPT_DAYS, DAILY_RULES, DailyRule
from tests.oracle.usage import Told
from tests.oracle.windows import signals

Number = int | float | str | None


@dataclass(frozen=True, slots=True)
class Warned:
    """A warning as raised, and how it ended; both of the last are None while it is open."""

    subscriber: str
    rule: str
    raised_on: date
    severity: str
    numbers: dict[str, Number]
    money_at_risk_minor: int
    resolved_on: date | None
    outcome: str | None

    @property
    def act_by(self) -> date:
        """The day by which to act."""
        return self.raised_on + timedelta(days=ACT_WITHIN_DAYS[self.severity])

    @property
    def asks_for_call(self) -> bool:
        """Whether a call is ordered, consent given."""
        return self.rule in CALLING_RULES and self.severity != "notice"

    def is_open_on(self, day: date) -> bool:
        """Whether it is open after the close of `day`."""
        return self.raised_on <= day and (self.resolved_on is None or self.resolved_on > day)


def warnings_of(told: Told) -> list[Warned]:
    """Every warning that the file gives."""
    judged = signals(told)
    found = [warning for rule in DAILY_RULES for warning in _daily(judged, rule)]
    return found + _cancellations(told, judged)


def _daily(judged: pl.DataFrame, rule: DailyRule) -> Iterator[Warned]:
    # Unknown is not true; what cannot be said of an open episode any more lets go of it.
    severity = (
        pl.when(rule.critical.fill_null(value=False))
        .then(pl.lit("critical"))
        .when(rule.warning.fill_null(value=False))
        .then(pl.lit("warning"))
        .otherwise(pl.lit(rule.otherwise))
    )
    frame = judged.select(
        "subscriber",
        "day",
        "status",
        "spend_90d",
        severity=severity,
        holds=rule.when.fill_null(value=False),
        clear=rule.clear_when.fill_null(value=True),
        numbers=pl.struct(rule.numbers),
    )
    ever = frame.group_by("subscriber").agg(pl.col("holds").any()).filter("holds").select("subscriber")
    for days in frame.join(ever, on="subscriber", how="semi").partition_by("subscriber", maintain_order=True):
        yield from _walk(rule.name, days.rows(named=True))


def _walk(rule: str, days: list[dict[str, Any]]) -> Iterator[Warned]:
    """One subscriber's days in order: opened when the condition holds and none is open, closed when it lets go.

    Who has left is let go of at once.
    """
    opened: dict[str, Any] | None = None
    for day in days:
        if opened is None and day["holds"]:
            opened = day
        elif opened is not None and not day["holds"] and (day["clear"] or day["status"] == "cancelled"):
            yield _warned(rule, opened, day["day"], "recovered" if day["status"] == "normal" else "churned")
            opened = None
    if opened is not None:
        yield _warned(rule, opened, None, None)


def _warned(rule: str, opened: dict[str, Any], resolved_on: date | None, outcome: str | None) -> Warned:
    return Warned(
        opened["subscriber"],
        rule,
        opened["day"],
        opened["severity"],
        opened["numbers"],
        opened["spend_90d"] * 4,  # three months' spend to twelve
        resolved_on,
        outcome,
    )


def _cancellations(told: Told, judged: pl.DataFrame) -> list[Warned]:
    """Judged on arrival, at noon of their day.

    The first noon record of the shard, this one or another's, has just closed the day before: so all but the event
    itself is as of that evening, when who leaves was still normal.
    """
    evening_before = pl.col("cancelled_on") - pl.duration(days=1)
    rows = judged.filter(pl.col("day") == evening_before).sort("subscriber")
    assert rows.height == told.people["cancelled_on"].count()
    found = []
    for row in rows.rows(named=True):
        ends_on = row["cancelled_on"] + timedelta(days=CANCELLED_KEPT_DAYS)
        ended = ends_on <= told.last
        numbers: dict[str, Number] = {
            "event.status": "cancelled",
            **{name: row[name] for name in ("status", "tenure_days", "monthly_value")},
        }
        found.append(
            Warned(
                row["subscriber"],
                CANCELLED,
                row["cancelled_on"],
                "notice",
                numbers,
                row["spend_90d"] * 4,
                ends_on if ended else None,
                "churned" if ended else None,
            )
        )
    return found
