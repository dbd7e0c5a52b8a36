"""What comparable subscribers kept, and what a calendar lets one expect, against a plain count of each of them."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from statistics import median

import polars as pl
import pytest

import service.core.cohorts
from service.core.calendar import to_day
from service.core.rules import Dimension, Holiday, Rulebook
from service.core.signals import View, columns
from service.core.state import Config, State, new_state
from service.core.step import close_through, step
from tests.core.rulebooks import rule
from tests.core.streams import Event, batch_of

START = datetime(2024, 3, 1, 12, tzinfo=UTC)
DAY = to_day(START.date())
DAYS = 6  # two closed days are compared with the four before them
CONFIG = Config(windows_days=(2,), feed_gate=False)
MARKETS = ("campus", "group", "village", None)
TOPS = (300, 900)  # of thirty days
HOLIDAY = Holiday("break", DAY + 5, DAY + 9, ("campus",), shifts={"data": 0.5})
DROPPED = rule("dropped", pl.col("data_2d_drop_vs_cohort") >= 2, names=frozenset({"data_2d_drop_vs_cohort"}))
BOOK = Rulebook(
    "test", (DROPPED,), holidays=(HOLIDAY,), dimensions=(Dimension(name="data", code=400, tops=TOPS),)
)  # fmt: skip
SIGNALS = ["data_2d_cohort", "data_2d_drop_vs_cohort", "data_2d_drop"]


@pytest.fixture(autouse=True)
def _few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.core.cohorts, "LEAST", 5)


def city(seed: int) -> dict[str, tuple[str | None, bool, list[int]]]:
    """By subscriber the market, whether suspended, and the bytes of each day."""
    chance = Random(seed)
    people = {}
    for number in range(60):
        usual = chance.choice([0, 5, 20, 60])
        used = [chance.randint(0, 2 * usual) for _ in range(DAYS)]
        people[f"s{number}"] = (chance.choice(MARKETS), chance.random() < 0.1, used)
    return people


def lived(people: Mapping[str, tuple[str | None, bool, list[int]]]) -> State:
    events = []
    for who, (market, suspended, used) in people.items():
        events.append(Event("p", who, "subscriber.profile", START, {"market": market}))
        status = "suspended_one_way" if suspended else "normal"
        events.append(Event("s", who, "subscriber.status", START, {"status": status}))
        events += [
            Event(f"d{day}", who, "usage.data", START + timedelta(days=day), {"bytes": amount})
            for day, amount in enumerate(used)
            if amount
        ]
    state = new_state(CONFIG)
    step(state, BOOK, batch_of(sorted(events, key=lambda event: event.at)))
    close_through(state, BOOK, DAY + DAYS - 1, "clock")
    return state


def plain(people: Mapping[str, tuple[str | None, bool, list[int]]]) -> dict[str, tuple[float | None, float | None]]:
    """By subscriber what comparable ones kept, and the drop below what that lets one expect."""
    # One of the two days is a holiday of half the usage.
    shift = {market: 0.75 if market == "campus" else 1.0 for market in MARKETS}
    told = {}
    groups: dict[object, list[float]] = defaultdict(list)
    for who, (market, suspended, used) in people.items():
        now, baseline = sum(used[4:]), sum(used[:4]) / 2
        tier = sum(baseline * 15 > top for top in TOPS)
        told[who] = (market, tier, now, baseline)
        if baseline > 0 and not suspended:
            for group in ((market, tier), market or "none", "all"):
                groups[group].append(now / (baseline * shift[market]))
    found: dict[str, tuple[float | None, float | None]] = {}
    for who, (market, tier, now, baseline) in told.items():
        enough = (groups[group] for group in ((market, tier), market or "none", "all") if len(groups[group]) >= 5)
        kept = next((ratio for ratio in map(median, enough) if ratio), None)
        drop = 1 - now / (baseline * shift[market] * (kept or 1)) if baseline else None
        found[who] = (kept, drop)
    return found


@pytest.mark.parametrize("seed", range(8))
def test_comparable_subscribers_are_those_of_market_and_tier_or_of_what_has_enough(seed: int) -> None:
    people = city(seed)
    state = lived(people)
    signals = columns(View.under(BOOK, state, state.rows), SIGNALS)
    names = state.roster.take(state.rows).to_list()
    expected = plain(people)
    for who, kept, drop in zip(names, signals["data_2d_cohort"], signals["data_2d_drop_vs_cohort"], strict=True):
        assert (kept, drop) == (pytest.approx(expected[who][0]), pytest.approx(expected[who][1])), who
    assert len({kept for kept, _ in expected.values()}) > 3, "there are several cohorts"


def test_where_too_few_are_comparable_only_the_calendar_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.core.cohorts, "LEAST", 200)
    state = lived({"a": ("campus", False, [10] * 6), "b": ("group", False, [10] * 6)})
    signals = columns(View.under(BOOK, state, state.rows), SIGNALS)
    assert signals["data_2d_cohort"].to_list() == [None, None]
    assert signals["data_2d_drop"].to_list() == [0.0, 0.0]
    assert signals["data_2d_drop_vs_cohort"].to_list() == [pytest.approx(1 - 1 / 0.75), 0.0]


def test_a_whole_market_that_moves_alike_has_not_dropped() -> None:
    half = {f"c{number}": ("campus", False, [10, 10, 10, 10, 5, 5]) for number in range(9)}
    leaver = {"gone": ("campus", False, [10, 10, 10, 10, 1, 1])}
    state = lived(half | leaver)
    signals = columns(View.under(BOOK, state, state.rows), SIGNALS)
    drops = dict(zip(state.roster.take(state.rows).to_list(), signals["data_2d_drop_vs_cohort"], strict=True))
    assert drops["c0"] == pytest.approx(0)
    assert drops["gone"] == pytest.approx(0.8)
