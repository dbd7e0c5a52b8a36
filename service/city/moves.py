"""The single events by which fates become known, laid out for the whole run in one go: they are few."""

from datetime import date

import numpy as np
import polars as pl

from service.city.encode import LINES, Draft, encode, gather_lines
from service.city.fates import FATES, Move
from service.city.quotas import Numbers
from service.city.rhythm import city_day


def moves_of_run(people: pl.DataFrame, start: date, days: int, zone: str, rng: np.random.Generator) -> pl.DataFrame:
    """All moves of a run: a frame of LINES in order of time."""
    starts_us = pl.Series([city_day(start, index, zone).start_us for index in range(days)])
    parts = []
    for name, fate in FATES.items():
        met = people.filter(pl.col("fate") == name)
        # One hour of the day for each subscriber, so that the moves of one day keep their order.
        seconds = rng.integers(9 * 3600, 20 * 3600, met.height)
        for number, move in enumerate(fate.moves):
            drafted = _draft(met.with_columns(second=pl.Series(seconds + 60 * number)), move, start, starts_us)
            if drafted.rows.size:
                parts.append(encode(drafted, people["subscriber_id"]))
    return gather_lines(parts) if parts else pl.DataFrame(schema=LINES)


def _draft(met: pl.DataFrame, move: Move, start: date, starts_us: pl.Series) -> Draft:
    at = (
        met.with_columns(day=pl.col("begins") + move.after_days)
        .filter(pl.col("day").is_between(0, starts_us.len() - 1))
        .with_columns(on=pl.lit(start) + pl.duration(days="day"))
    )
    told = at.select(**move.fields)
    at_us: Numbers = starts_us.gather(at["day"]).to_numpy() + at["second"].to_numpy() * 1_000_000
    # Constant fields come back as one value.
    fields = {
        name: values if values.len() == at.height else values.new_from_index(0, at.height)
        for name, values in zip(told.columns, told.get_columns(), strict=True)
    }
    rows: Numbers = at["row"].to_numpy().astype(np.int64)
    return Draft(move.type, "m", rows, at_us, fields)
