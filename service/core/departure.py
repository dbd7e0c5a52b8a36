"""Who is lost for good: their rows are given to the next who come, so that a shard grows no further than its base."""

import numpy as np
import polars as pl

from service.core.events import CHANNELS
from service.core.state import State


def release_lost(state: State) -> int:
    """Free the rows of who was not heard of for very long; returns how many.

    They stay who hold a bundle, have a warning that is kept, or have forbidden anything: a refusal is not forgotten.
    To be called where a state is stored, so that who goes on from there has the same rows free.
    """
    if state.closed_day is None:
        return 0
    # Nothing that is kept by row, be it usage or what tells repeats apart, reaches back as far.
    reach = state.windows.reach_days + state.config.longest_horizon_days
    before = state.closed_day - max(state.config.lost_days, reach)
    rows = state.rows
    lost = rows[state.attributes["last_heard"][rows] < before]
    lost = lost[~np.isin(lost, _bound(state, state.closed_day))]
    for channel in CHANNELS:
        lost = lost[state.attributes[f"consent_{channel}"][lost] != 0]
    if lost.size:
        state.roster.release(lost)
        for part in (state.windows, state.activity, state.attributes):
            part.clear(lost)
        state.holdings.drop(pl.Series(lost))
    return int(lost.size)


def _bound(state: State, day: int) -> np.ndarray:
    """Rows of who holds a bundle, or is to hold one, or has an episode."""
    bundles = state.holdings.tables["bundles"].frame().filter(pl.col("linked") & (pl.col("ends") >= day))["row"]
    return pl.concat([bundles, state.episodes.frame["row"]]).to_numpy()
