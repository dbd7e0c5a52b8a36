"""A backtest of sealed days: of each rule how many it warned on a day, and who of them left, how long after."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from service.core.events import STATUSES
from service.core.judge import LOST
from service.core.rules import Rulebook
from service.core.signals import columns
from service.history.diff import ANY, stepped
from service.history.scoring import rates
from service.history.sealed import Sealed, check_reach
from service.history.trial import Trial, trials


@dataclass(slots=True)
class Tally:
    """One rule over all days: subscribers warned at any time, warnings raised and open by day, who left after them.

    `money`: at risk (minor units) of those whose warning is open when the last day closes.
    """

    warned: int = 0
    hits: int = 0
    raised: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    open: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    lead_days: list[np.ndarray] = field(default_factory=list)
    money: int = 0


@dataclass(slots=True)
class Tallies:
    """Of every rule, and of ANY but the experimental ones; how many there are, and how many left in these days."""

    subscribers: int = 0
    leavers: int = 0
    rules: dict[str, Tally] = field(default_factory=dict)
    together: np.ndarray | None = None  # rules by rules: for how many both are open when the last day closes

    def plain(self) -> dict[str, Any]:
        """As JSON values; ratios are null where nothing can be divided by."""
        return {
            "subscribers": self.subscribers,
            "leavers": self.leavers,
            "rules": {name: self._plain(tally) | self._overlap(name) for name, tally in self.rules.items()},
        }

    def _overlap(self, name: str) -> dict[str, Any]:
        """The rule that most of those warned are warned by as well, and their share."""
        names = [rule for rule in self.rules if rule != ANY]
        if name == ANY or self.together is None:
            return {"overlap": None}
        mine = self.together[names.index(name)].copy()
        own, mine[names.index(name)] = mine[names.index(name)], 0
        most = int(mine.argmax())
        return {"overlap": {"rule": names[most], "share": round(float(mine[most] / own), 4)} if mine[most] else None}

    def _plain(self, tally: Tally) -> dict[str, Any]:
        leads = np.concatenate(tally.lead_days) if tally.lead_days else np.zeros(0)
        return {
            **rates(tally.warned, tally.hits, self.leavers, self.subscribers).plain(),
            # What was open when the first day began is raised on it, and is no measure of a day.
            "raised_a_day": round(float(tally.raised[1:].mean()), 2) if tally.raised.size > 1 else 0.0,
            "most_raised_a_day": int(tally.raised[1:].max(initial=0)),
            "open_a_day": round(float(tally.open.mean()), 2) if tally.open.size else 0.0,
            "lead_days": float(np.median(leads)) if leads.size else None,
            "money_at_risk_minor": tally.money,
        }


def backtest_sealed(shards: Iterable[Sealed], rulebook: Rulebook, days: range, step: Callable[[], object]) -> Tallies:
    """Judge days of shards' sealed past; who left is who was pre-cancelled or cancelled in them, as the snapshot knows.

    Raises: FileError where the days are not stored; DamagedError.
    """
    tallies = Tallies()
    for shard in shards:
        check_reach([shard], days.start)
        since = np.where(_has_left(shard), shard.state.attributes["status_since"][: len(shard.state.roster)], -1)
        (trial,) = trials(shard, [rulebook], days, lambda judged: stepped(judged, step))
        since = np.where((since >= days.start) & (since < days.stop), since, -1)
        tallies.subscribers += shard.state.subscribers
        tallies.leavers += int(np.count_nonzero(since >= 0))
        _take(tallies, trial, since)
        _weigh(tallies, trial, shard)
    return tallies


def _weigh(tallies: Tallies, trial: Trial, shard: Sealed) -> None:
    """What is at risk, and who is warned by several rules, when the last day has closed."""
    view = shard.view(trial.rulebook)
    money = columns(view, ["money_at_risk"])["money_at_risk"].fill_null(0).to_numpy()
    opened = np.stack([course.open[view.rows] for course in trial.courses.values()])
    for name, mine in zip(trial.courses, opened, strict=True):
        tallies.rules[name].money += int(money[mine].sum())
    told = opened[[course.warns for course in trial.courses.values()]]
    tallies.rules[ANY].money += int(money[told.any(axis=0)].sum())
    flags = opened.astype(np.float64)  # whole numbers, which its product is quick and exact with
    both = flags @ flags.T
    tallies.together = both if tallies.together is None else tallies.together + both


def _has_left(shard: Sealed) -> np.ndarray:
    codes = [STATUSES.index(status) for status in LOST]
    left: np.ndarray = np.isin(shard.state.attributes["status"][: len(shard.state.roster)], codes)
    return left


def _take(tallies: Tallies, trial: Trial, since: np.ndarray) -> None:
    first = np.full(since.size, np.iinfo(np.int32).max, np.int32)
    everything = tallies.rules.setdefault(ANY, Tally())
    for name, course in trial.courses.items():
        tally = tallies.rules.setdefault(name, Tally())
        _count(tally, course.ever, course.first_day, since)
        for of in (tally, everything) if course.warns else (tally,):
            of.raised = _added(of.raised, course.raised_by_day)
            of.open = _added(of.open, course.open_by_day)
        if course.warns:
            first = np.where(course.ever, np.minimum(first, course.first_day), first)
    _count(everything, first != np.iinfo(np.int32).max, first, since)


def _count(tally: Tally, ever: np.ndarray, first: np.ndarray, since: np.ndarray) -> None:
    hits = ever & (since > first)
    # Who was warned only after they had left was not warned of.
    tally.warned += int(np.count_nonzero(ever & ((since < 0) | hits)))
    tally.hits += int(np.count_nonzero(hits))
    tally.lead_days.append(since[hits] - first[hits])


def _added(days: np.ndarray, more: list[int]) -> np.ndarray:
    return np.asarray(more, np.int64) if not days.size else days + np.asarray(more, np.int64)
