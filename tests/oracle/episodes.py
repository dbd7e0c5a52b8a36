"""From signals to episodes: what is raised, withheld, published, ordered and resolved, subscriber by subscriber."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import polars as pl

from tests.oracle.rules import (
    ACT_WITHIN_DAYS,
    CALLING_RULES,
    CANCELLED,
    CANCELLED_KEPT_DAYS,
    CONTACT_GAP_DAYS,
    DAILY_RULES,
    INHIBITS,
    DailyRule,
)
from tests.oracle.usage import Told
from tests.oracle.windows import signals

SEVERITIES = ("notice", "warning", "critical")
WITHHELD = "rule"  # what is said of a call where another rule of the same matter is open
WANTED = "wanted"  # before it is known whether it is made
_RULES = {rule.name: rule for rule in DAILY_RULES}

Number = int | float | str | None
Day = Mapping[str, Any]  # a subscriber's signals as of a day


@dataclass(frozen=True, slots=True)
class Version:
    """What a warning said from a day on; `call`: what became of the order of a call, None where none is asked for."""

    day: date
    severity: str
    numbers: dict[str, Number]
    money_at_risk_minor: int
    call: str | None = None

    @property
    def act_by(self) -> date:
        """The day by which to act."""
        return self.day + timedelta(days=ACT_WITHIN_DAYS[self.severity])


@dataclass(slots=True)
class Warned:
    """A warning with all that it said in its life.

    `published_on` is None where it was withheld to the end; `ends` and `returns` are the days on which it was resolved
    (and with which outcome) and on which it was reopened after that. `calls`: the days on which a call was ordered.
    """

    subscriber: str
    rule: str
    versions: list[Version]
    published_on: date | None = None
    recovering_on: date | None = None
    ends: list[tuple[date, str]] = field(default_factory=list)
    returns: list[date] = field(default_factory=list)
    calls: list[date] = field(default_factory=list)

    @property
    def raised_on(self) -> date:
        """The day on which its condition was first met."""
        return self.versions[0].day

    @property
    def is_open(self) -> bool:
        """Whether it is open at the end."""
        return len(self.ends) == len(self.returns)

    @property
    def published(self) -> Version:
        """What it said when it was published."""
        assert self.published_on is not None
        return self.on(self.published_on)

    def on(self, day: date) -> Version:
        """What it said by the close of `day`."""
        return next(version for version in reversed(self.versions) if version.day <= day)

    def is_open_on(self, day: date) -> bool:
        """Whether it is open after the close of `day`."""
        ended = sum(on <= day for on, _ in self.ends)
        return self.raised_on <= day and ended == sum(on <= day for on in self.returns)


def warnings_of(told: Told, shards: Mapping[str, int] | None = None) -> list[Warned]:
    """Every warning that the file gives, published or not; `shards` as `signals` has it."""
    judged = signals(told, shards)
    frame = judged.select("subscriber", "day", "status", "spend_90d", *(_of_rule(rule) for rule in DAILY_RULES))
    holds = pl.any_horizontal(pl.col(rule.name).struct.field("holds") for rule in DAILY_RULES)
    ever = frame.filter(holds).select("subscriber").unique()
    found = []
    for days in frame.join(ever, on="subscriber", how="semi").partition_by("subscriber", maintain_order=True):
        life = _Life(days["subscriber"][0], consents=told.consents)
        for day in days.iter_rows(named=True):
            life.close(day)
        found += life.warnings
    return found + _cancellations(told, judged)


def _of_rule(rule: DailyRule) -> pl.Expr:
    # Unknown is not true; what cannot be said of an open episode any more lets go of it.
    severity = (
        pl.when(rule.critical.fill_null(value=False))
        .then(pl.lit("critical"))
        .when(rule.warning.fill_null(value=False))
        .then(pl.lit("warning"))
        .otherwise(pl.lit(rule.otherwise))
    )
    return pl.struct(
        severity.alias("severity"),
        rule.when.fill_null(value=False).alias("holds"),
        rule.clear_when.fill_null(value=True).alias("clears"),
        pl.struct(rule.numbers).alias("numbers"),
    ).alias(rule.name)


@dataclass(slots=True)
class _Life:
    """One subscriber's warnings, day after day."""

    subscriber: str
    consents: bool
    warnings: list[Warned] = field(default_factory=list)

    def close(self, day: Day) -> None:
        """Live through the close of a day."""
        living = {warned.rule: warned for warned in self.warnings if warned.is_open}
        for name, warned in living.items():
            self._end(warned, day, _RULES[name])
        fresh = [one for name in _RULES if day[name]["holds"] and name not in living for one in self._begin(name, day)]
        self._order([warned for warned in living.values() if self._deepens(warned, day)], day["day"])
        self.warnings += fresh
        self._order([warned for warned in self.warnings if self._publishes(warned, day["day"])], day["day"])

    def _end(self, warned: Warned, day: Day, rule: DailyRule) -> None:
        """It recovers where it has cleared, for as long as it is kept; who has left is let go of at once."""
        on, has_left = day["day"], day["status"] == "cancelled"
        if day[rule.name]["holds"]:
            warned.recovering_on = None
        elif day[rule.name]["clears"] or has_left:
            since = warned.recovering_on or on
            if has_left or since + timedelta(days=rule.keep_days) <= on:
                warned.ends.append((on, "churned" if has_left else "recovered"))
            else:
                warned.recovering_on = since

    def _begin(self, name: str, day: Day) -> Iterator[Warned]:
        """A new warning, unless the last one is over only just: then that goes on, and says nothing anew."""
        before = [warned for warned in self.warnings if warned.rule == name]
        if before and before[-1].ends[-1][0] + timedelta(days=_RULES[name].cool_down_days) > day["day"]:
            before[-1].returns.append(day["day"])
            before[-1].recovering_on = None
        else:
            yield Warned(self.subscriber, name, [self._said(name, day)])

    def _said(self, name: str, day: Day) -> Version:
        told = day[name]
        asks = name in CALLING_RULES and told["severity"] != "notice"
        call = (WANTED if self.consents else "no_consent") if asks else None
        return Version(day["day"], told["severity"], told["numbers"], _a_year_of(day), call)

    def _deepens(self, warned: Warned, day: Day) -> bool:
        """Whether it says something graver, unless another rule says it just now; what is withheld only takes note."""
        last, is_withheld = warned.versions[-1], self._is_inhibited(warned.rule)
        if not (warned.is_open and day[warned.rule]["holds"]) or (warned.published_on is not None and is_withheld):
            return False
        now = self._said(warned.rule, day)
        if SEVERITIES.index(now.severity) <= SEVERITIES.index(last.severity):
            return False
        if warned.published_on is None and now.call == WANTED:
            now = replace(now, call=WITHHELD)
        elif last.call in ("ordered", "contacted"):  # who was called is not called again for more of the same
            now = replace(now, call="contacted")
        warned.versions.append(now)
        return True

    def _publishes(self, warned: Warned, on: date) -> bool:
        """Whether it is told now, after all: as soon as nothing withholds it any more."""
        if not warned.is_open or warned.published_on is not None:
            return False
        is_withheld, last = self._is_inhibited(warned.rule), warned.versions[-1]
        if last.call in (WANTED, WITHHELD):
            warned.versions[-1] = replace(last, call=WITHHELD if is_withheld else WANTED)
        if not is_withheld:
            warned.published_on = on
        return not is_withheld

    def _is_inhibited(self, rule: str) -> bool:
        return any(warned.is_open and rule in INHIBITS.get(warned.rule, ()) for warned in self.warnings)

    def _order(self, told: list[Warned], on: date) -> None:
        """One call for the gravest of what is told, and none within the gap after another."""
        wanted = [warned for warned in told if warned.versions[-1].call == WANTED]
        gap = timedelta(days=CONTACT_GAP_DAYS)
        is_free = all(call + gap <= on for warned in self.warnings for call in warned.calls)
        for warned in sorted(wanted, key=_urgency):
            warned.versions[-1] = replace(warned.versions[-1], call="ordered" if is_free else "contacted")
            if is_free:
                warned.calls.append(on)
            is_free = False


def _urgency(warned: Warned) -> tuple[int, int, str]:
    last = warned.versions[-1]
    return -SEVERITIES.index(last.severity), -last.money_at_risk_minor, warned.rule


def _a_year_of(day: Day) -> int:
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
        on = row["cancelled_on"]
        numbers: dict[str, Number] = {
            "event.status": "cancelled",
            **{name: row[name] for name in ("status", "tenure_days", "monthly_value")},
        }
        warned = Warned(row["subscriber"], CANCELLED, [Version(on, "notice", numbers, _a_year_of(row))], on)
        if on + timedelta(days=CANCELLED_KEPT_DAYS) <= told.last:
            warned.ends.append((on + timedelta(days=CANCELLED_KEPT_DAYS), "churned"))
        found.append(warned)
    return found
