"""A feed that falls silent: nothing of the market's usage arrives, later all of it does, and the rest goes on."""

from datetime import date, timedelta
from functools import cache

import orjson
import polars as pl
import pytest

from service.city.city import City
from service.city.profile import Outage, load_profile
from tests.city.towns import PROFILES

FIRST, DAYS, LATE = date(2012, 11, 10), 2, 3
SILENT = [FIRST, FIRST + timedelta(days=1)]
FILE_ON = date(2012, 11, 14)
HELD = pl.col("held")


def town(*outages: Outage, days: int = 25) -> City:
    profile = load_profile(PROFILES / "city-2013.yaml").in_order()
    return City(profile.with_outages(outages), 2000, 3, days=days)


def group_outage(late_days: int | None) -> Outage:
    return Outage(market="group", first=FIRST, days=DAYS, late_days=late_days)


@cache
def arrivals(late_days: int | None, *, any_outage: bool = True) -> pl.DataFrame:
    """All that arrives: its line, whether an outage concerns it, the day it happened, the day it arrived, its place."""
    city = town(*([group_outage(late_days)] if any_outage else []))
    parts = [
        pl.DataFrame({"line": day.values, "at": day.timestamps_us}).with_columns(arrived=day.day) for day in city.days()
    ]
    lines = pl.concat(parts).with_row_index("place")
    told = pl.DataFrame(
        [
            (event["type"], event.get("kind"), event["subscriber_id"], event["occurred_at"])
            for event in map(orjson.loads, lines["line"])
        ],
        schema=dict.fromkeys(("type", "kind", "subscriber_id", "occurred_at"), pl.String()),
        orient="row",
    )
    at = pl.col("occurred_at").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC")
    charges = (pl.col("type") == "charge") & pl.col("kind").is_in(["usage", "refund"])
    return (
        lines.hstack(told)
        .join(city.population.select("subscriber_id", "market"), on="subscriber_id", maintain_order="left")
        .with_columns(on=at.dt.convert_time_zone("Asia/Shanghai").dt.date())
        .with_columns(
            held=(pl.col("market") == "group")
            & pl.col("on").is_in(SILENT)
            & (pl.col("type").str.starts_with("usage.") | charges)
        )
    )


def test_of_a_silent_market_no_usage_arrives_and_the_rest_goes_on() -> None:
    usual, silent = arrivals(LATE, any_outage=False), arrivals(LATE)
    then = silent.filter(pl.col("arrived").is_in(SILENT))
    assert then.filter(HELD).is_empty()
    assert usual.filter(HELD).height > 100
    expected = usual.filter(pl.col("arrived").is_in(SILENT) & ~HELD)
    assert then["line"].to_list() == expected["line"].to_list()


def test_the_file_comes_in_the_night_in_order_and_with_all_of_it() -> None:
    usual, silent = arrivals(LATE, any_outage=False), arrivals(LATE)
    file = silent.filter(HELD)
    assert set(file["arrived"]) == {FILE_ON}
    assert file["line"].to_list() == usual.filter(HELD)["line"].to_list()
    assert (file["at"].max() - file["at"].min()) <= 3_600_000_000  # type: ignore[operator] # of numbers
    assert silent.height == usual.height
    others = silent.filter(pl.col("arrived") != FILE_ON)
    assert others.filter(pl.col("arrived") != pl.col("on")).is_empty()


def test_without_a_file_it_never_comes() -> None:
    usual, silent = arrivals(None, any_outage=False), arrivals(None)
    assert silent["line"].to_list() == usual.filter(~HELD)["line"].to_list()


def test_what_was_held_up_is_counted_and_told() -> None:
    city = town(group_outage(LATE), Outage(market="campus", first=FIRST, days=1))
    held = {day.day: day.ways["held_up"] for day in city.days() if day.ways["held_up"]}
    assert held == {FILE_ON: arrivals(LATE).filter(HELD).height}
    assert city.outages().rows() == [
        ("group", SILENT[0], FILE_ON),
        ("group", SILENT[1], FILE_ON),
        ("campus", FIRST, None),
    ]
    assert town().outages().is_empty()


def test_a_file_after_the_end_of_the_run_is_not_in_it() -> None:
    days = (FIRST - date(2012, 11, 1)).days + DAYS + 1
    assert sum(day.ways["held_up"] for day in town(group_outage(LATE), days=days).days()) == 0


def test_outages_of_a_market_that_is_not_there_are_refused() -> None:
    with pytest.raises(ValueError, match=r"outages of unknown markets \['moon'\]; there are \['campus', 'group'"):
        town(Outage(market="moon", first=FIRST, days=1))
