"""Rules over rows: who meets them at the close of a day or on a record's arrival, and of whom they no longer hold."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, reduce
from operator import or_

import numpy as np
import polars as pl

from service.core.conditions import Conditions, Splitting
from service.core.episodes import empty_transitions
from service.core.publication import Moment, publish
from service.core.raising import EVIDENCE, Cases, evaluate, raised_lines
from service.core.rules import SEVERITIES, Rule, Rulebook
from service.core.selecting import select
from service.core.signals import View, columns, windows_of
from service.core.state import State

LOST = ("pre_cancelled", "cancelled")


def daily_rules(rulebook: Rulebook) -> tuple[Rule, ...]:
    """The rules judged at each close."""
    return tuple(rule for rule in rulebook.rules if not rule.on and rule.status != "deprecated")


def event_rules(rulebook: Rulebook) -> tuple[Rule, ...]:
    """The rules judged when a record arrives."""
    return tuple(rule for rule in rulebook.rules if rule.on and rule.status != "deprecated")


def _parts() -> dict[str, list[np.ndarray]]:
    return defaultdict(list)


@dataclass(frozen=True, slots=True)
class Plan:
    """The daily rules that a close judges, and their conditions made ready for all of its slices.

    `ends` are asked of those alone who have a living episode: `<id>:clear` and, where there are graver severities than
    the default, `<id>:risen`; `lost`: the subscriber has left.
    """

    rules: tuple[Rule, ...]
    holds: Conditions
    ends: Conditions


@dataclass(slots=True)
class Found:
    """Of whom each daily rule holds: rows (int32) by rule id, found slice by slice of a shard.

    `met`: it holds, and no episode lives; `again`: it holds, and one does, which may be pending or recovering; `risen`:
    it holds with more than its default severity, and an episode lives; `over`: an episode lives, and has cleared;
    `ceased`: one lives that may be pending, and it holds no more, though it has not cleared.
    """

    met: dict[str, list[np.ndarray]] = field(default_factory=_parts)
    again: dict[str, list[np.ndarray]] = field(default_factory=_parts)
    risen: dict[str, list[np.ndarray]] = field(default_factory=_parts)
    over: dict[str, list[np.ndarray]] = field(default_factory=_parts)
    ceased: dict[str, list[np.ndarray]] = field(default_factory=_parts)
    plan: Plan | None = None  # made with the first slice


def judge_rows(state: State, rulebook: Rulebook, rows: np.ndarray, found: Found) -> None:
    """Judge the daily rules for some rows, which have the day behind them; changes nothing."""
    plan = found.plan = found.plan or _plan(_Same(rulebook), frozenset(state.windows.incomplete))
    if not plan.rules or not rows.size:
        return
    view = View.under(rulebook, state, rows)
    holds = plan.holds.judge(columns(view, plan.holds.names))
    lives = {rule.id: state.episodes.has_live(rule.id, rows) for rule in plan.rules}
    ends = _ends(plan, rulebook, state, rows, lives)
    believed = ~state.feed.withholds(state.closed_day or 0, state.attributes, rows)
    for rule in plan.rules:
        live, is_any_live = lives[rule.id], f"{rule.id}:clear" in ends
        if not is_any_live and not holds[rule.id].any():
            continue
        met = _flags(holds[rule.id], rows.size)
        told = [(found.met, met & ~live)]
        if is_any_live:
            clears = ends[f"{rule.id}:clear"] & ~met
            told.append((found.over, clears & live))
            if f"{rule.id}:risen" in ends:
                told.append((found.risen, met & live & ends[f"{rule.id}:risen"]))
            # Also of rules that neither wait nor linger: a former version of them may have.
            told += [(found.again, met & live), (found.ceased, ~met & ~clears & live)]
        for into, flags in told:
            counted = flags & believed if rule.judges_feed else flags
            if counted.any():
                into[rule.id].append(rows[counted])


@dataclass(frozen=True, slots=True, eq=False)
class _Same:
    """A rulebook that is equal to itself alone: shards close day after day by the same one."""

    rulebook: Rulebook

    def __hash__(self) -> int:
        return id(self.rulebook)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.rulebook is self.rulebook


@lru_cache(maxsize=8)
def _plan(of: _Same, unknown: frozenset[int]) -> Plan:
    """How a rulebook is judged; by windows whose sums are not known nothing is raised, and nothing resolved."""
    rulebook = of.rulebook
    rules = tuple(
        rule for rule in daily_rules(rulebook) if not unknown or not unknown & windows_of(rule.names, rulebook.derived)
    )
    holds, ends = Splitting(), Splitting()
    ends.add("lost", pl.col("status").is_in(LOST))
    for rule in rules:
        holds.add(rule.id, rule.when)
        # A signal that is gone neither holds nor clears by itself: then the condition alone decides.
        clear = pl.lit(value=True) if rule.clear_when is None else rule.clear_when
        ends.add(f"{rule.id}:clear", clear, unknown=True)
        lowest = SEVERITIES.index(rule.default_severity)
        graver = [condition for level, condition in rule.severities if SEVERITIES.index(level) > lowest]
        if graver:
            ends.add(f"{rule.id}:risen", reduce(or_, graver))
    return Plan(rules, holds.done(), ends.done())


def _ends(
    plan: Plan, rulebook: Rulebook, state: State, rows: np.ndarray, lives: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """What ends or deepens the living episodes of rules that have any among the rows, one flag per row."""
    living = [rule.id for rule in plan.rules if lives[rule.id].any()]
    if not living:
        return {}
    some = np.flatnonzero(np.logical_or.reduce([lives[rule] for rule in living]))
    judged = plan.ends.judge(columns(View.under(rulebook, state, rows[some]), plan.ends.names))
    found = {}
    for rule in living:
        # Of who has left nothing will ever clear again: there too the condition alone decides.
        verdicts = {f"{rule}:clear": judged[f"{rule}:clear"] | judged["lost"]}
        if f"{rule}:risen" in judged:
            verdicts[f"{rule}:risen"] = judged[f"{rule}:risen"]
        for name, verdict in verdicts.items():
            found[name] = np.zeros(rows.size, np.bool_)
            found[name][some] = _flags(verdict, some.size)
    return found


def _flags(verdict: pl.Series, rows: int) -> np.ndarray:
    """Whether something holds, one flag per row."""
    flags = verdict.to_numpy()
    return flags if flags.size == rows else np.broadcast_to(flags, rows)


def cases_of(
    state: State, rulebook: Rulebook, met: Iterable[tuple[Rule, np.ndarray]], at: tuple[int, int, int]
) -> list[tuple[Rule, Cases]]:
    """What rules need to know of the rows that meet them; `at`: day, instant and offset of the close."""
    met = list(met)
    if not met:
        return []
    # Only those who meet a rule need what else rules name: evidence, severity, words.
    rows = np.concatenate([of_rule for _, of_rule in met])
    names = set(EVIDENCE).union(*(rule.names for rule, _ in met))
    day, time_us, cut = (np.full(rows.size, value) for value in at)
    cases = Cases(rows, columns(View.under(rulebook, state, rows), sorted(names)), day, time_us, cut, day)
    ends = np.cumsum([of_rule.size for _, of_rule in met]).tolist()
    return [
        (rule, cases.take(np.arange(end - of_rule.size, end))) for (rule, of_rule), end in zip(met, ends, strict=True)
    ]


def judge_events(state: State, rulebook: Rulebook, event_type: str, events: pl.DataFrame) -> list[pl.DataFrame]:
    """Judge records of one type (columns row, day, occurred_us, offset and the type's fields) on their arrival."""
    rules = [rule for rule in event_rules(rulebook) if event_type in rule.on]
    if not rules or events.is_empty():
        return []
    cases = _arrived(state, rulebook, rules, events)
    rows = cases.rows
    parts = []
    for rule in rules:
        true = evaluate(cases.signals, rule.when.fill_null(value=False), rows.size).to_numpy()
        fresh = np.flatnonzero(true & ~state.episodes.has_live(rule.id, rows))
        _, first = np.unique(rows[fresh], return_index=True)
        if first.size:
            parts.append(raised_lines(state, rule, cases.take(np.sort(fresh[first]))))
    if not parts:
        return [empty_transitions()]
    lines = state.episodes.unknown(pl.concat(parts))
    told = []
    # Calendars, mutes and contacts go by the record's own day.
    for (day,), of_day in lines.partition_by("raised_on", as_dict=True, maintain_order=True).items():
        since_1970 = int(pl.Series([day]).cast(pl.Int32).item())
        told.append(publish(state, rulebook, of_day, Moment(since_1970, closes=False)).lines)
        state.episodes.put(told[-1])
    return told


def _arrived(state: State, rulebook: Rulebook, rules: Sequence[Rule], events: pl.DataFrame) -> Cases:
    rows, days = events["row"].to_numpy(), events["day"].to_numpy()
    names = set(EVIDENCE).union(*(rule.names for rule in rules))
    own = [n for n in names if n.removeprefix("event.") in events.columns and n.startswith("event.")]
    told = select(events, (pl.col(name.removeprefix("event.")).alias(name) for name in own))
    named = sorted(name for name in names if not name.startswith("event."))
    signals = columns(View.under(rulebook, state, rows), named)
    signals = signals.hstack(told)
    # A rule on several types may name a field that only one of them has.
    if missing := names - set(signals.columns):
        signals = signals.with_columns(pl.lit(None).alias(name) for name in missing)
    return Cases(rows, signals, days, events["occurred_us"].to_numpy(), events["offset"].to_numpy(), days)
