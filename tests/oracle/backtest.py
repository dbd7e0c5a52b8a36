"""How well the warnings open at the close of a day name those who left."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from tests.oracle.episodes import SEVERITIES, Warned
from tests.oracle.rules import SIGNS
from tests.oracle.usage import Told
from tests.oracle.windows import signals

Place = tuple[int, int, int]  # severity (0: no warning), signs of leaving, money at risk


@dataclass(frozen=True, slots=True)
class Score:
    """Of one group of warnings; what has no denominator is None."""

    warned: int
    precision: float | None
    recall: float | None
    lift: float | None


def score(warned: set[str], left: Mapping[str, bool]) -> Score:
    """Against every labelled subscriber."""
    named = warned & left.keys()
    leavers = {subscriber for subscriber, flag in left.items() if flag}
    hits = len(named & leavers)
    precision = hits / len(named) if named else None
    recall = hits / len(leavers) if leavers else None
    rate = len(leavers) / len(left)
    return Score(len(named), precision, recall, precision / rate if precision is not None and rate else None)


def groups(warnings: Iterable[Warned], day: date) -> dict[str, set[str]]:
    """Subscribers with a warning open at the close of `day`: by rule, severity, outbound topic, and `any`."""
    found: dict[str, set[str]] = {"any": set(), "outbound.call": set()}
    for warning in warnings:
        if not warning.is_open_on(day):
            continue
        said = warning.on(day)
        names = ["any", warning.rule, said.severity]
        if said.call in ("ordered", "contacted"):
            names.append("outbound.call")
        for name in names:
            found.setdefault(name, set()).add(warning.subscriber)
    return found


def places(told: Told, warnings: Iterable[Warned], day: date) -> dict[str, Place]:
    """Where everybody known by `day` stands in the call list of its close: the greater, the sooner called."""
    severity: dict[str, int] = {}
    for warning in warnings:
        if warning.is_open_on(day):
            rank = SEVERITIES.index(warning.on(day).severity) + 1
            severity[warning.subscriber] = max(rank, severity.get(warning.subscriber, 0))
    count = pl.sum_horizontal(sign.fill_null(value=False).cast(pl.Int64) for sign in SIGNS)
    year = pl.max_horizontal("spend_90d", 0) * 4
    people = signals(told).filter(pl.col("day") == day).select("subscriber", count.alias("signs"), year.alias("year"))
    return {who: (severity.get(who, 0), signs, minor) for who, signs, minor in people.iter_rows()}


def first_twentieth(place: Mapping[str, Place]) -> set[str]:
    """Those to call first; where places are alike, by their ids."""
    listed = sorted(place, key=lambda who: (*(-part for part in place[who]), who))
    return set(listed[: -(-len(listed) // 20)])


def roc_auc(place: Mapping[str, Place], left: Mapping[str, bool]) -> float:
    """The share of pairs of one who left and one who stayed in which who left comes first; alike is a half."""
    stayed = Counter(place[who] for who in place if not left[who])
    gone = Counter(place[who] for who in place if left[who])
    pairs = ((a, b, m * n) for a, m in gone.items() for b, n in stayed.items())
    won = sum(count * (1.0 if a > b else 0.5 if a == b else 0.0) for a, b, count in pairs)
    return won / (gone.total() * stayed.total())


def still_active(file: Path) -> set[str]:
    """Rows in all three months, active in the last week of August, and usage in it, as the note of the data says."""
    rows = pl.read_parquet(file)
    used = (pl.col("out_minutes") > 0) | (pl.col("sms_out") > 0) | (pl.col("data_mb") > 0)
    august = (pl.col("month") == 8) & (pl.col("days_silent") <= 7) & used
    found = rows.group_by("id").agg(months=pl.col("month").n_unique(), was_active=august.any())
    active = found.filter((pl.col("months") == 3) & pl.col("was_active"))
    return {str(who) for who in active["id"]}
