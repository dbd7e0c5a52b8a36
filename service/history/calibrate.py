"""Which drop ratios would warn a wanted share of those who can be warned, beside the shares that today's ratios warn.

Who can be warned by a segment's band is eligible, has a baseline, and is not warned in a measure that comes before; by
a rule, who meets all of its condition but the drop.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import polars as pl

from service.core.cohorts import compare
from service.core.judge import daily_rules
from service.core.rules import Rule, Rulebook, SegmentBands
from service.core.segments import LOST, NOT_ELIGIBLE, assign
from service.core.signals import View, columns
from service.core.state import State
from service.history.explain import clause_of
from service.history.files import FileError
from service.rulebook.clauses import AND, Clause

_DROP = re.compile(r".*_drop(?:_vs_cohort|_last_year|_photo)?")


class Key(NamedTuple):
    """What has a ratio: a band of the segments, or a rule; and the measure whose drop it is."""

    kind: str  # band | rule
    name: str
    measure: str


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio of today and the one that gives the wanted rate; None where nobody can be warned, or none is wanted."""

    key: Key
    can_be_warned: int
    ratio: float
    rate: float | None
    wanted_rate: float | None
    wanted_ratio: float | None
    reached_rate: float | None  # by the wanted ratio: where many have the same drop, not quite what was wanted

    def plain(self) -> dict[str, float | int | str | None]:
        """As JSON values."""
        return {
            **self.key._asdict(),
            "can_be_warned": self.can_be_warned,
            "ratio": self.ratio,
            "rate": self.rate,
            "wanted_rate": self.wanted_rate,
            "wanted_ratio": self.wanted_ratio,
            "reached_rate": self.reached_rate,
        }


@dataclass(slots=True)
class Sample:
    """Drops of subscribers, gathered shard by shard: of bands a column each (null: none), of rules those who can be."""

    rulebook: Rulebook
    bands: list[pl.DataFrame] = field(default_factory=list)
    rules: dict[str, list[np.ndarray]] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict)


def take(sample: Sample, state: State) -> None:
    """Add the subscribers of a shard, as of its last closed day."""
    rulebook, rows, day = sample.rulebook, state.rows, state.closed_day or 0
    state.cohorts.table = compare(state.windows, state.attributes, rows, rulebook, day)
    assign(state, rulebook, rows, day)
    view = View.under(rulebook, state, rows)
    codes = state.attributes["segment"][rows]
    eligible = pl.Series((codes != NOT_ELIGIBLE) & (codes != LOST))
    names = [_signal(rulebook, band) for band in rulebook.bands]
    sample.bands.append(columns(view, names).filter(eligible))
    for rule in daily_rules(rulebook):
        clause = clause_of(rulebook, rule, view)
        found = _drop_of(clause)
        if found is not None:
            _take_rule(sample, rule, view, found)


def _signal(rulebook: Rulebook, band: SegmentBands) -> str:
    suffix = "_drop_vs_cohort" if rulebook.against == "cohort" else "_drop"
    return f"{band.measure}_{band.window_days}d{suffix}"


def _drop_of(clause: Clause) -> tuple[Clause, tuple[Clause, ...]] | None:
    """The part of a condition that a drop is judged by, and the others; None where there is not just one.

    `voice_30d_drop > 0` asks only that it fell at all: nothing to calibrate.
    """
    parts = clause.parts if clause.joined == AND else (clause,)
    drops = [part for part in parts if len(part.bounds) == 1 and part.bounds[0].least and _is_drop(part)]
    drops = [part for part in drops if part.params] or drops
    if len(drops) != 1:
        return None
    return drops[0], tuple(part for part in parts if part is not drops[0])


def _is_drop(part: Clause) -> bool:
    names = part.bounds[0].left.names
    return len(names) == 1 and _DROP.fullmatch(names[0]) is not None


def _take_rule(sample: Sample, rule: Rule, view: View, found: tuple[Clause, tuple[Clause, ...]]) -> None:
    drop, others = found
    names = {name for part in (drop, *others) for name in part.names}
    frame = columns(view, sorted(names))
    can = pl.Series(np.ones(view.rows.size, bool))
    for part in others:
        can &= _truth(part, frame)
    bound = drop.bounds[0]
    values = frame.filter(can).select(it=bound.left.expression)["it"].drop_nulls().to_numpy()
    sample.rules.setdefault(rule.id, []).append(values)
    right = frame.select(it=bound.right.expression)["it"]
    if right.len():
        sample.thresholds[rule.id] = float(right.median())  # type: ignore[arg-type] # numbers, as the clause says


def _truth(part: Clause, frame: pl.DataFrame) -> pl.Series:
    """Whether a part is true, line by line; what is unknown is not."""
    if part.parts:
        told = [_truth(one, frame) for one in part.parts]
        return pl.DataFrame(dict(zip(map(str, range(len(told))), told, strict=True))).select(
            it=pl.all_horizontal(pl.all()) if part.joined == AND else pl.any_horizontal(pl.all())
        )["it"]
    if part.whole is None:
        return pl.Series(np.zeros(frame.height, bool))
    truth = frame.select(it=part.whole.expression.fill_null(value=False))["it"]
    return truth if truth.len() == frame.height else truth.new_from_index(0, frame.height)


def ratios(sample: Sample, wanted: Mapping[str, float]) -> Iterator[Ratio]:
    """Of each band, in their order, and each rule that judges a drop; `wanted` are rates by measure.

    Raises: FileError where nobody can be warned at all.
    """
    bands = pl.concat(sample.bands) if sample.bands else pl.DataFrame()
    if bands.is_empty() and not any(one.size for parts in sample.rules.values() for one in parts):
        raise FileError("nobody can be warned: there is nobody who has a baseline in normal service")
    for band in sample.rulebook.bands:
        name = _signal(sample.rulebook, band)
        drops = bands[name].drop_nulls().to_numpy()
        key = Key("band", f"{band.measure}_{band.window_days}d", band.measure)
        found = _ratio(key, drops, band.warned, wanted.get(band.measure))
        yield found
        # Who is warned in this measure is not warned in the next.
        chosen = band.warned if found.wanted_ratio is None else found.wanted_ratio
        bands = bands.filter((pl.col(name) >= chosen).fill_null(value=False).not_())
    measures = {rule.id: rule.measure or "" for rule in sample.rulebook.rules}
    for rule_id, parts in sorted(sample.rules.items()):
        key = Key("rule", rule_id, measures[rule_id])
        yield _ratio(key, np.concatenate(parts), sample.thresholds.get(rule_id, 0.0), wanted.get(measures[rule_id]))


def _ratio(key: Key, drops: np.ndarray, ratio: float, wanted: float | None) -> Ratio:
    if not drops.size:
        return Ratio(key, 0, ratio, None, wanted, None, None)
    rate = float(np.mean(drops >= ratio))
    if wanted is None:
        return Ratio(key, drops.size, ratio, rate, None, None, None)
    place = min(max(round(wanted * drops.size), 1), drops.size)
    found = float(np.sort(drops)[drops.size - place])
    return Ratio(key, drops.size, ratio, rate, wanted, found, float(np.mean(drops >= found)))
