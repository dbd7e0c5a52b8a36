"""Rules over rows: who meets them at the close of a day or on a record's arrival, and whose episodes end."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import polars as pl

from service.core.calendar import to_date
from service.core.episodes import empty_transitions, stack
from service.core.raising import EVIDENCE, Cases, complete, evaluate, open_episodes
from service.core.rules import Rule, Rulebook
from service.core.selecting import select
from service.core.signals import View, columns, windows_of
from service.core.state import State

LOST = ("pre_cancelled", "cancelled")


class Close(NamedTuple):
    """The close of a day: the day, the instant it ended, the offset of its cut."""

    day: int
    time_us: int
    cut: int


def daily_rules(rulebook: Rulebook) -> tuple[Rule, ...]:
    """The rules judged at each close."""
    return tuple(rule for rule in rulebook.rules if not rule.on and rule.status != "deprecated")


def event_rules(rulebook: Rulebook) -> tuple[Rule, ...]:
    """The rules judged when a record arrives."""
    return tuple(rule for rule in rulebook.rules if rule.on and rule.status != "deprecated")


@dataclass(slots=True)
class Found:
    """Who meets, and who no longer meets, each daily rule: rows (int32), found slice by slice of a shard."""

    met: dict[str, list[np.ndarray]] = field(default_factory=lambda: defaultdict(list))
    over: dict[str, list[np.ndarray]] = field(default_factory=lambda: defaultdict(list))


def judge_rows(state: State, rules: Sequence[Rule], rows: np.ndarray, found: Found) -> None:
    """Judge the daily rules for some rows, which have the day behind them; changes nothing."""
    if not rules or not rows.size:
        return
    # Where a window's sums are not known, nothing is raised by them, and nothing resolved.
    unknown = state.windows.incomplete
    rules = [rule for rule in rules if not unknown or not unknown.keys() & windows_of(rule.names)]
    verdicts = _verdicts(View(state, rows), rules)
    for rule in rules:
        held = state.episodes.has_open(rule.id, rows)
        for flags, into in (
            (verdicts[f"{rule.id}:when"] & ~held, found.met),
            (verdicts[f"{rule.id}:clear"] & held, found.over),
        ):
            if flags.any():
                into[rule.id].append(rows[flags])


def conclude(state: State, rulebook: Rulebook, found: Found, cut: int, *, standing: bool) -> pl.DataFrame:
    """End and open episodes for the day just closed; returns the transitions."""
    day = state.closed_day or 0
    close = Close(day, state.due_us(day) - state.config.grace_us, cut)
    parts = [_expire(state, event_rules(rulebook), close), _recover(state, found, close)]
    parts.append(open_episodes(state, _newly_met(state, daily_rules(rulebook), found, close), standing=standing))
    return stack(parts)


def judge_events(state: State, rules: Sequence[Rule], event_type: str, events: pl.DataFrame) -> list[pl.DataFrame]:
    """Judge records of one type (columns row, day, occurred_us, offset and the type's fields) on their arrival."""
    rules = [rule for rule in rules if event_type in rule.on]
    if not rules or events.is_empty():
        return []
    rows = events["row"].to_numpy()
    names = set(EVIDENCE).union(*(rule.names for rule in rules))
    own = [n for n in names if n.removeprefix("event.") in events.columns and n.startswith("event.")]
    told = select(events, (pl.col(name.removeprefix("event.")).alias(name) for name in own))
    signals = columns(View(state, rows), sorted(name for name in names if not name.startswith("event.")))
    signals = signals.hstack(told)
    # A rule on several types may name a field that only one of them has.
    if missing := names - set(signals.columns):
        signals = signals.with_columns(pl.lit(None).alias(name) for name in missing)
    cases = Cases(
        rows, signals, events["day"].to_numpy(), events["occurred_us"].to_numpy(), events["offset"].to_numpy()
    )
    met = []
    for rule in rules:
        true = evaluate(signals, rule.when.fill_null(value=False), rows.size).to_numpy()
        fresh = np.flatnonzero(true & ~state.episodes.has_open(rule.id, rows))
        _, first = np.unique(rows[fresh], return_index=True)
        if first.size:
            met.append((rule, cases.take(np.sort(fresh[first]))))
    return [open_episodes(state, met, standing=False)]


def _newly_met(state: State, rules: Sequence[Rule], found: Found, close: Close) -> list[tuple[Rule, Cases]]:
    """The cases of each rule that was newly met."""
    fresh = [(rule, np.concatenate(found.met[rule.id])) for rule in rules if rule.id in found.met]
    if not fresh:
        return []
    # Only those who meet a rule need what else rules name: evidence, severity, words.
    rows = np.concatenate([of_rule for _, of_rule in fresh])
    names = set(EVIDENCE).union(*(rule.names for rule, _ in fresh))
    same = (np.full(rows.size, value) for value in close)
    cases = Cases(rows, columns(View(state, rows), sorted(names)), *same)
    ends = np.cumsum([of_rule.size for _, of_rule in fresh]).tolist()
    return [
        (rule, cases.take(np.arange(end - of_rule.size, end))) for (rule, of_rule), end in zip(fresh, ends, strict=True)
    ]


def _verdicts(view: View, rules: Sequence[Rule]) -> dict[str, np.ndarray]:
    """Per rule `<id>:when` and `<id>:clear`, all judged in one select."""
    wanted: dict[str, pl.Expr] = {}
    for rule in rules:
        when = rule.when.fill_null(value=False)
        # A signal that is gone neither holds nor clears by itself: then the condition alone decides. So it does for
        # who has left, of whom nothing will ever clear again.
        clear = pl.lit(value=True) if rule.clear_when is None else rule.clear_when.fill_null(value=True)
        wanted |= {f"{rule.id}:when": when, f"{rule.id}:clear": ~when & (clear | pl.col("status").is_in(LOST))}
    names = {name for expression in wanted.values() for name in expression.meta.root_names()}
    made = select(columns(view, sorted(names)), (expression.alias(name) for name, expression in wanted.items()))
    return {name: np.broadcast_to(made[name].to_numpy(), view.rows.size) for name in wanted}


def _recover(state: State, found: Found, close: Close) -> pl.DataFrame:
    over = [
        pl.DataFrame({"row": np.concatenate(parts)}).with_columns(rule=pl.lit(rule))
        for rule, parts in found.over.items()
    ]
    if not over:
        return empty_transitions()
    frame = state.episodes.frame.filter(pl.col("state") != "resolved")
    return _end(state, frame.join(pl.concat(over), on=["row", "rule"], how="semi"), "recovered", close)


def _expire(state: State, rules: Sequence[Rule], close: Close) -> pl.DataFrame:
    """Episodes of event rules end when they have been kept long enough."""
    if state.episodes.frame.is_empty():
        return empty_transitions()
    keeps = pl.DataFrame(
        [(rule.id, rule.keep_for_days) for rule in rules if rule.keep_for_days is not None],
        schema={"rule": pl.String, "keep": pl.Int32},
        orient="row",
    )
    frame = state.episodes.frame.filter(pl.col("state") != "resolved").join(keeps, on="rule", how="inner")
    over = frame.filter(pl.col("raised_on").cast(pl.Int32) + pl.col("keep") <= close.day)
    return _end(state, over, "expired", close)


def _end(state: State, over: pl.DataFrame, outcome: str, close: Close) -> pl.DataFrame:
    if over.is_empty():
        return empty_transitions()
    lost = columns(View(state, over["row"].to_numpy()), ["status"])["status"].is_in(LOST)
    resolved = over.with_columns(
        transition=pl.lit("resolved"),
        state=pl.lit("resolved"),
        outcome=pl.when(lost).then(pl.lit("churned")).otherwise(pl.lit(outcome)),
        resolved_on=pl.lit(to_date(close.day)),
        changed_us=pl.lit(close.time_us),
        at=pl.lit(close.cut),
    )
    resolved = complete(resolved)
    state.episodes.change(resolved)
    return resolved
