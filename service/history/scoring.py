"""Scores of who was warned and of the call list's order, against who left: plain fractions, no state, no file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median

import polars as pl

TOP_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Score:
    """How a group of warned subscribers compares with all that are labelled; None where nothing can be divided by."""

    warned: int
    precision: float | None
    recall: float | None
    lift: float | None

    def plain(self) -> dict[str, object]:
        """As JSON values."""
        return {"warned": self.warned, "precision": self.precision, "recall": self.recall, "lift": self.lift}


@dataclass(frozen=True, slots=True)
class Overlap:
    """The other rule that names most of a rule's warned, and the share of them that it names."""

    rule: str
    share: float


@dataclass(frozen=True, slots=True)
class Scored:
    """All that a backtest says of one group.

    `warned_per_day`: subscribers newly warned, the mean over the days lived through. `lead_days`: the median of the
    days between the warning and the leaving of those who left. `money_at_risk_minor`: of all that are warned.
    """

    score: Score
    warned_per_day: float
    lead_days: float | None
    money_at_risk_minor: int
    overlap: Overlap | None = None

    def plain(self) -> dict[str, object]:
        """As JSON values."""
        overlap = None if self.overlap is None else {"rule": self.overlap.rule, "share": self.overlap.share}
        return {
            **self.score.plain(),
            "warned_per_day": self.warned_per_day,
            "lead_days": self.lead_days,
            "money_at_risk_minor": self.money_at_risk_minor,
            "overlap": overlap,
        }


@dataclass(frozen=True, slots=True)
class Ordered:
    """How good an order of subscribers is: of the first twentieth, and as a whole (the area under its ROC curve)."""

    top: Score
    labelled: int
    leavers: int
    roc_auc: float | None

    def plain(self) -> dict[str, object]:
        """As JSON values; `lift` is that of the first twentieth too, as everywhere else of those who are named."""
        return {
            **self.top.plain(),
            "labelled": self.labelled,
            "leavers": self.leavers,
            "roc_auc": self.roc_auc,
            "lift_top_5pct": self.top.lift,
        }


def score(warned: set[str], leavers: set[str], labelled: int) -> Score:
    """Precision and recall of `warned` for `leavers`, and the lift over warning anybody of `labelled` at random."""
    return rates(len(warned), len(warned & leavers), len(leavers), labelled)


def rates(warned: int, hits: int, leavers: int, labelled: int) -> Score:
    """As `score`, of counts: `hits` are those of the warned who left."""
    precision = hits / warned if warned else None
    recall = hits / leavers if leavers else None
    lift = precision * labelled / leavers if precision is not None and leavers else None
    return Score(warned, precision, recall, lift)


def lead_days(warned_on: Mapping[str, int], left_on: Mapping[str, int]) -> float | None:
    """The median of the days from warning to leaving, over those of whom both are known."""
    leads = [left_on[who] - day for who, day in warned_on.items() if who in left_on]
    return float(median(leads)) if leads else None


def overlap(rule: str, warned: Mapping[str, set[str]]) -> Overlap | None:
    """The rule among `warned` that shares most of a rule's subscribers, None where none shares any."""
    mine = warned[rule]
    shared = [(len(mine & theirs), other) for other, theirs in warned.items() if other != rule]
    most, other = max(shared, key=lambda pair: (pair[0], pair[1]), default=(0, ""))
    return Overlap(other, most / len(mine)) if most else None


def order(people: pl.DataFrame, keys: Sequence[str]) -> Ordered:
    """How well the order of people, first those to call first, puts leavers (bool `left`) first.

    Those who are alike in all `keys` count as being at one place.
    """
    left = people["left"]
    leavers, labelled = int(left.sum()), people.height
    first = people.head(ceil(labelled * TOP_SHARE))
    everybody = set(people.filter("left")["subscriber_id"])
    return Ordered(
        top=score(set(first["subscriber_id"]), everybody, labelled),
        labelled=labelled,
        leavers=leavers,
        roc_auc=_roc_auc(people, keys, leavers),
    )


def _roc_auc(people: pl.DataFrame, keys: Sequence[str], leavers: int) -> float | None:
    """How probably somebody who left stands before somebody who stayed; at one place counts as half."""
    stayers = people.height - leavers
    if not leavers or not stayers:
        return None
    place = people.select(
        place=pl.struct(keys).rle_id().rank("average", descending=True), left=pl.col("left").cast(pl.Boolean)
    )
    ranks = float(place.filter("left")["place"].sum())
    return (ranks - leavers * (leavers + 1) / 2) / (leavers * stayers)
