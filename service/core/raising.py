"""The lines of episodes: id, severity, numbers, wanted orders and words, for all subscribers of a rule at once."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl

from service.core.episodes import episode_id
from service.core.events import CHANNELS
from service.core.publication import LEAVING, WANTED
from service.core.rules import ACT_WITHIN_DAYS, Rule
from service.core.selecting import select, with_columns
from service.core.sentences import render
from service.core.state import State
from service.core.turn import TRANSITIONS

_WISH = "wish:"
_quoted = json.encoder.encode_basestring  # what json.dumps makes of a text, without making an encoder for each
# What every episode says of its subscriber, whatever its rule reads.
EVIDENCE = ("money_at_risk", "market", "area", "manager", "porting", *(f"consent_{channel}" for channel in CHANNELS))


@dataclass(frozen=True, slots=True)
class Cases:
    """Subscribers who meet a rule: row, its signals, and the day, instant and offset at which it was met.

    `held_days`: the first of the days in a row on which it held.
    """

    rows: np.ndarray
    signals: pl.DataFrame
    days: np.ndarray
    times_us: np.ndarray
    offsets: np.ndarray
    held_days: np.ndarray

    def take(self, at: np.ndarray) -> "Cases":
        """Some of the cases."""
        moved = (one[at] for one in (self.days, self.times_us, self.offsets, self.held_days))
        return Cases(self.rows[at], self.signals[at], *moved)

    def held_since(self, days: np.ndarray) -> "Cases":
        """The same, which have held since some days."""
        return replace(self, held_days=days)


def complete(frame: pl.DataFrame) -> pl.DataFrame:
    """The columns of TRANSITIONS, and row where there is one; null where `frame` lacks one."""
    there = frame.schema
    wanted = {"row": pl.Int32(), **TRANSITIONS} if "row" in there else TRANSITIONS
    columns = (
        pl.col(name).cast(dtype) if name in there else pl.lit(None, dtype).alias(name) for name, dtype in wanted.items()
    )
    return select(frame, columns)


def evaluate(frame: pl.DataFrame, expression: pl.Expr, rows: int) -> pl.Series:
    """An expression over `frame`, one value per row also where it names no column."""
    values = select(frame, expression.alias("value")).to_series()
    return values if len(values) == rows else values.new_from_index(0, rows)


PENDING, PENDING_STANDING = "pending", "pending:standing"


def pending_lines(
    state: State, rule: Rule, rows: np.ndarray, at: tuple[int, int, int], *, stands: bool
) -> pl.DataFrame:
    """One line per row that has begun to meet a rule with `for`; `at`: the day, the instant and the cut of the close.

    `stands`: it began on the rule's first day, so that it will be no news when it has held long enough.
    """
    held_day, time_us, offset = at
    ids = state.roster.take(rows)
    return complete(
        with_columns(
            pl.DataFrame({"row": rows, "subscriber_id": ids, "episode_id": _ids(ids, rule, [held_day] * rows.size)}),
            transition=pl.lit("pending"),
            rule=pl.lit(rule.id),
            rule_version=pl.lit(rule.version),
            kind=pl.lit(rule.kind),
            state=pl.lit("pending"),
            severity=pl.lit(rule.default_severity),
            suppressed_by=pl.lit(PENDING_STANDING if stands else PENDING),
            held_on=pl.lit(held_day, pl.Int32).cast(pl.Date),
            changed_us=pl.lit(time_us),
            numbers=pl.lit("{}"),
            consent=pl.lit("{}"),
            orders=pl.lit("{}"),
            why=pl.lit("{}"),
            at=pl.lit(offset),
        )
    )


def raised_lines(state: State, rule: Rule, cases: Cases) -> pl.DataFrame:
    """One line per case: row, and the columns of TRANSITIONS of an episode that is raised, its orders only wanted."""
    told = _told(rule, cases)
    ids = state.roster.take(cases.rows)
    raised_on = pl.Series(cases.days, dtype=pl.Int32)
    lines = pl.DataFrame(
        {
            "row": cases.rows,
            "subscriber_id": ids,
            "episode_id": _ids(ids, rule, cases.held_days.tolist()),
            "severity": told["severity"],
            "held_on": pl.Series(cases.held_days, dtype=pl.Int32).cast(pl.Date),
            "raised_on": raised_on.cast(pl.Date),
            "raised_us": cases.times_us,
            "changed_us": cases.times_us,
            "act_by": (raised_on + told["act_within"]).cast(pl.Date),
            "numbers": told["numbers"],
            "money_at_risk_minor": told["money_at_risk"],
            "consent": told["consent"],
            "orders": _orders(rule, told),
            "why": _why(rule, told, state.config.minor_digits),
            **told.select("market", "area", "manager").to_dict(),
            "at": cases.offsets,
        }
    )
    named = with_columns(
        lines,
        transition=pl.lit("raised"),
        rule=pl.lit(rule.id),
        rule_version=pl.lit(rule.version),
        kind=pl.lit(rule.kind),
        state=pl.lit("raised"),
        measure=pl.lit(rule.measure),
        window_days=pl.lit(rule.window_days),
    )
    return complete(named)


def severity_of(rule: Rule) -> pl.Expr:
    """How urgent it is: the first severity whose condition holds, else the rule's default."""
    severity = pl.lit(rule.default_severity)
    for level, condition in reversed(rule.severities):
        severity = pl.when(condition.fill_null(value=False)).then(pl.lit(level)).otherwise(severity)
    return severity


def _ids(subscriber_ids: pl.Series, rule: Rule, days: Sequence[int]) -> list[str]:
    return [episode_id(who, rule.id, day) for who, day in zip(subscriber_ids.to_list(), days, strict=True)]


def _told(rule: Rule, cases: Cases) -> pl.DataFrame:
    """The signals of the cases, and beside them all that expressions say of an episode."""
    consents = [pl.col(f"consent_{channel}").alias(channel) for channel in CHANNELS]
    return with_columns(
        with_columns(cases.signals, severity=severity_of(rule)),
        act_within=pl.col("severity").replace_strict(ACT_WITHIN_DAYS, return_dtype=pl.Int32),
        numbers=pl.struct(rule.numbers).struct.json_encode() if rule.numbers else pl.lit("{}"),
        consent=pl.struct(consents).struct.json_encode(),
        ports=pl.col("porting").is_in(LEAVING),
        **{
            f"{_WISH}{channel}": pl.any_horizontal(
                pl.lit(value=True) if order.when is None else order.when.fill_null(value=False)
                for order in rule.orders
                if order.channel == channel
            )
            for channel in {order.channel for order in rule.orders}
        },
    )


def _orders(rule: Rule, told: pl.DataFrame) -> list[str]:
    ports = told["ports"].to_list()
    said: dict[str, list[str | None]] = {}
    for channel in dict.fromkeys(order.channel for order in rule.orders):
        wanted, consents = told[f"{_WISH}{channel}"].to_list(), told[f"consent_{channel}"].to_list()
        said[channel] = [
            _order(rule, consent=consent, porting=porting) if is_wanted else None
            for is_wanted, consent, porting in zip(wanted, consents, ports, strict=True)
        ]
    written = lru_cache(lambda *each: json.dumps({c: one for c, one in zip(said, each, strict=True) if one}))
    return list(map(written, *said.values())) if said else ["{}"] * told.height


def _order(rule: Rule, *, consent: bool | None, porting: bool) -> str:
    """`wanted`, or the law's reason against it."""
    reasons = (("restricted", rule.kind == "restricted"), ("porting", porting), ("no_consent", not consent))
    return next((reason for reason, holds in reasons if holds), WANTED)


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
