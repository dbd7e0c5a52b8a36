"""Rulebooks judged over past days of a shard: who is warned when by which rule, whom an order goes to.

Judged are the rules of the close. No sentence is written and no episode made: of each rule it is known who is open.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from service.core.cohorts import compare, compared_windows
from service.core.events import CHANNELS
from service.core.judge import LOST, daily_rules
from service.core.publication import LEAVING
from service.core.raising import severity_of
from service.core.rules import Order, Rule, Rulebook
from service.core.signals import View, columns
from service.history.sealed import Sealed

_NEVER = np.iinfo(np.int32).min // 2
Watch = Callable[[Iterable[int]], Iterable[int]]


@dataclass(slots=True)
class Course:
    """One rule over the days: per row whether its warning is open, and the first day it was raised (or NEVER)."""

    rule: Rule
    rows: int
    open: np.ndarray = field(init=False)
    first_day: np.ndarray = field(init=False)
    open_by_day: list[int] = field(default_factory=list)
    raised_by_day: list[int] = field(default_factory=list)
    _held: np.ndarray = field(init=False)  # closes in a row at which it held
    _ended: np.ndarray = field(init=False)  # the day it ended last
    _recovering: np.ndarray = field(init=False)  # the day since which it recovers

    def __post_init__(self) -> None:
        """Nobody is warned yet."""
        self.open = np.zeros(self.rows, bool)
        self.first_day = np.full(self.rows, _NEVER, np.int32)
        self._held = np.zeros(self.rows if self.rule.for_days > 1 else 0, np.int16)
        self._recovering = np.full(self.rows if self.rule.keep_for_days else 0, _NEVER, np.int32)
        self._ended = np.full(self.rows if self.rule.cool_down_days else 0, _NEVER, np.int32)

    @property
    def warns(self) -> bool:
        """Whether anybody is told: an experimental rule warns nobody."""
        return self.rule.status != "experimental"

    @property
    def ever(self) -> np.ndarray:
        """Flags: was it ever raised?"""
        flags: np.ndarray = self.first_day != _NEVER
        return flags

    def close(self, day: int, holds: np.ndarray, clears: np.ndarray, lost: np.ndarray) -> np.ndarray:
        """Let a day close; returns the rows whose warning is raised, one reopened within its cool-down apart."""
        begins = holds & ~self.open
        if self.rule.for_days > 1:
            self._held = np.where(holds, self._held + 1, 0).astype(np.int16)
            begins &= self._held >= self.rule.for_days
        ends = clears & self.open
        if self.rule.keep_for_days:
            self._recovering[holds] = _NEVER
            self._recovering[ends & (self._recovering == _NEVER)] = day
            ends &= (day - self._recovering >= self.rule.keep_for_days) | lost
            self._recovering[ends] = _NEVER
        self.open = (self.open | begins) & ~ends
        raised = np.flatnonzero(begins)
        if self.rule.cool_down_days:
            raised = raised[day - self._ended[raised] >= self.rule.cool_down_days]
            self._ended[ends] = day
        fresh = raised[self.first_day[raised] == _NEVER]
        self.first_day[fresh] = day
        self.open_by_day.append(int(np.count_nonzero(self.open)))
        self.raised_by_day.append(int(raised.size))
        return raised


@dataclass(slots=True)
class Trial:
    """One rulebook over the days of a shard: a course per rule, and per channel whom an order was made for."""

    rulebook: Rulebook
    courses: dict[str, Course]
    ordered: dict[str, np.ndarray]
    _last_order: np.ndarray

    def order(self, day: int, channels: Mapping[str, np.ndarray]) -> None:
        """Note orders (rows by channel): a subscriber gets one within the rulebook's gap."""
        for channel, rows in channels.items():
            free = rows[day - self._last_order[rows] >= self.rulebook.limits.contact_gap_days]
            self.ordered[channel][free] = True
            self._last_order[free] = day


def trials(sealed: Sealed, rulebooks: Sequence[Rulebook], days: range, watch: Watch = iter) -> list[Trial]:
    """Judge each day of a shard by each rulebook; what is open when the first day begins is raised on it."""
    count = len(sealed.state.roster)
    made = [
        Trial(
            rulebook=rulebook,
            courses={rule.id: Course(rule, count) for rule in daily_rules(rulebook)},
            ordered={channel: np.zeros(count, bool) for channel in CHANNELS},
            _last_order=np.full(count, _NEVER, np.int32),
        )
        for rulebook in rulebooks
    ]
    for trial in made:
        names = {name for course in trial.courses.values() for name in course.rule.names}
        sealed.ask(trial.rulebook, sorted(names | {"status", "porting", "money_at_risk"}))
    sealed.stand(days.start - 1)
    for day in watch(days):
        sealed.move()
        _judge(sealed, made, day)
    return made


