"""An oracle of segments and tables: plain polars over a city's events, sharing nothing with the service's core."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from service.city.city import City

WINDOW_DAYS = 30
# Stable within, warned from, up from nothing from: in order of priority, as rules/segments.yaml has them.
BANDS = {"spend": (0.10, 0.30, 500), "voice": (0.15, 0.40, 10), "data": (0.20, 0.50, 1_000_000)}
EVENT = pl.Struct({
    "type": pl.String, "subscriber_id": pl.String, "occurred_at": pl.String, "billed_minutes": pl.Int64,
    "direction": pl.String, "bytes": pl.Int64, "amount_minor": pl.Int64, "kind": pl.String, "hard": pl.Boolean,
    "status": pl.String, "market": pl.String, "activated_on": pl.String,
})  # fmt: skip
AMOUNTS = {
    "spend": pl.when(pl.col("type") == "charge", pl.col("kind").is_in(["usage", "refund"])).then("amount_minor"),
    "voice": pl.when(pl.col("direction") == "out").then("billed_minutes"),
    "data": pl.col("bytes"),
}
BUNDLES = {
    "any": pl.lit(value=True),
    "hard": pl.col("hard"),
    "soft": ~pl.col("hard"),
    "package_plan": pl.col("kind") == "package_plan",
    "vpn": pl.col("kind") == "vpn",
}


def events_of(city: City) -> pl.DataFrame:
    """All events of a city, with their local day."""
    days = [
        pl.DataFrame({"line": day.values}, schema={"line": pl.Binary}).select(
            pl.col("line").cast(pl.String).str.json_decode(EVENT).struct.unnest()
        )
        for day in city.days()
    ]
    at = pl.col("occurred_at").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC")
    return pl.concat(days).with_columns(on=at.dt.convert_time_zone(city.profile.zone).dt.date())


@dataclass(frozen=True, slots=True)
class Findings:
    """One line per subscriber as of a day: segment code, market, usual levels, tenure and the bundles held."""

    people: pl.DataFrame

    def share(self, code: int) -> float:
        return self._percent(pl.col("code") == code)

    def tiers(self, code: int, measure: str, tops: Sequence[int]) -> list[float]:
        """Per hundred of a segment, those of each tier; the last is open."""
        below = [self.rate(code, pl.col(measure) <= top) for top in tops[:-1]]
        return [high - low for low, high in zip([0.0, *below], [*below, 100.0], strict=True)]

    def rate(self, code: int, of: pl.Expr) -> float:
        """Per hundred of a segment, those for whom something is true."""
        return Findings(self.people.filter(pl.col("code") == code))._percent(of)

    def of_market(self, market: str, code: int) -> float:
        """Per hundred of a market, those of a segment."""
        return Findings(self.people.filter(pl.col("market") == market))._percent(pl.col("code") == code)

    def _percent(self, of: pl.Expr) -> float:
        return 100 * float(self.people.select(of.mean()).item())


def find(events: pl.DataFrame, as_of: date, *, against_market: bool = False) -> Findings:
    """What a city's events say as of the end of a day.

    `against_market`: a month is judged in relation to what the median of its market has kept of the usual one.
    """
    first = as_of - timedelta(days=WINDOW_DAYS - 1)
    window, usual = pl.col("on") >= first, pl.col("on").is_between(first - timedelta(days=60), first, closed="left")
    told = events.filter(pl.col("on") <= as_of)
    fees = pl.col("kind").is_in(["recurring", "usage"]) & (pl.col("on") >= as_of.replace(day=1))
    linked = pl.col("type") == "bundle.linked"
    people = told.group_by("subscriber_id").agg(
        *(amount.filter(window).sum().alias(f"{name}_now") for name, amount in AMOUNTS.items()),
        *((amount.filter(usual).sum() / 2).alias(name) for name, amount in AMOUNTS.items()),
        *((linked & kind).any().alias(name) for name, kind in BUNDLES.items()),
        pl.col("market", "activated_on").drop_nulls().last(),
        pl.col("status").drop_nulls().last().fill_null("normal"),
        fees.any().alias("charged"),
    )
    since = pl.col("activated_on").str.to_date()
    two_months_before = pl.lit(as_of.replace(day=1)).dt.offset_by("-2mo")
    people = people.with_columns(
        tenure=(pl.lit(as_of - timedelta(days=WINDOW_DAYS)) - since).dt.total_days(),
        eligible=(since < two_months_before) & pl.col("charged") & (pl.col("status") == "normal"),
    )
    return Findings(people.with_columns(code=_code(against_market=against_market)))


def _code(*, against_market: bool) -> pl.Expr:
    trends = []
    for name, (stable, warned, floor) in BANDS.items():
        kept: pl.Expr = pl.when(pl.col(name) > 0).then(pl.col(f"{name}_now") / pl.col(name))
        if against_market:
            kept /= kept.filter("eligible").median().over("market")
        up = (kept > 1 + stable) | (kept.is_null() & (pl.col(f"{name}_now") >= floor))
        trends.append((kept.fill_null(1), up.fill_null(value=False), stable, warned))
    cases = [(pl.col("status").is_in(["pre_cancelled", "cancelled"]), 5), (~pl.col("eligible"), 0)]
    cases += [(kept <= 1 - warned, 40 + digit) for digit, (kept, _, _, warned) in enumerate(trends, start=1)]
    cases += [(up, 20 + digit) for digit, (_, up, _, _) in enumerate(trends, start=1)]
    cases += [(pl.any_horizontal(kept < 1 - stable for kept, _, stable, _ in trends), 3)]
    return pl.coalesce(*(pl.when(true).then(code) for true, code in cases), 1)
