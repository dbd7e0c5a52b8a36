"""Opening an episode: its id, severity, numbers, orders and words, for all subscribers of a rule at once."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl

from service.core.episodes import empty_transitions, episode_id
from service.core.events import CHANNELS
from service.core.rules import ACT_WITHIN_DAYS, Rule
from service.core.selecting import select, with_columns
from service.core.sentences import render
from service.core.state import State
from service.core.turn import CONTACTS, TRANSITIONS

_LEAVING = ("code_issued", "requested", "ported")  # who asked to port, or has, must not be courted
_WANTED = "wanted:"
_quoted = json.encoder.encode_basestring  # what json.dumps makes of a text, without making an encoder for each
# What every episode says of its subscriber, whatever its rule reads.
EVIDENCE = ("money_at_risk", "market", "area", "manager", "porting", *(f"consent_{channel}" for channel in CHANNELS))


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


def open_episodes(state: State, met: Sequence[tuple[Rule, Cases]], *, standing: bool) -> pl.DataFrame:
    """Open an episode for each case that has none of its rule and first day; returns the transitions.

    A rule's cases are of different subscribers, and their signals hold its names and those of EVIDENCE.
    """
    parts = [_lines(state, rule, cases, standing=standing) for rule, cases in met if cases.rows.size]
    if not parts:
        return empty_transitions()
    lines = pl.concat(parts, how="vertical_relaxed")
    lines = state.episodes.unknown(lines)
    raised = complete(lines)
    state.episodes.open(lines["row"].to_numpy(), raised)
    return raised


def complete(frame: pl.DataFrame) -> pl.DataFrame:
    """The columns of TRANSITIONS, null where `frame` lacks one."""
    there = frame.schema
    columns = (
        pl.col(name).cast(dtype) if name in there else pl.lit(None, dtype).alias(name)
        for name, dtype in TRANSITIONS.items()
    )
    return select(frame, columns)


def orders_of(transitions: pl.DataFrame) -> pl.DataFrame:
    """The contacts (columns of CONTACTS) that raised transitions order."""
    if transitions.is_empty():
        return pl.DataFrame(schema=CONTACTS)
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
    values = select(frame, expression.alias("value")).to_series()
    return values if len(values) == rows else values.new_from_index(0, rows)


def _lines(state: State, rule: Rule, cases: Cases, *, standing: bool) -> pl.DataFrame:
    """One line per case: row, and what TRANSITIONS needs of a raised episode."""
    standing = standing or rule.status == "experimental"
    told = _told(rule, cases)
    ids = state.roster.take(cases.rows)
    raised_on = pl.Series(cases.days, dtype=pl.Int32)
    lines = pl.DataFrame(
        {
            "row": cases.rows,
            "subscriber_id": ids,
            "episode_id": [
                episode_id(who, rule.id, day) for who, day in zip(ids.to_list(), cases.days.tolist(), strict=True)
            ],
            "severity": told["severity"],
            "raised_on": raised_on.cast(pl.Date),
            "raised_us": cases.times_us,
            "changed_us": cases.times_us,
            "act_by": (raised_on + told["act_within"]).cast(pl.Date),
            "numbers": told["numbers"],
            "money_at_risk_minor": told["money_at_risk"],
            "consent": told["consent"],
            "orders": _orders(rule, told, standing=standing),
            "why": _why(rule, told, state.config.minor_digits),
            **told.select("market", "area", "manager").to_dict(),
            "at": cases.offsets,
        }
    )
    return with_columns(
        lines,
        transition=pl.lit("raised"),
        rule=pl.lit(rule.id),
        rule_version=pl.lit(rule.version),
        kind=pl.lit(rule.kind),
        state=pl.lit("raised"),
        standing=pl.lit(standing),
        measure=pl.lit(rule.measure),
        window_days=pl.lit(rule.window_days),
    )


def _told(rule: Rule, cases: Cases) -> pl.DataFrame:
    """The signals of the cases, and beside them all that expressions say of an episode."""
    severity = pl.lit(rule.default_severity)
    for level, condition in reversed(rule.severities):
        severity = pl.when(condition.fill_null(value=False)).then(pl.lit(level)).otherwise(severity)
    consents = [pl.col(f"consent_{channel}").alias(channel) for channel in CHANNELS]
    return with_columns(
        with_columns(cases.signals, severity=severity),
        act_within=pl.col("severity").replace_strict(ACT_WITHIN_DAYS, return_dtype=pl.Int32),
        numbers=pl.struct(rule.numbers).struct.json_encode() if rule.numbers else pl.lit("{}"),
        consent=pl.struct(consents).struct.json_encode(),
        ports=pl.col("porting").is_in(_LEAVING),
        **{
            f"{_WANTED}{channel}": pl.any_horizontal(
                pl.lit(value=True) if order.when is None else order.when.fill_null(value=False)
                for order in rule.orders
                if order.channel == channel
            )
            for channel in {order.channel for order in rule.orders}
        },
    )


def _orders(rule: Rule, told: pl.DataFrame, *, standing: bool) -> list[str]:
    ports = told["ports"].to_list()
    said: dict[str, list[str | None]] = {}
    for channel in dict.fromkeys(order.channel for order in rule.orders):
        wanted, consents = told[f"{_WANTED}{channel}"].to_list(), told[f"consent_{channel}"].to_list()
        said[channel] = [
            _order(rule, consent=consent, porting=porting, standing=standing) if is_wanted else None
            for is_wanted, consent, porting in zip(wanted, consents, ports, strict=True)
        ]
    written = lru_cache(lambda *each: json.dumps({c: one for c, one in zip(said, each, strict=True) if one}))
    return list(map(written, *said.values())) if said else ["{}"] * told.height


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


def _why(rule: Rule, told: pl.DataFrame, minor_digits: int) -> list[str]:
    named = {"money_at_risk", *rule.names, *rule.numbers}
    names = [name for name in told.columns if name in named]
    templates = [(f"{_quoted(lang)}: ", template) for lang, template in rule.why.items()]
    return [
        _sentences(templates, {**rule.params, **dict(zip(names, line, strict=True))}, minor_digits)
        for line in told.select(names).iter_rows()
    ]


def _sentences(templates: Sequence[tuple[str, str]], numbers: Mapping[str, Any], minor_digits: int) -> str:
    said = (f"{key}{_quoted(render(template, numbers, minor_digits))}" for key, template in templates)
    return f"{{{', '.join(said)}}}"
