"""Small rulebooks for tests of the core, made of bare expressions."""

from dataclasses import replace
from typing import Any

import polars as pl

from service.core.rules import Dimension, Order, Rule, Rulebook, SegmentBands


def rule(name: str, when: pl.Expr, **changes: Any) -> Rule:
    """A rule with unremarkable values everywhere else."""
    names = set(when.meta.root_names())
    plain: dict[str, Any] = {
        "id": name,
        "family": "test",
        "version": 1,
        "kind": "risk",
        "status": "stable",
        "owner": "test",
        "runbook": "",
        "on": (),
        "when": when,
        "clear_when": None,
        "severities": (),
        "default_severity": "notice",
        "names": frozenset(names),
        "numbers": tuple(sorted(names)),
        "measure": None,
        "window_days": None,
        "keep_for_days": None,
        "orders": (),
        "offer": None,
        "why": {"en": name},
        "avoid": {},
        "params": {},
    }
    return Rule(**(plain | changes))


def book(*rules: Rule, **more: Any) -> Rulebook:
    return Rulebook(hash="test", rules=rules, **more)


CALL = Order("call", None)

MIXED = book(
    rule("spend_low", (pl.col("spend_7d") < 1000) & (pl.col("status") == "normal"), orders=(CALL,)),
    rule("silent", pl.col("days_silent") >= 3, clear_when=pl.col("days_silent") < 1),
    rule(
        "complained",
        (pl.col("status") != "cancelled") & (pl.col("spend_7d") > 0) & pl.col("event.topic").is_not_null(),
        names=frozenset({"status", "spend_7d", "event.topic", "fee"}),
        numbers=("spend_7d", "status", "fee", "event.topic"),
        severities=(("critical", pl.col("spend_7d") > 5000),),
        on=("complaint.opened",),
        keep_for_days=2,
        orders=(CALL,),
    ),
    rule(
        "cheaper",
        pl.col("event.fee_minor") < pl.col("fee"),
        on=("subscriber.profile",),
        keep_for_days=1,
    ),
    # Over a day, so that there is hardly one on which nobody comes into another segment.
    bands=(SegmentBands("spend", 1, 0.1, 0.3, 100), SegmentBands("data", 1, 0.2, 0.5, 10)),
    dimensions=(Dimension("spend", 200, (0, 20_000)), Dimension("market", 600, values=("campus",))),
)

# Takes the place of MIXED: a rule changed, one new, an event rule that minds less, two gone, other bands.
OTHER = replace(
    book(
        replace(MIXED.rules[0], version=2, when=pl.col("spend_7d") < 2000),
        rule("active", pl.col("spend_7d") > 100),
        rule("cheaper", pl.col("event.fee_minor") < pl.col("fee") - 1, on=("subscriber.profile",), keep_for_days=2),
        bands=(SegmentBands("data", 1, 0.1, 0.2, 100), SegmentBands("spend", 1, 0.3, 0.6, 10)),
        dimensions=MIXED.dimensions,
    ),
    hash="other",
)
