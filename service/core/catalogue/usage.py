"""Signals of usage: by measure and window the sum, what it is compared with and the drop; rhythm, silence, tiers."""

from collections.abc import Iterator, Sequence

import polars as pl

from service.core.calendar import month_days
from service.core.catalogue.signal import (
    F64,
    I8,
    I32,
    I64,
    TODAY,
    Made,
    Signal,
    Terms,
    days_since,
    drop,
    known_day,
    nearest,
)
from service.core.measures import MEASURES

ACTIVE, GAP = "active_days_", "outgoing_gap_"  # raw columns, followed by the window
COMPARED = ("_cohort", "_expected")  # and those that a window's name is followed by
_MONTH_DAYS, _QUARTER_DAYS = 30, 90

# What a tier is of is what was usual before the window, so that a drop does not move its own tier.
_TIERED = ("spend", "voice", "data")
_LASTS = {
    "outgoing": "outgoing event",
    "voice": "outgoing call",
    "data": "data session",
    "sms": "message sent",
    "spend": "usage charge",
}


def windowed(terms: Terms) -> Made:
    """By measure and window."""
    return {name: made for days in terms.windows_days for name, made in _of_window(days, terms)}


def _of_window(days: int, terms: Terms) -> Iterator[tuple[str, tuple[Signal, pl.Expr]]]:
    for measure, (unit, meaning) in MEASURES.items():
        name, now = f"{measure}_{days}d", pl.col(f"{measure}_{days}d")
        yield name, (Signal(I64, unit, f"{meaning}; closed days, last {days}"), now)
        for suffix, meant, baseline in _baselines(measure, days, terms):
            fell = f"how far {name} fell below {name}_baseline{suffix}"
            yield f"{name}_baseline{suffix}", (Signal(F64, unit, meant, "that is not known"), baseline)
            yield (
                f"{name}_drop{suffix}",
                (Signal(F64, "ratio", fell, "there is no positive baseline"), drop(now, baseline)),
            )
        yield from _beside_others(name)
    used = pl.col(f"{ACTIVE}{days}d")
    yield (
        f"active_days_{days}d",
        (Signal(I32, "days", f"days of the last {days} closed ones with an outgoing event"), used),
    )
    idle = f"days of the last {days} closed ones without an outgoing event, those before the first known included"
    yield f"zero_days_{days}d", (Signal(I32, "days", idle), days - used)


def _beside_others(name: str) -> Iterator[tuple[str, tuple[Signal, pl.Expr]]]:
    kept = f"what comparable subscribers kept of the baseline of {name}, on the median; 1 is all of it"
    below = f"how far {name} fell below what calendar and comparable subscribers let one expect of its baseline"
    expected = pl.col(f"{name}_before") / 2 * pl.col(f"{name}_expected")
    yield (
        f"{name}_cohort",
        (Signal(F64, "factor", kept, "fewer than 200 are comparable"), pl.col(f"{name}_cohort").fill_nan(None)),
    )
    yield (
        f"{name}_drop_vs_cohort",
        (Signal(F64, "ratio", below, "there is no positive baseline"), drop(pl.col(name), expected)),
    )


def _baselines(measure: str, days: int, terms: Terms) -> Iterator[tuple[str, str, pl.Expr]]:
    """The suffix, the meaning and the making of what a window is compared with."""
    name = f"{measure}_{days}d"
    yield "", f"the {2 * days} days before the window of {name}, halved", pl.col(f"{name}_before") / 2
    if terms.year_on_year:
        yield "_last_year", f"the window of {name} 364 days ago", pl.col(f"{name}_last_year").cast(pl.Float64)
    if terms.photo_month is not None:
        photo = pl.col(f"{measure}_photo") * days / len(month_days(terms.photo_month))
        yield "_photo", f"the month photographed, as if it had {days} days", photo


def rhythm(terms: Terms) -> Made:
    """How often something was used, and for how long it was not."""
    days = max((d for d in terms.windows_days if d <= _QUARTER_DAYS), default=min(terms.windows_days))
    silent = "days since the last outgoing event, or since first seen where none is known"
    usual = f"mean days between days with an outgoing event, in the last {days} closed days"
    return {
        "days_silent": (
            Signal(I32, "days", silent),
            days_since(pl.coalesce(known_day("last_outgoing"), "first_seen")),
        ),
        **{
            f"days_since_{measure}": (
                Signal(I32, "days", f"days since the last {what}", "none is known"),
                days_since(known_day(f"last_{measure}")),
            )
            for measure, what in _LASTS.items()
        },
        "outgoing_gap_days": (
            Signal(F64, "days", usual, "there are fewer than five such gaps"),
            pl.col(f"{GAP}{days}d"),
        ),
    }


def tiers(terms: Terms) -> Made:
    """The rank of each dimension's tier; the usual is that of a month, scaled where no window is a month."""
    days = nearest(terms.windows_days, _MONTH_DAYS)
    tops = dict(terms.tops)
    made = {}
    for measure in _TIERED:
        usual = pl.col(f"{measure}_{days}d_before") / 2 * (_MONTH_DAYS / days)
        of = f"tier of {measure}_{days}d_baseline among those of the {measure} dimension, from 1"
        made[f"{measure}_tier"] = (
            Signal(I8, "rank", of, "the rulebook has no such dimension"),
            tier(usual, tops.get(measure, ())),
        )
    since = TODAY - days - known_day("activated_on")
    of = f"tier of the days since activation, {days} days ago, among those of the tenure dimension, from 1"
    made["tenure_tier"] = (
        Signal(I8, "rank", of, "the activation is unknown, or the rulebook has no such dimension"),
        tier(since, tops.get("tenure", ())),
    )
    return made


def tier(value: pl.Expr, tops: Sequence[int]) -> pl.Expr:
    """The rank of a figure among upper bounds, each of which belongs to the tier it ends; null where that is."""
    if not tops:
        return pl.when(value.is_null()).then(pl.lit(None, I8))  # null for every row, not one for all
    bounds = pl.lit(pl.Series(tops, dtype=F64))
    ranks = bounds.search_sorted(value.cast(F64), side="left") + 1
    return pl.when(value.is_not_null()).then(ranks.cast(I8))
