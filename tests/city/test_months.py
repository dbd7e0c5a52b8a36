"""A month's usage is shared out over its records to the unit, whichever days these fall on."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.city.months import first_of_month, plan_month, share_out
from service.city.population import make_population
from service.city.profile import MEASURES, Profile, load_profile
from service.city.rhythm import day_factors
from service.city.usage import numeric_columns
from tests.city.towns import PROFILES

START = date(2012, 11, 1)


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profile(PROFILES / "city-2013.yaml")


@given(
    st.lists(st.integers(0, 10**12), min_size=1, max_size=20),
    st.lists(st.floats(0, 10), min_size=5, max_size=5),
)
def test_what_is_shared_out_adds_up(totals: list[int], weights: list[float]) -> None:
    lines = np.array([weights] * len(totals))
    shared = share_out(np.array(totals, dtype=np.float64), lines)
    assert (shared >= 0).all()
    assert (shared[:, np.array(weights) == 0] == 0).all()
    assert shared.sum(axis=1).tolist() == (totals if sum(weights) > 0 else [0] * len(totals))


def test_every_record_holds_something_where_there_is_enough_for_all() -> None:
    assert share_out(np.array([3.0, 2.0]), np.array([[1, 1, 998.0], [1, 1, 1.0]])).tolist() == [[1, 1, 1], [1, 0, 1]]


def test_months_end_on_the_day_to_be_judged(profile: Profile) -> None:
    assert profile.judged_index == 91
    assert [first_of_month(profile, index) for index in (0, 1, 2, 31, 61, 62, 91, 92)] == [
        -28,
        -28,
        2,
        2,
        32,
        62,
        62,
        92,
    ]
    of_no_day = profile.model_copy(update={"judged_on": None})
    assert [first_of_month(of_no_day, index) for index in (0, 29, 30, 119)] == [0, 0, 30, 90]


def test_a_usual_month_holds_what_was_planned_wherever_its_records_fall(profile: Profile) -> None:
    people = make_population(profile, 3000, 1, 92, START)
    month = plan_month(profile, numeric_columns(people), START, 2, np.random.default_rng(1))
    for measure in MEASURES:
        days = [month.on(index)[measure] for index in range(2, 32)]
        told = pl.concat([pl.DataFrame({"row": rows, "amount": amounts}) for rows, amounts in days])
        sums = told.group_by("row").agg(pl.col("amount").sum(), pl.len())
        both = people.filter(~pl.col(f"{measure}_anew")).join(sums, on="row")
        assert both.height == people.filter((pl.col(f"{measure}_level") > 0) & ~pl.col(f"{measure}_anew")).height
        off = (pl.col("amount") - pl.col(f"{measure}_level")).abs()
        # A whole month swings by so much, and its weekends and whole units by little more.
        most = (profile.swing[measure] + 0.01) * pl.col(f"{measure}_level") + 1
        assert both.filter(off > most).is_empty(), measure
        assert (both["len"] <= 30 // both[f"{measure}_every"]).all()


def test_a_week_holds_as_much_with_weekends_as_without(profile: Profile) -> None:
    week = [day_factors(profile, date(2012, 11, 5) + timedelta(days=day)) for day in range(7)]
    for measure in MEASURES:
        assert sum(day[measure][0] for day in week) == pytest.approx(7)
    assert week[6]["voice"][0] == pytest.approx(0.95 * week[0]["voice"][0])


def test_the_winter_holiday_moves_campus_but_those_who_stay(profile: Profile) -> None:
    before, within = (day_factors(profile, date(2013, 1, day))["voice"] for day in (14, 28))
    changed = [round(now / then, 9) for then, now in zip(before, within, strict=True)]
    markets = [(market, outside) for market in profile.markets for outside in (False, True)]
    assert {place: factor for place, factor in zip(markets, changed, strict=True) if factor != 1} == {
        ("campus", False): 0.5
    }


def test_days_before_the_run_count_where_a_month_began_before_it(profile: Profile) -> None:
    people = make_population(profile, 3000, 1, 92, START)
    columns = numeric_columns(people)
    months = {first: plan_month(profile, columns, START, first, np.random.default_rng(1)) for first in (-28, 2)}
    # The same day of two months: records of the same subscribers, and as much in them.
    first, later = months[-28].on(0)["voice"], months[2].on(30)["voice"]
    assert np.mean(first[1]) == pytest.approx(np.mean(later[1]), rel=0.05)
    assert first[0].tolist() == later[0].tolist()
