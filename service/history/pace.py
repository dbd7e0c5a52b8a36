"""A file's events at the pace of a clock that runs `speed` times as fast as theirs; decides when, sends nothing."""

from collections.abc import Iterator
from typing import NamedTuple

import polars as pl

_STEP_S = 0.05  # events due within so long are sent together
_MOST = 20_000


class Portion(NamedTuple):
    """Events (columns of EVENTS) that are due together, so many seconds after the start."""

    due_s: float
    events: pl.DataFrame


def portions(events: pl.DataFrame, speed: float | None) -> Iterator[Portion]:
    """Events in the order given, cut where they are due: all at once without a speed.

    An event dated before one that precedes it is due with it: late records stay late.
    """
    if events.is_empty():
        return
    times = events["occurred_us"].fill_null(strategy="forward").fill_null(strategy="backward").fill_null(0)
    behind_us = (times.cum_max() - (times.first() or 0)).clip(lower_bound=0)
    due = behind_us.cast(pl.Float64) / 1e6 / speed // _STEP_S if speed else pl.zeros(events.height, eager=True)
    starts = (due != due.shift(1)).fill_null(value=True).arg_true().to_list()
    for start, end in zip(starts, [*starts[1:], events.height], strict=True):
        for at in range(start, end, _MOST):
            yield Portion(float(due[start]) * _STEP_S, events[at : min(at + _MOST, end)])
