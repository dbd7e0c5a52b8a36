"""Feeds that fall silent: days of which a market's usage does not arrive, and the files in which it comes later.

Only usage is held up. Profiles, statuses, fees and recharges are told by other systems, which go on.
"""

from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from service.city.profile import Outage, Profile
from service.city.quotas import Numbers
from service.city.rhythm import CityDay, city_day

_FILE_FROM_S = 5 * 3600  # of the local day: a file of the night
_HELD_UP = {"market": pl.String(), "on": pl.Date(), "arrives_on": pl.Date()}


@dataclass(frozen=True, slots=True)
class Outages:
    """The outages of a run that starts on `start`; `market` is the number of each subscriber's market."""

    profile: Profile
    start: date
    market: Numbers

    def hold(self, lines: pl.DataFrame, day: CityDay, way: int) -> pl.DataFrame:
        """A day's usage (LINES and `way`) with what is held up marked `way` and moved to its file, or taken out."""
        markets = list(self.profile.markets)
        for outage in self.profile.outages:
            if not outage.first <= day.on < outage.first + timedelta(days=outage.days):
                continue
            of_market = self.market[lines["row"].to_numpy()] == markets.index(outage.market)
            held = pl.Series("held", of_market)
            if outage.late_days is None:
                lines = lines.filter(~held)
                continue
            lines = lines.with_columns(
                arrives_us=pl.when(held).then(self._in_file(outage)).otherwise("arrives_us"),
                way=pl.when(held).then(pl.lit(way, pl.UInt8)).otherwise("way"),
            )
        return lines

    def _in_file(self, outage: Outage) -> pl.Expr:
        """When each line of an outage arrives: in the order in which it happened, all within an hour."""
        days = (outage.first, outage.file_on or outage.first)
        begun_us, file_us = (city_day(self.start, (on - self.start).days, self.profile.zone).start_us for on in days)
        return file_us + _FILE_FROM_S * 1_000_000 + (pl.col("arrives_us") - begun_us) // (24 * outage.days)

    def told(self) -> pl.DataFrame:
        """One row per market and day of silence: market, on, arrives_on (null: never)."""
        rows = [
            (outage.market, outage.first + timedelta(days=number), outage.file_on)
            for outage in self.profile.outages
            for number in range(outage.days)
        ]
        return pl.DataFrame(rows, schema=_HELD_UP, orient="row")
