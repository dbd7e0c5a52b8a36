"""Opening an episode: its id, severity, numbers, orders and words, for all subscribers of a rule at once."""

import json
from dataclasses import dataclass

import numpy as np
import polars as pl

from service.core.episodes import empty_transitions, episode_id
from service.core.events import CHANNELS
from service.core.rules import ACT_WITHIN_DAYS, Rule
from service.core.sentences import render
from service.core.signals import View, columns
from service.core.state import State
from service.core.turn import CONTACTS, TRANSITIONS

_PORTS = ("code_issued", "requested")  # who asked to port must not be courted
_ALWAYS = ("money_at_risk", "market", "area", "manager", "porting", *(f"consent_{channel}" for channel in CHANNELS))


@dataclass(frozen=True, slots=True)
class Cases:
    """Subscribers who meet a rule: row, its signals, and the day, instant and offset at which it was met."""

    rows: np.ndarray
    signals: pl.DataFrame
    days: np.ndarray
    times_us: np.ndarray
    offsets: np.ndarray

    def take(self, at: np.ndarray) -> "Cases":
        """Some of the cases."""
        return Cases(self.rows[at], self.signals[at], self.days[at], self.times_us[at], self.offsets[at])


def open_episodes(state: State, rule: Rule, cases: Cases, *, standing: bool) -> pl.DataFrame:
    """Open an episode for each case that has none of the same first day; returns the transitions."""
    if cases.rows.size == 0:
        return empty_transitions()
    standing = standing or rule.status == "experimental"
    ids = state.roster.take(cases.rows)
    episode_ids = pl.Series(
        [episode_id(who, rule.id, day) for who, day in zip(ids.to_list(), cases.days.tolist(), strict=True)],
        dtype=pl.String,
    )
    fresh = np.flatnonzero(~state.episodes.known(episode_ids).to_numpy())
    if fresh.size == 0:
        return empty_transitions()
    raised = _lines(state, rule, cases.take(fresh), standing=standing).with_columns(
        subscriber_id=ids.gather(fresh), episode_id=episode_ids.gather(fresh)
    )
    raised = complete(raised)
    state.episodes.open(cases.rows[fresh], raised)
    return raised


def complete(frame: pl.DataFrame) -> pl.DataFrame:
    """The columns of TRANSITIONS, null where `frame` lacks one."""
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in TRANSITIONS.items() if name not in frame.columns]
    return frame.with_columns(missing).select(pl.col(name).cast(dtype) for name, dtype in TRANSITIONS.items())


def orders_of(transitions: pl.DataFrame) -> pl.DataFrame:
    """The contacts (columns of CONTACTS) that raised transitions order."""
    ordered = pl.col("orders").str.contains('"ordered"', literal=True)
    raised = transitions.filter((pl.col("transition") == "raised") & ordered)
    lines = [
        (row["subscriber_id"], channel, row["raised_on"], row["episode_id"], "ordered")
        for row in raised.select("subscriber_id", "orders", "raised_on", "episode_id").to_dicts()
        for channel, said in json.loads(row["orders"]).items()
        if said == "ordered"
    ]
    return pl.DataFrame(lines, schema=CONTACTS, orient="row")


def evaluate(frame: pl.DataFrame, expression: pl.Expr, rows: int) -> pl.Series:
    """An expression over `frame`, one value per row also where it names no column."""
    values = frame.select(expression.alias("value")).to_series()
    return values if len(values) == rows else values.new_from_index(0, rows)


def _lines(state: State, rule: Rule, cases: Cases, *, standing: bool) -> pl.DataFrame:
    known = columns(View(state, cases.rows), _ALWAYS)
    severity = _severity(rule, cases)
    act_within = severity.replace_strict(ACT_WITHIN_DAYS, return_dtype=pl.Int32)
    raised_on = pl.Series(cases.days, dtype=pl.Int32)
    columns_by_name = {
        "severity": severity,
        "raised_on": raised_on.cast(pl.Date),
        "raised_us": cases.times_us,
        "changed_us": cases.times_us,
        "act_by": (raised_on + act_within).cast(pl.Date),
        "numbers": _numbers(rule, cases),
        "money_at_risk_minor": known["money_at_risk"],
        "consent": _consent(known),
        "orders": _orders(rule, cases, severity, known, standing=standing),
        "why": _why(rule, cases, known["money_at_risk"], state.config.minor_digits),
        "market": known["market"],
        "area": known["area"],
        "manager": known["manager"],
        "at": cases.offsets,
    }
    return pl.DataFrame(columns_by_name).with_columns(
        transition=pl.lit("raised"),
        rule=pl.lit(rule.id),
        rule_version=pl.lit(rule.version),
        kind=pl.lit(rule.kind),
        state=pl.lit("raised"),
        standing=pl.lit(standing),
        measure=pl.lit(rule.measure),
        window_days=pl.lit(rule.window_days),
    )


def _severity(rule: Rule, cases: Cases) -> pl.Series:
    expression = pl.lit(rule.default_severity)
    for level, condition in reversed(rule.severities):
        expression = pl.when(condition.fill_null(value=False)).then(pl.lit(level)).otherwise(expression)
    return evaluate(cases.signals, expression, cases.rows.size)


def _numbers(rule: Rule, cases: Cases) -> pl.Series:
    if not rule.numbers:
        return pl.Series(["{}"]).new_from_index(0, cases.rows.size)
    return cases.signals.select(pl.struct(rule.numbers).struct.json_encode()).to_series()


def _consent(known: pl.DataFrame) -> pl.Series:
    named = [pl.col(f"consent_{channel}").alias(channel) for channel in CHANNELS]
    return known.select(pl.struct(named).struct.json_encode()).to_series()


def _orders(rule: Rule, cases: Cases, severity: pl.Series, known: pl.DataFrame, *, standing: bool) -> list[str]:
    orders: list[dict[str, str]] = [{} for _ in cases.rows]
    ports = known["porting"].is_in(_PORTS).to_list()
    signals = cases.signals.with_columns(severity=severity)
    for order in rule.orders:
        condition = pl.lit(value=True) if order.when is None else order.when.fill_null(value=False)
        wanted = evaluate(signals, condition, cases.rows.size).to_list()
        consents = known[f"consent_{order.channel}"].to_list()
        for at in np.flatnonzero(wanted).tolist():
            orders[at][order.channel] = _order(rule, consent=consents[at], porting=ports[at], standing=standing)
    return [json.dumps(order) for order in orders]


def _order(rule: Rule, *, consent: bool | None, porting: bool, standing: bool) -> str:
    """`ordered`, or why it is withheld: the law's reasons before our own."""
    reasons = (
        ("restricted", rule.kind == "restricted"),
        ("porting", porting),
        ("no_consent", not consent),
        ("experimental", rule.status == "experimental"),
        ("standing", standing),
    )
    return next((reason for reason, holds in reasons if holds), "ordered")


def _why(rule: Rule, cases: Cases, money: pl.Series, minor_digits: int) -> list[str]:
    named = cases.signals.select(n for n in cases.signals.columns if n in rule.names or n in rule.numbers)
    lines = named.with_columns(money_at_risk=money).to_dicts()
    return [
        json.dumps(
            {lang: render(template, {**rule.params, **line}, minor_digits) for lang, template in rule.why.items()},
            ensure_ascii=False,
        )
        for line in lines
    ]
