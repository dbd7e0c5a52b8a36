"""Whom to call first: the gravest warning, then how many signs say that somebody is leaving, then who brings most."""

import numpy as np
import polars as pl

from service.core.raising import evaluate
from service.core.rules import SEVERITIES, CallOrder, Sign
from service.core.selecting import with_columns
from service.core.signals import View, columns

# What the list is ordered by, each falling; who has no warning comes after all who have one.
KEYS = ("rank", "signs", "money_at_risk")
_RANKS = {severity: rank for rank, severity in enumerate(SEVERITIES, start=1)}


def signs(view: View, call_order: CallOrder) -> np.ndarray:
    """How many signs of leaving hold for each row (int32), as of its last closed day; what is unknown is no sign."""
    count = np.zeros(view.rows.size, np.int32)
    for sign in call_order.signs:
        count += holds(view, sign)
    return count


def holds(view: View, sign: Sign) -> np.ndarray:
    """Flags (bool) of the rows for which a condition is true."""
    told = columns(view, sorted(sign.names))
    flags: np.ndarray = evaluate(told, sign.when.fill_null(value=False), view.rows.size).to_numpy()
    return flags


def ranked(people: pl.DataFrame) -> pl.DataFrame:
    """People in the order of the call list.

    Takes subscriber_id, severity (of the gravest open warning, null without one), signs and money_at_risk; adds
    `rank` (of the severity, 0 without one). Where all is alike the id decides, so that the list is always the same.
    """
    rank = pl.col("severity").replace_strict(_RANKS, default=0, return_dtype=pl.Int8)
    return with_columns(people, rank=rank).sort(
        *(pl.col(key).fill_null(0) for key in KEYS), "subscriber_id", descending=[*[True] * len(KEYS), False]
    )