def _judge(sealed: Sealed, made: Sequence[Trial], day: int) -> None:
    state = sealed.state
    named = np.zeros(len(state.roster), bool)
    named[state.rows] = True
    for together in _comparable(made):
        # What is compared with others depends on the calendars of the rulebook.
        rulebook = together[0].rulebook
        view = sealed.view(rulebook)
        state.cohorts.table = compare(state.windows, state.attributes, state.rows, rulebook, day)
        verdicts = _verdicts(view, [course.rule for trial in together for course in trial.courses.values()])
        lost = verdicts["lost"]
        for trial in together:
            raised = {}
            for rule_id, course in trial.courses.items():
                holds, clears = verdicts[_key(course.rule.when)], verdicts[f"clear:{_clear_key(course.rule)}"]
                raised[rule_id] = view.rows[course.close(day, holds & named, ~holds & (clears | lost), lost)]
            trial.order(day, _orders(sealed, trial, raised))


def _comparable(made: Sequence[Trial]) -> Iterator[list[Trial]]:
    first, rest = made[0], list(made[1:])
    alike = [trial for trial in rest if _are_alike(trial.rulebook, first.rulebook)]
    yield [first, *alike]
    others = [trial for trial in rest if trial not in alike]
    if others:
        yield from _comparable(others)


def _are_alike(one: Rulebook, other: Rulebook) -> bool:
    """Whether both mean the same by every signal: their own ones, tiers, and what is compared with others."""
    if _own_signals(one) != _own_signals(other) or one.dimensions != other.dimensions:
        return False
    compares = [bool(compared_windows(name for rule in book.rules for name in rule.names)) for book in (one, other)]
    return not any(compares) or one.holidays == other.holidays


def _own_signals(rulebook: Rulebook) -> dict[str, str]:
    return {name: _key(derived.expression) for name, derived in rulebook.derived.items()}


def _verdicts(view: View, rules: Sequence[Rule]) -> dict[str, np.ndarray]:
    """Whether each condition is true: `<key>` of `when`, `clear:<key>` of `clear_when`, and `lost`; each once."""
    wanted = {"lost": pl.col("status").is_in(LOST)}
    for rule in rules:
        wanted[_key(rule.when)] = rule.when.fill_null(value=False)
        clear = pl.lit(value=True) if rule.clear_when is None else rule.clear_when.fill_null(value=True)
        wanted[f"clear:{_clear_key(rule)}"] = clear
    names = {name for expression in wanted.values() for name in expression.meta.root_names()}
    signals = columns(view, sorted(names))
    judged = signals.select(expression.alias(name) for name, expression in wanted.items())
    return {name: np.broadcast_to(judged[name].to_numpy(), view.rows.size) for name in wanted}


def _clear_key(rule: Rule) -> str:
    return "always" if rule.clear_when is None else _key(rule.clear_when)


def _key(condition: pl.Expr) -> str:
    """The same for the same condition, whatever rule it is of."""
    return condition.meta.serialize().hex()


def _orders(sealed: Sealed, trial: Trial, raised: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rows by channel that an order is wanted for and allowed."""
    asking = [(trial.courses[name].rule, rows) for name, rows in raised.items() if rows.size]
    asking = [(rule, rows) for rule, rows in asking if rule.orders and _may_order(rule)]
    if not asking:
        return {}
    everybody = np.unique(np.concatenate([rows for _, rows in asking]))
    names = frozenset().union(*(_named_by_orders(rule) for rule, _ in asking))
    signals = columns(View.under(trial.rulebook, sealed.state, everybody), sorted(names))
    told: dict[str, list[np.ndarray]] = {channel: [] for channel in CHANNELS}
    for rule, rows in asking:
        mine = signals[np.searchsorted(everybody, rows)].with_columns(severity=severity_of(rule))
        flags = mine.select(_wanted(order).alias(str(nth)) for nth, order in enumerate(rule.orders))
        for nth, order in enumerate(rule.orders):
            told[order.channel].append(rows[np.broadcast_to(flags[str(nth)].to_numpy(), rows.size)])
    return {channel: np.unique(np.concatenate(parts)) for channel, parts in told.items() if parts}


def _may_order(rule: Rule) -> bool:
    return rule.kind != "restricted" and rule.status != "experimental"


def _named_by_orders(rule: Rule) -> set[str]:
    """The signals that decide whether a rule orders."""
    conditions = [order.when for order in rule.orders if order.when is not None]
    conditions += [condition for _, condition in rule.severities]
    names = {name for condition in conditions for name in condition.meta.root_names()} - {"severity"}
    return names | {"porting", *(f"consent_{order.channel}" for order in rule.orders)}


def _wanted(order: Order) -> pl.Expr:
    wanted = pl.lit(value=True) if order.when is None else order.when.fill_null(value=False)
    return wanted & pl.col(f"consent_{order.channel}").fill_null(value=False) & ~pl.col("porting").is_in(LEAVING)
