"""A simulated city day by day: every event its subscribers make, as bytes, in the order in which they would arrive."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from service.city.arrivals import arrivals_of_day
from service.city.billing import Ledger, billing_of_day
from service.city.disorder import Delivery, count_ways
from service.city.encode import LINES, Draft, encode, gather_lines
from service.city.moves import moves_of_run
from service.city.population import make_population
from service.city.profile import Profile
from service.city.rhythm import CityDay, city_day, factors_of_day
from service.city.truth import truth_of
from service.city.usage import numeric_columns, usage_of_day

_MOVES = 1_000_003  # the stream of chance of the moves, apart from that of any day


@dataclass(frozen=True, slots=True)
class DayOfEvents:
    """A day's records in order of arrival: key and value of each, and the instant it arrives (UTC microseconds).

    A record arrives when it happened, but for late and repeated ones. `ways` counts them by WAYS of disorder.
    """

    day: date
    keys: list[bytes]
    values: list[bytes]
    timestamps_us: list[int]
    ways: Mapping[str, int]


class City:
    """A population of `subscribers` and their events on `days` local days from `start` (absent: the profile's).

    The same arguments give the same bytes.
    Memory is that of the population and of one day.
    """

    def __init__(
        self, profile: Profile, subscribers: int, seed: int, start: date | None = None, days: int = 120
    ) -> None:
        if subscribers < 1 or days < 1:
            raise ValueError(f"a city needs at least one subscriber and one day, not {subscribers} and {days}")
        self.profile = profile
        self.seed = seed
        self.start = start or profile.start
        self.day_count = days
        self.population = make_population(profile, subscribers, seed, days, self.start)

    def truth(self) -> pl.DataFrame:
        """Who was given which fate, when it begins, and who is made to leave."""
        return truth_of(self.population, self.start, self.day_count)

    def days(self) -> Iterator[DayOfEvents]:
        """Each day in turn; may be called again, and gives the same."""
        people = numeric_columns(self.population)
        keys = self.population["subscriber_id"].cast(pl.Binary)
        ledger = Ledger.opening(people, self.start)
        delivery = Delivery(self.profile.disorder, self.day_count)
        moves = moves_of_run(self.population, self.start, self.day_count, self.profile.zone, self._chance(_MOVES))
        for index in range(self.day_count):
            day = city_day(self.start, index, self.profile.zone)
            rng = self._chance(index)
            if day.on.day == 1 and index > 0:
                ledger.turn_month()
            factors = factors_of_day(self.profile, day, self.population["market"])
            usage, amounts = usage_of_day(self.profile, people, day, factors, rng)
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
