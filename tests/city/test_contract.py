"""A city through wire and core: every event is valid, every fault is found, every shipped rule finds somebody."""

from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from functools import cache
from pathlib import Path

import polars as pl
import pytest

from service.city.city import City, DayOfEvents
from service.city.profile import Disorder, Outage, load_profile
from service.core.calendar import to_day
from service.core.rules import Rulebook
from service.core.signals import catalogue
from service.core.state import Config, new_state
from service.core.step import close_through, step
from service.rulebook.loading import load
from service.wire.decode import Decoded, Intake, decode
from service.wire.records import Record
from tests.city.towns import PROFILES

INTAKE = Intake(partitions=1, partitioner="any")


def decoded(days: Iterator[DayOfEvents]) -> Iterator[tuple[DayOfEvents, Decoded]]:
    offset = 0
    for day in days:
        told = zip(day.timestamps_us, day.keys, day.values, strict=True)
        records = [Record("usage.events", 0, offset + at, *record) for at, record in enumerate(told)]
        offset += len(records)
        yield day, decode(records, INTAKE, offset)


@cache
def shipped_rulebook() -> Rulebook:
    folder = Path(__file__).parents[2] / "rules"
    return load(folder, {name: signal.dtype for name, signal in catalogue().items()})


@pytest.mark.parametrize("name", ["demo", "city-2013"])
def test_a_feed_in_order_has_nothing_to_reject(name: str) -> None:
    city = City(load_profile(PROFILES / f"{name}.yaml").in_order(), 400, 1)
    for day, read in decoded(city.days()):
        assert read.rejects == []
        assert not read.ignored
        assert read.batch.common.height == len(day.values)


def test_all_that_is_broken_is_rejected_and_all_that_is_unknown_is_ignored() -> None:
    faults = Disorder(malformed=2, unknown=1, repeated=1, late=1, beyond_horizon=1)
    profile = load_profile(PROFILES / "demo.yaml").model_copy(update={"disorder": faults})
    reasons: Counter[str] = Counter()
    for day, read in decoded(City(profile, 300, 1, days=40).days()):
        assert len(read.rejects) == day.ways["malformed"]
        assert sum(read.ignored.values()) == day.ways["unknown"]
        reasons.update(str(reject.reason) for reject in read.rejects)
    assert len(reasons) >= 3


def test_the_demo_fires_every_shipped_rule_and_counts_each_fault() -> None:
    city = City(load_profile(PROFILES / "demo.yaml"), 1000, 1)
    rulebook = shipped_rulebook()
    state = new_state(Config(zone=city.profile.zone))
    turns = []
    ways: Counter[str] = Counter()
    for day, read in decoded(city.days()):
        ways.update(day.ways)
        turns += step(state, rulebook, read.batch)
    turns += close_through(state, rulebook, to_day(city.start) + city.day_count - 1, "clock")
    raised = pl.concat([turn.transitions for turn in turns]).filter(pl.col("transition") == "raised")
    assert {rule.id for rule in rulebook.rules} - set(raised["rule"]) == set()
    assert sum(turn.counts.repeated for turn in turns) == ways["repeated"] > 0
    assert sum(turn.counts.late for turn in turns) == ways["beyond_horizon"] > 0
    warned = raised.filter(pl.col("suppressed_by").is_null())["subscriber_id"].n_unique() / 1000
    assert 0.03 < warned < 0.2


def test_the_core_finds_the_segments_that_were_planned() -> None:
    city = City(load_profile(PROFILES / "city-2013.yaml").in_order(), 1500, 2)
    bands = Rulebook(hash="bands", rules=(), bands=shipped_rulebook().bands)
    state = new_state(Config(zone=city.profile.zone, windows_days=(30,)))
    for _, read in decoded(city.days()):
        step(state, bands, read.batch)
    assert city.judged_on == city.start + timedelta(days=city.day_count - 1)
    close_through(state, bands, to_day(city.judged_on), "clock")
    found = pl.DataFrame({
        "subscriber_id": state.roster.take(state.rows),
        "segment": state.attributes["segment"][state.rows].astype("int32"),
    })  # fmt: skip
    both = city.truth().join(found, on="subscriber_id")
    assert both.height == 1500
    assert both.filter(pl.col("code") != pl.col("segment_right")).is_empty()


def test_a_silent_market_is_not_believed_and_its_late_file_mends_the_sums() -> None:
    profile = load_profile(PROFILES / "city-2013.yaml").in_order()
    silent = Outage(market="public", first=date(2012, 11, 20), days=2, late_days=3)
    lived = []
    for outages in ((), (silent,)):
        city = City(profile.with_outages(outages), 1500, 2, days=30)
        state = new_state(Config(zone=profile.zone, windows_days=(14,)))
        for _, read in decoded(city.days()):
            step(state, Rulebook(hash="none", rules=()), read.batch)
        close_through(state, Rulebook(hash="none", rules=()), to_day(date(2012, 11, 30)), "clock")
        sums = state.windows.frame(len(state.roster)).with_columns(state.roster.strings.alias("id")).sort("id")
        lived.append((sums, {day: markets for day, markets in state.feed.withheld.items() if markets}))
    (usual, believed), (mended, doubted) = lived
    assert believed == {}
    assert {to_day(silent.first), to_day(silent.first) + 1} <= doubted.keys()
    assert set(doubted.values()) == {frozenset({"public"})}
    assert max(doubted) < to_day(date(2012, 11, 24))
    assert mended.equals(usual)
