"""The city of 2013 comes out with its tables, from its events alone and a plain reckoning of their sums."""

from datetime import date
from functools import cache

import polars as pl
import pytest

from service.city.city import City
from service.city.profile import Profile, load_profile
from tests.city.tables import BUNDLES, Findings, events_of, find
from tests.city.towns import PROFILES

SUBSCRIBERS = 20_000


@cache
def profile() -> Profile:
    return load_profile(PROFILES / "city-2013.yaml").in_order()


@cache
def city() -> City:
    return City(profile(), SUBSCRIBERS, 1)


@cache
def events() -> pl.DataFrame:
    return events_of(city())


def judged_on(told: City) -> date:
    assert told.judged_on is not None
    return told.judged_on


@cache
def found(*, against_market: bool = False) -> Findings:
    return find(events(), judged_on(city()), against_market=against_market)


def test_everybody_is_found_in_the_segment_and_tiers_that_were_planned() -> None:
    both = found().people.join(city().truth(), on="subscriber_id", suffix="_planned")
    assert both.height == SUBSCRIBERS
    assert both.filter(pl.col("code") != pl.col("code_planned")).is_empty()
    for measure in ("spend", "voice", "data", "tenure"):
        tops = pl.Series(profile().tiers[measure])
        tier = tops.search_sorted(both[measure], side="left")
        assert both.filter(tier != both[f"{measure}_tier"]).is_empty(), measure


def test_the_nine_shares_are_those_of_the_report() -> None:
    whole = sum(part.share for part in profile().segments.values())
    for part in profile().segments.values():
        assert part.code is not None
        assert found().share(part.code) == pytest.approx(part.share / whole * 100, abs=0.01)


@pytest.mark.parametrize("measure", ["spend", "voice", "data", "tenure"])
def test_every_cell_of_a_table_of_tiers_is_that_of_the_report(measure: str) -> None:
    for name, part in profile().segments.items():
        cells = found().tiers(part.code or 0, measure, profile().tiers[measure])
        assert cells == pytest.approx(getattr(part, measure), abs=0.1), name


def test_bundles_and_markets_are_those_of_the_report() -> None:
    for name, part in profile().segments.items():
        for bundle, kind in BUNDLES.items():
            held = found().rate(part.code or 0, pl.col(bundle))
            assert held == pytest.approx(getattr(part.bundles, bundle), abs=0.1), (name, kind)
        for market, percent in (part.of_markets or {}).items():
            assert found().of_market(market, part.code or 0) == pytest.approx(percent, abs=0.1), (name, market)


def test_a_drop_needs_a_usual_month_and_a_rise_does_not() -> None:
    nothing = found().people.filter((pl.col("voice") == 0) | (pl.col("data") == 0))
    assert nothing.filter((pl.col("code") == 42) & (pl.col("voice") == 0)).is_empty()
    assert nothing.filter((pl.col("code") == 43) & (pl.col("data") == 0)).is_empty()
    assert nothing.filter((pl.col("code") == 22) & (pl.col("voice") == 0)).height > 0
    assert nothing.filter((pl.col("code") == 23) & (pl.col("data") == 0)).height > 0


def test_campus_is_warned_in_voice_by_the_holiday_and_not_in_relation_to_its_market() -> None:
    others = [market for market in profile().markets if market != "campus"]
    assert found().of_market("campus", 42) == pytest.approx(23.72, abs=0.1)
    shares = [found(against_market=True).of_market(market, 42) for market in others]
    assert shares == pytest.approx([found().of_market(market, 42) for market in others], abs=0.1)
    assert found(against_market=True).of_market("campus", 42) == pytest.approx(sum(shares) / len(shares), abs=1.5)
    assert max(shares) - 1.5 < found(against_market=True).of_market("campus", 42) < min(shares) + 1.5


def test_without_the_holiday_campus_is_warned_like_any_other_market() -> None:
    calm = profile().model_copy(update={"holidays": [holiday for holiday in profile().holidays if not holiday.markets]})
    told = City(calm, 8000, 1)
    assert find(events_of(told), judged_on(told)).of_market("campus", 42) == pytest.approx(13.3, abs=0.4)


def test_weekends_and_the_winter_holiday_show_in_the_days() -> None:
    calls = events().filter((pl.col("type") == "usage.voice") & (pl.col("direction") == "out"))
    minutes = pl.col("billed_minutes").mean()
    autumn = calls.filter(pl.col("on") <= date(2012, 12, 30))
    weekend = pl.col("on").dt.weekday() >= 6
    assert 0.94 < autumn.filter(weekend).select(minutes).item() / autumn.filter(~weekend).select(minutes).item() < 0.99
    keep = city().truth().filter(pl.col("code").is_in([21, 23, 43]))
    for market, kept in (("campus", 0.5), ("group", 1.0)):
        theirs = calls.join(keep.filter(pl.col("market") == market), on="subscriber_id", how="semi")
        before, within = (
            theirs.filter(pl.col("on").is_between(date(2013, 1, first), date(2013, 1, first + 11)))
            .select(minutes)
            .item()
            for first in (5, 19)
        )
        assert within / before == pytest.approx(kept, abs=0.1), market


def test_nobody_is_left_out_and_who_leaves_is_in_the_truth() -> None:
    assert found().people.filter(pl.col("code") == 0).is_empty()
    lost = found().people.filter(pl.col("code") == 5)["subscriber_id"]
    truth = city().truth()
    assert set(truth.filter("leaves")["subscriber_id"]) == set(lost)
    assert truth.filter("leaves")["why"].n_unique() == 3
    assert truth.filter("leaves")["begins_on"].null_count() == 0
