"""A simulated city day by day: every event its subscribers make, as bytes, in the order in which they would arrive."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from service.city.arrivals import arrivals_of_day
from service.city.billing import Ledger, billing_of_day
from service.city.disorder import Delivery, count_ways
from service.city.encode import LINES, Draft, encode, gather_lines
from service.city.months import Columns, Month, first_of_month, plan_month
from service.city.moves import moves_of_run
from service.city.outages import Outages
from service.city.population import make_population
from service.city.profile import Profile
from service.city.rhythm import MONTH_DAYS, CityDay, city_day
from service.city.truth import truth_of
from service.city.usage import numeric_columns, usage_of_day

# The streams of chance of the moves and, from the second on, of the months, apart from those of the days.
_MOVES = 1_000_003
_MONTHS = 2_000_003


@dataclass(frozen=True, slots=True)
class DayOfEvents:
    """A day's records in order of arrival: key and value of each, and the instant it arrives (UTC microseconds).

    A record arrives when it happened, but for late, held up and repeated ones. `ways` counts them by WAYS of disorder.
    """

    day: date
    keys: list[bytes]
    values: list[bytes]
    timestamps_us: list[int]
    ways: Mapping[str, int]


class City:
    """A population of `subscribers` and their events on `days` local days from `start` (absent: the profile's own).

    The same arguments give the same bytes.
    Memory is that of the population and of one day.
    """

    def __init__(
        self, profile: Profile, subscribers: int, seed: int, start: date | None = None, days: int | None = None
    ) -> None:
        days = profile.days if days is None else days
        if subscribers < 1 or days < 1:
            raise ValueError(f"a city needs at least one subscriber and one day, not {subscribers} and {days}")
        self.profile = profile
        self.seed = seed
        self.start = start or profile.start
        self.day_count = days
        self.population = make_population(profile, subscribers, seed, days, self.start)
        self._outages = Outages(profile, self.start, self.population["market_number"].to_numpy())

    @property
    def judged_on(self) -> date | None:
        """The day that the profile's tables are to be found on, moved with the start; None where it names none."""
        judged = self.profile.judged_index
        return None if judged is None else self.start + timedelta(days=judged)

    def truth(self) -> pl.DataFrame:
        """What was planned for whom: segment, tiers and fate, when it begins, and who is made to leave."""
        return truth_of(self.profile, self.population, self.start, self.day_count)

    def outages(self) -> pl.DataFrame:
        """Which markets' usage did not arrive: market, on, arrives_on (null: never)."""
        return self._outages.told()

    def days(self) -> Iterator[DayOfEvents]:
        """Each day in turn; may be called again, and gives the same."""
        people = numeric_columns(self.population)
        keys = self.population["subscriber_id"].cast(pl.Binary)
        ledger = Ledger.opening(people, self.start)
        delivery = Delivery(self.profile.disorder, self._outages, self.day_count)
        moves = moves_of_run(self.population, self.start, self.day_count, self.profile.zone, self._chance(_MOVES))
        month = self._month(people, 0)
        for index in range(self.day_count):
            if index == month.first + MONTH_DAYS:
                month = self._month(people, index)
            day = city_day(self.start, index, self.profile.zone)
            rng = self._chance(index)
            if day.on.day == 1 and index > 0:
                ledger.turn_month()
            amounts = month.on(index)
            usage = usage_of_day(self.profile, people, day, amounts, rng)
            ledger.add(amounts)
            rest = arrivals_of_day(self.population, people["joins"], day, self.start, rng)
            rest += billing_of_day(people, day, ledger, rng)
            told = pl.concat([self._lines(rest), _slice(moves, day)])
            arrived = delivery.deliver(self._lines(usage), told, day, rng)
            yield DayOfEvents(
                day.on,
                keys.gather(arrived["row"]).to_list(),
                arrived["line"].cast(pl.Binary).to_list(),
                arrived["arrives_us"].to_list(),
                count_ways(arrived),
            )

    def _month(self, people: Columns, index: int) -> Month:
        first = first_of_month(self.profile, index)
        return plan_month(self.profile, people, self.start, first, self._chance(_MONTHS + first + MONTH_DAYS))

    def _chance(self, stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.population.height, stream])

    def _lines(self, drafts: list[Draft]) -> pl.DataFrame:
        ids = self.population["subscriber_id"]
        parts = [encode(drafted, ids) for drafted in drafts if drafted.rows.size]
        return gather_lines(parts) if parts else pl.DataFrame(schema=LINES)


def _slice(moves: pl.DataFrame, day: CityDay) -> pl.DataFrame:
    """The moves of a day."""
    at = moves["arrives_us"]
    return moves[int(at.search_sorted(day.start_us)) : int(at.search_sorted(day.end_us))]
