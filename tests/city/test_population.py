"""A population keeps its profile's quotas."""

from datetime import date

import polars as pl
import pytest

from service.city.population import make_population
from service.city.profile import Profile, load_profile
from tests.city.towns import PROFILES

START = date(2026, 7, 20)


@pytest.fixture(params=["demo", "city-2013"])
def profile(request: pytest.FixtureRequest) -> Profile:
    return load_profile(PROFILES / f"{request.param}.yaml")


def share(people: pl.DataFrame, condition: pl.Expr) -> float:
    return float(people.select(condition.mean()).item()) * 100


def test_markets_bundles_and_fates_are_dealt_to_the_subscriber(profile: Profile) -> None:
    people = make_population(profile, 10_000, 1, 120, START)
    whole = sum(market.share for market in profile.markets.values())
    for name, market in profile.markets.items():
        assert share(people, pl.col("market") == name) == pytest.approx(market.share / whole * 100, abs=0.01)
        of_it = people.filter(pl.col("market") == name)
        assert share(of_it, pl.col("prepaid")) == pytest.approx(market.prepaid, abs=0.1)
    assert share(people, pl.col("hard_bundle")) == pytest.approx(profile.bundles.hard, abs=0.02)
    assert share(people, pl.col("soft_bundle")) == pytest.approx(profile.bundles.soft, abs=0.02)
    held = pl.col("hard_bundle") | pl.col("soft_bundle")
    assert share(people, held) == pytest.approx(profile.bundles.any, abs=0.02)
    for name, fate in profile.fates.items():
        assert share(people, pl.col("fate") == name) == pytest.approx(fate.share, abs=0.02), name


def test_levels_fill_their_tiers(profile: Profile) -> None:
    people = make_population(profile, 10_000, 1, 120, START)
    for measure in ("voice", "data", "sms"):
        tiers = profile.levels[measure]
        whole, below = sum(tier.share for tier in tiers), 0.0
        for tier in tiers:
            below += tier.share / whole * 100
            # A level just below a tier's top may be rounded down, never up.
            assert share(people, pl.col(f"{measure}_level") <= tier.to) == pytest.approx(below, abs=0.6)


def test_tenure_follows_its_tiers(profile: Profile) -> None:
    people = make_population(profile, 10_000, 1, 120, START).filter(pl.col("joins") == 0)
    whole, below = sum(tier.share for tier in profile.tenure), 0.0
    for tier in profile.tenure:
        below += tier.share / whole * 100
        assert share(people, pl.col("activated_day") >= -tier.to_days) == pytest.approx(below, abs=0.8)


def test_newcomers_leave_more_often(profile: Profile) -> None:
    people = make_population(profile, 20_000, 1, 120, START).filter(pl.col("joins") == 0)
    leaving = pl.col("leaves") < 1_000_000
    newcomers = people.filter(pl.col("activated_day") > -90)
    assert share(newcomers, leaving) > 1.5 * share(people, leaving)


def test_a_fate_is_met_only_by_whom_it_can_meet(profile: Profile) -> None:
    people = make_population(profile, 5000, 4, 120, START)
    assert people.filter((pl.col("fate") == "recharge_stops") & ~pl.col("prepaid")).is_empty()
    assert people.filter((pl.col("fate") == "leaves_group") & pl.col("group_id").is_null()).is_empty()
    lower = pl.col("fee_below_minor") < pl.col("fee_minor")
    assert people.filter((pl.col("fate") == "downgrades") & ~lower).is_empty()


def test_short_runs_and_single_subscribers_are_cities_too(profile: Profile) -> None:
    assert make_population(profile, 1, 0, 1, START).height == 1
    assert make_population(profile, 7, 0, 3, START)["subscriber_id"].n_unique() == 7
