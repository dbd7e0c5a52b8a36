"""From signals to episodes: what is raised and resolved, subscriber by subscriber and day by day."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import polars as pl

from tests.oracle.rules import ACT_WITHIN_DAYS, CALLING_RULES, CANCELLED, CANCELLED_KEPT_DAYS, DAILY_RULES, DailyRule
from tests.oracle.usage import Told
from tests.oracle.windows import signals

SEVERITIES = ("notice", "warning", "critical")

Number = int | float | str | None


@dataclass(frozen=True, slots=True)
class Warned:
    """A warning as raised, how it ended, and on which days it deepened to which severity, at which money at risk.

    `resolved_on` and `outcome` are None while it is open.
    """

    subscriber: str
    rule: str
    raised_on: date
    severity: str
    numbers: dict[str, Number]
    money_at_risk_minor: int
    resolved_on: date | None
    outcome: str | None
    deepened: tuple[tuple[date, str, int], ...] = ()

    @property
    def act_by(self) -> date:
        """The day by which to act."""
        return self.raised_on + timedelta(days=ACT_WITHIN_DAYS[self.severity])

    @property
    def asks_for_call(self) -> bool:
        """Whether a call is ordered, consent given."""
        return self.rule in CALLING_RULES and self.severity != "notice"

    def severity_on(self, day: date) -> str:
        """The gravest severity it had until the close of `day`."""
        return next((severity for since, severity, _ in reversed(self.deepened) if since <= day), self.severity)

    def money_at_risk_on(self, day: date) -> int:
        """What was at risk when it was last told, by the close of `day`."""
        return next((minor for since, _, minor in reversed(self.deepened) if since <= day), self.money_at_risk_minor)

    def asks_for_call_on(self, day: date) -> bool:
        """Whether a call is ordered by the close of `day`, consent given."""
        return self.rule in CALLING_RULES and self.severity_on(day) != "notice"

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
    deepened: list[tuple[date, str, int]] = []
    for day in days:
        if opened is None and day["holds"]:
            opened, deepened = day, []
        elif opened is not None and day["holds"]:
            gravest = deepened[-1][1] if deepened else opened["severity"]
            if SEVERITIES.index(day["severity"]) > SEVERITIES.index(gravest):
                deepened.append((day["day"], day["severity"], _a_year_of(day)))
        elif opened is not None and not day["holds"] and (day["clear"] or day["status"] == "cancelled"):
            outcome = "recovered" if day["status"] == "normal" else "churned"
            yield replace(_warned(rule, opened), resolved_on=day["day"], outcome=outcome, deepened=tuple(deepened))
            opened = None
    if opened is not None:
        yield replace(_warned(rule, opened), deepened=tuple(deepened))


def _warned(rule: str, opened: dict[str, Any]) -> Warned:
    return Warned(
        opened["subscriber"],
        rule,
        opened["day"],
        opened["severity"],
        opened["numbers"],
        _a_year_of(opened),
        None,
        None,
    )


def _a_year_of(day: dict[str, Any]) -> int:
    """Three months' spend to twelve."""
    return int(day["spend_90d"]) * 4


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
