"""What thirty days hold: usage is planned for a month at a time, and shared out over the few records that tell of it.

So a month's sum is the subscriber's own, whichever days its records fall on, and to the unit. Months of thirty days
follow one another so that one ends on the day to be judged (of a profile that names none, from the first day on).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from service.city.profile import MEASURES, Profile
from service.city.quotas import Numbers
from service.city.rhythm import MONTH_DAYS, day_factors, group_of

Columns = Mapping[str, Numbers]
Amounts = tuple[Numbers, Numbers]  # rows, and how much each of their records holds

_FADING_DAYS = 6  # a habit is not lost overnight


def is_present(people: Columns, index: Numbers | int, rows: Numbers | slice = slice(None)) -> Numbers:
    """Whether the lines of some subscribers exist on days of the run; shapes go together as numpy has them."""
    present: Numbers = (people["joins"][rows] <= index) & (index < people["leaves"][rows])
    return present


def course_factors(people: Columns, measure: str, index: Numbers | int, rows: Numbers) -> Numbers:
    """What their fate has left of a measure on days of the run, for subscribers `rows` (float64; 1: all of it).

    `rows` and `index` go together as numpy has shapes: rows as a column and days as a line give a table.
    """
    begins, goal = people["begins"][rows], people[f"{measure}_goal"][rows]
    concerned = (begins <= index) & (index < people["passes"][rows])
    way = np.clip((index - begins + 1) / _FADING_DAYS, 0, 1)
    # What stops, stops at once.
    factors: Numbers = np.where(concerned, np.where(goal == 0, 0.0, 1 + (goal - 1) * way), 1.0)
    if measure in MEASURES:
        factors = np.where(people[f"{measure}_anew"][rows], concerned * way, factors)
    return factors


@dataclass(frozen=True, slots=True)
class Month:
    """A month of thirty days of the run: its first day, and by measure and day what its records hold."""

    first: int
    amounts: Mapping[str, Sequence[Amounts]]

    def on(self, index: int) -> dict[str, Amounts]:
        """By measure the records of a day: whose they are, each at most once, and how much they hold (int64, > 0)."""
        return {measure: days[index - self.first] for measure, days in self.amounts.items()}


def first_of_month(profile: Profile, index: int) -> int:
    """The first day, counted from the start of the run and perhaps before it, of the month that a day lies in."""
    offset = 0 if profile.judged_index is None else profile.judged_index + 1
    return index - (index - offset) % MONTH_DAYS


def plan_month(profile: Profile, people: Columns, start: date, first: int, rng: np.random.Generator) -> Month:
    """The month that begins on day `first` of a run from `start`."""
    days = [day_factors(profile, start + timedelta(days=first + day)) for day in range(MONTH_DAYS)]
    amounts = {}
    for measure in MEASURES:
        factors = np.array([day[measure] for day in days])
        amounts[measure] = _Planning(profile, people, measure, first, factors).plan(rng)
    return Month(first, amounts)


@dataclass(frozen=True, slots=True)
class _Planning:
    """A month of one measure; `factors` has a line for each day and a column for each group."""

    profile: Profile
    people: Columns
    measure: str
    first: int
    factors: Numbers

    def plan(self, rng: np.random.Generator) -> list[Amounts]:
        every = self._own("every")
        by_day: list[list[Amounts]] = [[] for _ in range(MONTH_DAYS)]
        for interval in np.unique(every).tolist():
            rows = np.flatnonzero((every == interval) & (self._own("level") > 0))
            phases = self._own("phase")[rows]
            shared = self._share_out(rows, phases[:, None] + np.arange(0, MONTH_DAYS, interval), rng)
            for phase in range(interval):
                of_phase = np.flatnonzero(phases == phase)
                for number, day in enumerate(range(phase, MONTH_DAYS, interval)):
                    amounts = shared[of_phase, number]
                    told = np.flatnonzero(amounts)
                    by_day[day].append((rows[of_phase[told]], amounts[told]))
        return [_joined(parts) for parts in by_day]

    def _own(self, name: str) -> Numbers:
        return self.people[f"{self.measure}_{name}"]

    def _share_out(self, rows: Numbers, days: Numbers, rng: np.random.Generator) -> Numbers:
        """What each record of `rows` on `days` (of the month; a line for each row) holds."""
        swing = 1 + self.profile.swing[self.measure] * rng.uniform(-1, 1, rows.size)
        total = np.rint(self._own("level")[rows] * self._mean(rows) * swing)
        noise = np.exp(rng.standard_normal(days.shape) * self.profile.noise[self.measure])
        return share_out(total, self._weights(rows, days) * noise)

    def _weights(self, rows: Numbers, days: Numbers) -> Numbers:
        """What is usual on days of the month for rows, in relation to their level: a table of rows and days."""
        column, index = rows[:, None], days + self.first
        usual = self.factors[days, self._groups(rows)[:, None]]
        # Who is there on the first day of the run was there before it.
        present = is_present(self.people, np.maximum(index, 0), column)
        weights: Numbers = usual * course_factors(self.people, self.measure, index, column) * present
        return weights

    def _mean(self, rows: Numbers) -> Numbers:
        """The mean of the month's days; only who changes within it has to be looked at day by day."""
        mean: Numbers = self.factors.mean(axis=0)[self._groups(rows)]
        end = self.first + MONTH_DAYS
        begins, joins, leaves = (self.people[name][rows] for name in ("begins", "joins", "leaves"))
        moves = (self._own("goal")[rows] != 1) & (begins < end)
        changes = np.flatnonzero(moves | self._own("anew")[rows] | (joins > max(self.first, 0)) | (leaves < end))
        mean[changes] = self._weights(rows[changes], np.arange(MONTH_DAYS)[None, :]).mean(axis=1)
        return mean

    def _groups(self, rows: Numbers) -> Numbers:
        return group_of(self.people["market_number"][rows], self.people["outside_holidays"][rows])


def share_out(totals: Numbers, weights: Numbers) -> Numbers:
    """Whole numbers (int64) that sum to each line's total, as nearly in proportion to its weights as they can.

    What has any weight gets at least one, if there is enough for all; a line without weights gets nothing.
    """
    weighs = weights > 0
    enough = totals >= weighs.sum(axis=1)
    given = weighs & enough[:, None]
    left = np.maximum(totals - given.sum(axis=1), 0)
    up_to = np.cumsum(weights, axis=1)
    whole = up_to[:, -1:]
    ends = np.rint(left[:, None] * np.divide(up_to, whole, out=np.zeros_like(up_to), where=whole > 0))
    shared: Numbers = (np.diff(ends, axis=1, prepend=0) + given).astype(np.int64)
    return shared


def _joined(parts: Sequence[Amounts]) -> Amounts:
    if not parts:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    return np.concatenate([rows for rows, _ in parts]), np.concatenate([amounts for _, amounts in parts])
