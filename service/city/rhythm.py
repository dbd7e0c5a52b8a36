"""When things happen: local days, hours of usage, the grid of each subscriber's records, weekends and holidays."""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from service.city.profile import MEASURES, Profile
from service.city.quotas import Numbers
from service.core.calendar import day_end_us, month_of, to_day

MONTH_DAYS = 30  # levels are of so many
_SATURDAY = 5
# Usage by hour of the day, in thousandths; nothing of it before six, so that a day's mornings belong to its systems.
_HOURS = (0, 0, 0, 0, 0, 0, 12, 30, 52, 66, 70, 72, 75, 66, 58, 58, 62, 70, 78, 82, 74, 55, 28, 12)
_SECONDS_BY_CHANCE = np.repeat(np.arange(24) * 3600, _HOURS)


@dataclass(frozen=True, slots=True)
class CityDay:
    """A local day of the run: its place in the run, its day number since 1970, and the instants it starts and ends."""

    index: int
    number: int
    on: date
    start_us: int
    end_us: int

    @property
    def month(self) -> int:
        """The month it lies in, year * 12 + month - 1."""
        return month_of(self.number)


def city_day(start: date, index: int, zone: str) -> CityDay:
    """The day `index` days after `start` in `zone`."""
    number = to_day(start) + index
    return CityDay(index, number, start + timedelta(days=index), day_end_us(number - 1, zone), day_end_us(number, zone))


def seconds_of_usage(count: int, rng: np.random.Generator) -> Numbers:
    """Seconds of the local day (int64) at which usage is recorded: `count` of them, more in the evening."""
    hours = _SECONDS_BY_CHANCE[rng.integers(0, _SECONDS_BY_CHANCE.size, count)]
    return hours + rng.integers(0, 3600, count)


def seconds_between(first_hour: int, last_hour: int, count: int, rng: np.random.Generator) -> Numbers:
    """Seconds of the local day (int64), evenly between two full hours."""
    return rng.integers(first_hour * 3600, last_hour * 3600, count)


def is_due_loosely(index: int, every: Numbers, phase: Numbers, play_days: int) -> Numbers:
    """For each subscriber whether the day lies on the grid of so many days from a phase.

    Each point of the grid is moved by up to `play_days`: the rhythm of people, not of systems.
    `play_days` must be below half of the shortest interval. Each point is due once.
    """
    place = (index - phase + every // 2) // every
    rows = np.arange(every.size, dtype=np.uint64)
    moved = _scatter(rows * np.uint64(4096) + place.astype(np.uint64)) % np.uint64(2 * play_days + 1)
    due: Numbers = phase + place * every + moved.astype(np.int64) - play_days == index
    return due


def _scatter(values: Numbers) -> Numbers:
    """A 64-bit hash (splitmix64), so that a point is moved the same way on whichever day it is looked at."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    scattered: Numbers = mixed ^ (mixed >> np.uint64(31))
    return scattered


def group_of(market_number: Numbers, outside_holidays: Numbers) -> Numbers:
    """The column of a table of factors (see `day_factors`) that a subscriber reads."""
    group: Numbers = market_number * 2 + outside_holidays
    return group


def day_factors(profile: Profile, on: date) -> dict[str, list[float]]:
    """By measure, what a day multiplies usage by: for each market in turn, those its holidays move and those not.

    A week holds as much as seven usual days, however much its weekend differs.
    """
    factors = {}
    for measure in MEASURES:
        weekend = profile.weekend.get(measure, 1.0)
        usual = (weekend if on.weekday() >= _SATURDAY else 1.0) * 7 / (5 + 2 * weekend)
        row = []
        for market in profile.markets:
            for outside in (False, True):
                factor = usual
                for holiday in profile.holidays:
                    moves = not holiday.markets or (market in holiday.markets and not outside)
                    if moves and holiday.first <= on <= holiday.last:
                        factor *= holiday.factors.get(measure, 1.0)
                row.append(factor)
        factors[measure] = row
    return factors
