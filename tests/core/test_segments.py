"""Segments, their changes, tiers and six-digit codes, against a plain count of one subscriber after another."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from service.core.calendar import to_day
from service.core.cohorts import LEAST, Cohorts, compare
from service.core.crosstabs import CELLS, add_up, count, tabulate
from service.core.record import describe
from service.core.rules import Dimension, Rulebook, SegmentBands
from service.core.segments import assign, changes, six_digits
from service.core.signals import View
from service.core.state import Config, State, new_state
from service.core.step import close_through, step
from service.core.tiers import codes_in, codes_of, label_of
from service.core.turn import Turn
from tests.core.streams import Event, batch_of
from tests.doubles.panes import kept
from tests.oracle.segments import (
    BANDS,
    MARKETS,
    SPEND_TOPS,
    TENURE_TOPS,
    VOICE_TOPS,
    WINDOW,
    Happened,
    Subscriber,
    counted,
)

FIRST = date(2024, 3, 8)
DAYS = 30  # into April, when others become eligible
CONFIG = Config(windows_days=(WINDOW,), horizon_days=60, roaming_horizon_days=60)
BOOK = Rulebook(
    "segments",
    (),
    bands=tuple(SegmentBands(measure, WINDOW, *terms) for measure, terms in BANDS.items()),
    dimensions=(
        Dimension("bundle", 100, values=("none", "soft", "hard", "both")),
        Dimension("spend", 200, tuple(SPEND_TOPS)),
        Dimension("voice", 300, tuple(VOICE_TOPS)),
        Dimension("tenure", 500, tuple(TENURE_TOPS)),
        Dimension("market", 600, values=tuple(MARKETS)),
    ),
    bundle_kinds={"vpn": ("vpn",)},
)
PEOPLE = "abcd"
MONTH = 2024 * 12 + 2
KINDS = st.one_of(
    st.builds(lambda a: ("charge", {"amount_minor": a, "kind": "usage"}), st.sampled_from([1, 400, 700, 700, 1000])),
    st.builds(lambda m: ("usage.voice", {"seconds": 60 * m, "billed_minutes": m}), st.sampled_from([1, 5, 5, 10, 40])),
    st.builds(lambda b: ("usage.data", {"bytes": b}), st.sampled_from([1, 900, 1000])),
    st.builds(lambda b: ("usage.data", {"bytes": b}), st.sampled_from([1, 900, 1000])),
    st.builds(
        lambda m: ("charge", {"amount_minor": 5, "kind": "recurring", "bill_month": MONTH + m}), st.integers(0, 1)
    ),
    st.builds(
        lambda s: ("subscriber.status", {"status": s}),
        st.sampled_from(["normal", "normal", "suspended_one_way", "pre_cancelled", "cancelled"]),
    ),
    st.builds(
        lambda d, m: ("subscriber.profile", {"activated_on": d, "market": m}),
        st.sampled_from([date(2023, 10, 1), date(2023, 12, 31), date(2024, 1, 1), date(2024, 2, 1)]),
        st.sampled_from(["campus", "public", "elsewhere"]),
    ),
    st.builds(
        lambda name, hard, kind, ends: (
            "bundle.linked",
            {"bundle_id": name, "hard": hard, "kind": kind, "ends_on": ends},
        ),
        st.sampled_from("xy"),
        st.booleans(),
        st.sampled_from(["vpn", "family"]),
        st.sampled_from([None, date(2024, 3, 25)]),
    ),
    st.builds(lambda name: ("bundle.unlinked", {"bundle_id": name, "reason": "cancelled"}), st.sampled_from("xy")),
)


@st.composite
def lives(draw: st.DrawFn) -> list[tuple[int, Event]]:
    """(day on which it comes in, event) of several subscribers, usage of some days late; everybody is there at once."""
    lines = [
        (0, Event(f"p{who}", who, "subscriber.profile", _at(0), {"activated_on": date(2023, 6, 1)})) for who in "ab"
    ]
    lines += [(0, Event(f"u{who}", who, "usage.data", _at(0), {"bytes": 7})) for who in PEOPLE]
    for number in range(draw(st.integers(0, 120))):
        day, (kind, fields) = draw(st.integers(0, DAYS - 1)), draw(KINDS)
        late = draw(st.sampled_from([0, 0, 0, 1, 8])) if kind.startswith("usage") else 0
        event = Event(f"e{number}", draw(st.sampled_from(PEOPLE)), kind, _at(day, number), fields)
        lines.append((min(day + late, DAYS - 1), event))
    return sorted(lines, key=lambda line: (line[0], line[1].at))


def _at(day: int, second: int = 0) -> datetime:
    return datetime.combine(FIRST + timedelta(days=day), time(9, 0, second % 60, second), UTC)


def as_told(lines: list[tuple[int, Event]]) -> dict[str, Subscriber]:
    people = {who: Subscriber() for who in PEOPLE}
    for came, event in lines:
        happened = Happened(FIRST + timedelta(days=came), event.type, event.at.date(), event.fields)
        people[event.subscriber].events.append(happened)
    return people


def cells_of(state: State) -> dict[str, dict[tuple[str, int], int]]:
    cells: dict[str, dict[tuple[str, int], int]] = {}
    for table, key, segment, subscribers in count(state, BOOK).iter_rows():
        cells.setdefault(table, {})[key, segment] = cells.get(table, {}).get((key, segment), 0) + subscribers
    return cells


def changed(turns: list[Turn]) -> dict[str, dict[str, Any]]:
    lines = [line for turn in turns for line in turn.segments.to_dicts()]
    assert len({line["subscriber_id"] for line in lines}) == len(lines)
    return {line["subscriber_id"]: line for line in lines}


@settings(max_examples=10, phases=[Phase.generate])
@given(lives())
def test_the_engine_says_what_a_plain_count_says(lines: list[tuple[int, Event]]) -> None:
    state, people, offset = new_state(CONFIG), as_told(lines), 0
    for number in range(DAYS):
        events, today = [event for came, event in lines if came == number], FIRST + timedelta(days=number)
        step(state, BOOK, batch_of(events, offset))
        offset += len(events)
        turns = close_through(state, BOOK, to_day(today), "clock")
        was = {who: one.close(today) for who, one in people.items()}
        expected = {who: told for who, told in was.items() if told is not None and number > 0}
        said = changed(turns)
        assert {who: (line["before"], line["before_since"]) for who, line in said.items()} == expected
        for who, line in said.items():
            assert (line["segment"], line["day"], line["codes"]) == (
                people[who].segment,
                today,
                sorted(line["codes"]),
            )
            assert line["codes"] == people[who].codes(today)
        assert state.attributes["segment"][: len(state.roster)].tolist() == [
            people[who].segment for who in state.roster.strings
        ]
        if number % 7 == 6:
            state = kept(state).taken_up(CONFIG)  # which has judged nothing, as far as it knows
            state.judged = True
        if number % 5 != 4:
            continue
        plain, found = counted(people.values(), today), cells_of(state)
        for table in plain:
            assert found[table] == plain[table], (today, table)


def banded(dimensions: tuple[Dimension, ...] = (), **changes: Any) -> Rulebook:
    return replace(BOOK, dimensions=dimensions, **changes)


def using(amounts: Mapping[str, list[int]], **told: Any) -> State:
    """Subscribers with so much spend on each day from the first on, and at a close on the last."""
    days = max(len(of) for of in amounts.values())
    state = new_state(CONFIG)
    events = [
        Event(f"p{who}", who, "subscriber.profile", _at(0), {"activated_on": date(2023, 6, 1), **told})
        for who in amounts
    ]
    events += [
        Event(f"{who}{day}", who, "charge", _at(day, 1), {"amount_minor": of[day], "kind": "usage"})
        for day in range(days)
        for who, of in amounts.items()
        if day < len(of) and of[day]
    ]
    step(state, BOOK, batch_of(sorted(events, key=lambda event: event.at)))
    close_through(state, BOOK, to_day(FIRST) + days - 1, "clock")
    return state


def codes(state: State, dimension: Dimension) -> dict[str, int]:
    found = codes_in(View(state, state.rows), dimension).tolist()
    return dict(zip(state.roster.strings, found, strict=True))


def test_a_tier_holds_its_top() -> None:
    # Ten days before the window of five: their sum is two usual windows, and thirty days are six of them.
    usual = {"nothing": 0, "top": 100, "over": 101, "rich": 9999}
    state = using({who: [*[0] * 9, amount, *[1] * 5] for who, amount in usual.items()})
    tops = (0, 300, 5000)
    assert codes(state, Dimension("spend", 200, tops)) == {"nothing": 201, "top": 202, "over": 203, "rich": 204}
    assert codes(state, Dimension("spend", 200, (300, 5000))) == {"nothing": 201, "top": 201, "over": 202, "rich": 203}


def test_tenure_is_counted_to_the_end_of_the_usual_month() -> None:
    state = using({"a": [1] * 15}, activated_on=FIRST - timedelta(days=40))
    stood = 40 + 15 - 1 - WINDOW
    assert codes(state, Dimension("tenure", 500, (stood,))) == {"a": 501}
    assert codes(state, Dimension("tenure", 500, (stood - 1,))) == {"a": 502}


def test_who_is_not_in_a_list_has_no_code() -> None:
    state = using({"a": [1] * 15}, market="elsewhere")
    assert codes(state, Dimension("market", 600, values=("campus",))) == {"a": 0}
    assert codes(state, Dimension("market", 600, values=("campus", "elsewhere"))) == {"a": 602}
    assert codes(state, Dimension("device", 700, values=("4g",))) == {"a": 0}
    known = add_up([count(state, BOOK)]).filter(pl.col("table") == "market")
    assert known["key"].to_list() == ["elsewhere"]


@pytest.mark.parametrize(
    ("dimension", "labels"),
    [
        (Dimension("spend", 200, (1000, 2050)), ["0-10", "10-20.5", "20.5+"]),
        (Dimension("voice", 300, (0, 30, 90)), ["none", "0-30", "30-90", "90+"]),
        (Dimension("data", 400, (0, 10240, 1 << 20, 150 << 20)), ["none", "0-10KB", "10KB-1MB", "1MB-150MB", "150MB+"]),
        (Dimension("tenure", 500, (91, 182)), ["0-91", "91-182", "182+"]),
        (Dimension("market", 600, values=("a", "b")), ["a", "b"]),
    ],
)
def test_every_tier_has_a_label(dimension: Dimension, labels: list[str]) -> None:
    assert [label_of(dimension, code) for code in codes_of(dimension)] == labels


def test_against_a_cohort_who_moved_as_it_did_is_stable() -> None:
    # Spend has halved, as that of all comparable ones; one has lost three quarters.
    habits = {f"as all {number}": [100] * 10 + [50] * 5 for number in range(LEAST)}
    state = using({**habits, "more": [100] * 10 + [25] * 5}, market="campus")
    day = to_day(FIRST) + 14
    assert set(state.attributes["segment"][: LEAST + 1].tolist()) == {41}
    comparing = banded(against="cohort")
    state.cohorts = Cohorts(compare(state.windows, state.attributes, state.rows, comparing, day))
    assign(state, comparing, state.rows, day)
    assert Counter(state.attributes["segment"][: LEAST + 1].tolist()) == {1: LEAST, 41: 1}
    assign(state, BOOK, state.rows, day)
    assert set(state.attributes["segment"][: LEAST + 1].tolist()) == {41}


def test_who_is_comparable_with_too_few_is_compared_with_themselves() -> None:
    state = using({"as all": [100] * 10 + [50] * 5, "more": [100] * 10 + [25] * 5})
    day, comparing = to_day(FIRST) + 14, banded(against="cohort")
    state.cohorts = Cohorts(compare(state.windows, state.attributes, state.rows, comparing, day))
    assign(state, comparing, state.rows, day)
    assert state.attributes["segment"][:2].tolist() == [41, 41]


def test_a_subscribers_codes_stand_in_their_record() -> None:
    state = using({"a": [100] * 10 + [50] * 5}, market="public")
    record = describe(state, BOOK, "a", state.episodes.frame)
    assert record is not None
    # Usual were 500 in five days, 3000 in thirty; nothing else was ever used, by who is bound by nothing.
    spend, others = [101104, 202104, 301104, 503104, 602104], (201, 301, 401)
    expected = sorted([*spend, *(code // 1000 * 1000 + other for code in spend for other in others)])
    assert sorted(record["segment"]["codes"]) == expected
    assert record["segment"]["now"] == 41


def test_who_is_not_eligible_has_no_codes() -> None:
    state = using({"a": [100] * 15}, activated_on=FIRST)
    assert state.attributes["segment"][0] == 0
    assert not six_digits(View(state, state.rows), BOOK).any()


def test_without_dimensions_or_bands_there_are_no_codes() -> None:
    state = using({"a": [100] * 15})
    assert six_digits(View(state, state.rows), banded()).shape == (1, 0)
    (line,) = changes(state, banded(), int(state.attributes["segment_since"][0])).to_dicts()
    assert (line["segment"], line["codes"]) == (1, [])
    assert count(state, Rulebook("none", ()))["table"].to_list() == ["segments", "market", "area", "device_generation"]


def test_shares_are_of_the_segment_and_of_the_tier() -> None:
    cells = pl.DataFrame(
        {
            "table": ["segments"] * 3 + ["spend"] * 3 + ["bundles", "market", "codes"],
            "key": ["", "", "", "201", "202", "", "any", "", "201104"],
            "segment": [1, 41, 0, 1, 41, 41, 41, 41, 41],
            "subscribers": [6, 4, 90, 6, 2, 2, 1, 4, 2],
        },
        schema=CELLS,
    )
    told = tabulate(add_up([cells.head(4), cells.tail(5)]), BOOK, 2)
    assert (told["subscribers"], told["not_eligible"]) == (100, 90)
    assert told["segments"]["1"] == {"name": "stable", "subscribers": 6, "share_pct": 60.0}
    assert sum(one["share_pct"] for one in told["segments"].values()) == pytest.approx(100)
    lowest, second, *_, unknown = told["dimensions"]["spend"]
    assert (lowest["label"], lowest["segments"]["1"]) == (
        "0-10",
        {"subscribers": 6, "of_segment_pct": 100.0, "of_tier_pct": 100.0},
    )
    assert second["segments"]["41"] == {"subscribers": 2, "of_segment_pct": 50.0, "of_tier_pct": 100.0}
    assert second["segments"]["total"] == {"subscribers": 2, "of_segment_pct": 20.0, "of_tier_pct": 100.0}
    assert (unknown["code"], unknown["label"], unknown["segments"]["41"]["subscribers"]) == (None, None, 2)
    assert told["bundles"]["any"]["41"]["of_segment_pct"] == 25.0
    assert told["bundles"]["hard"]["41"]["subscribers"] == 0
    assert told["segments"]["21"]["share_pct"] == 0
    assert told["dimensions"]["spend"][0]["segments"]["21"]["of_segment_pct"] is None
    assert told["codes"] == {"201104": 2}
