"""A city's usage a column at a time: who uses how much is drawn once, the days follow from it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from service.core.calendar import DAY_US, to_day
from service.core.events import COMMON, FIELDS, Batch

# The tail that `feed` makes is of the day after it.
LAST_DAY = to_day(date(2024, 3, 3))
FIRST_ID = 861_380_000_000_000
EVENTS_A_DAY = 8
_BATCH = 50_000
_FADING, _GONE = 0.03, 0.01  # shares of subscribers who use less, and nothing, for the last month
_MONTH_DAYS = 30
_BILL_MONTH = 2024 * 12 + 2
# What somebody of level 1 uses on an ordinary day at most.
_MOST = {
    "spend": 300,
    "voice": 12,
    "voice_seconds": 700,
    "voice_in": 10,
    "data": 600_000_000,
    "sms": 3,
    "recharge": 100,
    "outgoing": 16,
}


@dataclass(frozen=True, slots=True)
class Habits:
    """Per subscriber: id, how much is used on a day, how often, and the share of it that is left in the last month."""

    ids: pl.Series
    levels: np.ndarray
    often: np.ndarray
    left: np.ndarray


def draw_habits(subscribers: int, seed: int = 1) -> Habits:
    """A few use much, most use something on two days of three, some are about to leave."""
    rng = np.random.default_rng(seed)
    fate = rng.random(subscribers)
    left = np.where(fate < _GONE, 0, np.where(fate < _GONE + _FADING, 0.2, 1.0)).astype(np.float32)
    ids = pl.Series("subscriber_id", np.arange(subscribers) + FIRST_ID).cast(pl.String)
    levels = rng.lognormal(0, 0.7, subscribers).astype(np.float32)
    return Habits(ids, levels, rng.beta(30, 12, subscribers).astype(np.float32), left)


def write_days(habits: Habits, days: range, measures: Sequence[str], folder: Path) -> None:
    """A Parquet file for each day, with a line for who used anything."""
    rng = np.random.default_rng(2)
    for day in days:
        active, amounts = used_on(habits, day, measures, rng)
        of_day = pl.lit(day, pl.Int32).cast(pl.Date).alias("day")
        lines = pl.DataFrame([habits.ids[active.astype(np.uint32)]]).with_columns(of_day)
        lines.hstack(pl.DataFrame(amounts)).write_parquet(folder / f"{day}.parquet", compression="lz4")


def used_on(
    habits: Habits, day: int, measures: Sequence[str], rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Who used anything on a day, by their numbers, and how much of each measure."""
    left = habits.left if day > LAST_DAY - _MONTH_DAYS else np.float32(1)
    active = np.flatnonzero(rng.random(len(habits.ids), np.float32) < habits.often * (left > 0))
    levels = (habits.levels * left)[active]
    return active, {
        measure: (1 + levels * _ordinary(rng, active.size) * _MOST[measure]).astype(np.int64) for measure in measures
    }


def _ordinary(rng: np.random.Generator, count: int) -> np.ndarray:
    """Days that differ, though not so much that every second month looks like a drop."""
    days: np.ndarray = 0.5 + 0.5 * rng.random(count, np.float32)
    return days


def write_profiles(habits: Habits, file: Path) -> None:
    """A table of profiles: a number each, and a market, a plan and a consent that many share."""
    number = pl.int_range(pl.len())
    habits.ids.to_frame().with_columns(
        msisdn=pl.col("subscriber_id").str.slice(2),
        market=pl.lit("market-") + (number % 12).cast(pl.String),
        plan=pl.lit("plan-") + (number % 40).cast(pl.String),
        fee_minor=(number % 40 * 100 + 1900).cast(pl.Int64),
        activated_on=pl.lit(date(2019, 1, 1)) + pl.duration(days=number % 1500),
        consent_call=number % 3 > 0,
    ).write_parquet(file)


def day_of_events(ids: pl.Series, day: int, seed: int) -> Iterator[Batch]:
    """A day's events of each of `ids`, in order of time, as columns such as decoding gives: no JSON is read."""
    rng = np.random.default_rng(seed)
    count = len(ids) * EVENTS_A_DAY
    whose = rng.permutation(np.repeat(np.arange(len(ids), dtype=np.uint32), EVENTS_A_DAY))
    times = day * DAY_US + np.sort(rng.integers(0, DAY_US, count))
    for start in range(0, count, _BATCH):
        numbers = np.arange(start, min(start + _BATCH, count))
        is_data = rng.random(numbers.size) < 0.6
        kinds = pl.Series(is_data).replace_strict({True: "usage.data", False: "charge"}, return_dtype=pl.String)
        common = {
            "offset": numbers,
            "id": pl.select(pl.format("evt-{}-{}", pl.lit(seed), pl.Series(numbers))).to_series(),
            "subscriber_id": ids[whose[numbers]],
            "type": kinds,
            "occurred_us": times[numbers],
        }
        amounts = rng.integers(1, 100, numbers.size)
        yield Batch(
            pl.DataFrame(common, schema=COMMON),
            {
                "usage.data": _typed("usage.data", is_data, bytes=amounts[is_data] * 1_000_000, in_package=True),
                "charge": _typed(
                    "charge", ~is_data, amount_minor=amounts[~is_data], kind="usage", bill_month=_BILL_MONTH
                ),
            },
            int(numbers[-1]) + 1,
        )


def _typed(event_type: str, chosen: np.ndarray, **told: object) -> pl.DataFrame:
    at = pl.DataFrame({"at": np.flatnonzero(chosen)}, schema={"at": pl.UInt32()})
    return at.with_columns(
        (pl.Series(value) if isinstance(value := told.get(name), np.ndarray) else pl.lit(value)).cast(dtype).alias(name)
        for name, dtype in FIELDS[event_type].items()
    )
