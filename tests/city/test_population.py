"""A population keeps its profile's quotas."""

from datetime import date

import numpy as np
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


def test_markets_and_segments_are_dealt_to_the_subscriber(profile: Profile) -> None:
    people = make_population(profile, 10_000, 1, 120, START)
    whole = sum(market.share for market in profile.markets.values())
    for name, market in profile.markets.items():
        assert share(people, pl.col("market") == name) == pytest.approx(market.share / whole * 100, abs=0.03)
        of_it = people.filter(pl.col("market") == name)
        assert share(of_it, pl.col("prepaid")) == pytest.approx(market.prepaid, abs=0.1)
    city = sum(part.share for part in profile.segments.values())
    for name, part in profile.segments.items():
        assert share(people, pl.col("segment") == name) == pytest.approx(part.share / city * 100, abs=0.01)


def test_each_segment_has_its_bundles_and_tiers(profile: Profile) -> None:
    people = make_population(profile, 20_000, 1, 120, START)
    for name, part in profile.segments.items():
        members = people.filter(pl.col("segment") == name)
        soft = pl.col("soft_bundle") | pl.col("vpn_bundle")
        for rate, held in (
            (part.bundles.hard, pl.col("hard_bundle")),
            (part.bundles.soft, soft),
            (part.bundles.any, soft | pl.col("hard_bundle")),
            (part.bundles.vpn, pl.col("vpn_bundle")),
            (part.bundles.package_plan, pl.col("soft_bundle") & (pl.col("soft_kind") == "package_plan")),
        ):
            assert share(members, held) == pytest.approx(rate, abs=0.05)
        assert members["group_id"].is_not_null().equals(members["vpn_bundle"])
        for measure in ("spend", "voice", "data", "tenure"):
            table = getattr(part, measure)
            for tier, percent in enumerate(table):
                planned = percent / sum(table) * 100
                assert share(members, pl.col(f"{measure}_tier") == tier) == pytest.approx(planned, abs=0.1)


def test_levels_keep_off_the_bounds_of_their_tiers(profile: Profile) -> None:
    people = make_population(profile, 10_000, 1, 120, START)
    for measure in ("spend", "voice", "data"):
        tops = profile.tiers[measure]
        for tier, (low, high) in enumerate(zip((0, *tops), tops, strict=False)):
            inside = people.filter((pl.col(f"{measure}_tier") == tier) & ~pl.col(f"{measure}_anew"))
            bounds = (0, 0) if high == 0 else (max(low * 1.02, profile.least[measure]), high * 0.98)
            assert inside[f"{measure}_level"].is_between(*bounds).all(), (measure, tier)


def test_who_had_nothing_may_rise_from_it_and_from_nothing_else(profile: Profile) -> None:
    people = make_population(profile, 20_000, 1, 120, START)
    for measure, (least, most) in profile.from_nothing.items():
        anew = people.filter(f"{measure}_anew")
        assert anew.height > 0
        assert set(anew["fate"]) == {f"grows_{measure}"}
        assert anew[f"{measure}_level"].is_between(least, most).all()
        assert profile.tiers[measure][0] == 0
        assert set(anew[f"{measure}_tier"]) == {0}


def test_tenure_follows_its_tiers(profile: Profile) -> None:
    people = make_population(profile, 10_000, 1, 120, START).filter(pl.col("joins") == 0)
    counts_to = 0 if profile.judged_index is None else profile.judged_index - 30
    tenure = counts_to - people["activated_day"].to_numpy()
    placed = np.searchsorted(profile.tiers["tenure"], tenure)
    assert (placed == people["tenure_tier"].to_numpy()).all()
    assert (people["activated_day"] < 0).all()


def test_fates_are_dealt_by_quota_within_each_segment(profile: Profile) -> None:
    people = make_population(profile, 20_000, 1, 120, START).filter(pl.col("joins") == 0)
    for name, part in profile.segments.items():
        own = set(part.fates_in)
        for markets, fates in [({market}, part.fates_in[market]) for market in own] + [
            (set(profile.markets) - own, part.fates)
        ]:
            cell = people.filter((pl.col("segment") == name) & pl.col("market").is_in(list(markets)))
            met = sum(fate.share for fate in fates.values())
            assert share(cell, pl.col("fate") == "stable") == pytest.approx(max(100 - met, 0), abs=0.3)
            for fate, of in fates.items():
                assert share(cell, pl.col("fate") == fate) == pytest.approx(of.share, abs=0.3), (name, fate)


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
