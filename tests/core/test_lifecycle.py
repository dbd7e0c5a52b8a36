"""What becomes of episodes from close to close is what a plain walk over subscribers and days says."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from service.core.calendar import to_date, to_day
from service.core.episodes import stack
from service.core.feedback import apply_feedback
from service.core.frames import recall
from service.core.rules import Limits, Order, Rule, Rulebook
from service.core.state import Config, State, new_state
from service.core.step import close_through, step
from service.core.turn import Decisions, Turn
from tests.core.reports import reports
from tests.core.rulebooks import rule
from tests.core.streams import Event, batch_of
from tests.oracle.lifecycle import Terms, live

START = datetime(2024, 3, 1, 12, tzinfo=UTC)
DAY = to_day(START.date())
CONFIG = Config(windows_days=(1,), feed_gate=False)
GAP = 5
NOBODY = Rulebook("none", ())
TERMS = (
    Terms("cools", 4, 6, 2, wait=2, keep=2, cool=4, inhibits=("plain",)),
    Terms("plain", 3, 3, 1),
    Terms("floods", 6, 7, 0, most=1, keep=1),
    Terms("tried", 5, 5, 0, experimental=True, inhibits=("floods",)),
)


def rule_of(terms: Terms) -> Rule:
    level = pl.col("data_1d")
    return rule(
        terms.name,
        level < terms.below,
        clear_when=level >= terms.clear,
        severities=(("warning", level < terms.grave),),
        for_days=terms.wait,
        keep_for_days=terms.keep or None,
        cool_down_days=terms.cool,
        inhibits=frozenset(terms.inhibits),
        most_per_day=terms.most,
        status="experimental" if terms.experimental else "stable",
        orders=(Order("call", None),),
    )


def book(terms: Sequence[Terms], **limits: int) -> Rulebook:
    rules = tuple(sorted((rule_of(one) for one in terms), key=lambda one: one.id))
    return Rulebook("test", rules, limits=Limits(contact_gap_days=GAP, **limits))


def used(levels: dict[str, int], day: int) -> list[Event]:
    at = START + timedelta(days=day)
    return [
        Event(f"{day}{who}", who, "usage.data", at, {"bytes": level}) for who, level in sorted(levels.items()) if level
    ]


def consents(who: Sequence[str]) -> list[Event]:
    return [Event("c", one, "consent.changed", START, {"channel": "call", "granted": True}) for one in who]


def lived(rulebook: Rulebook, days: Sequence[dict[str, int]]) -> tuple[State, list[Turn]]:
    """Each day's levels as usage of the day, closed by a clock."""
    state, turns = new_state(CONFIG), []
    step(state, NOBODY, batch_of(consents(sorted(days[0]))))
    offset = len(days[0])
    for day, levels in enumerate(days):
        events = used(levels, day)
        step(state, NOBODY, batch_of(events, offset))
        offset += len(events)
        turns += close_through(state, rulebook, DAY + day, "clock")
    return state, turns


def said(turns: Sequence[Turn]) -> list[tuple[object, ...]]:
    lines = stack([turn.transitions for turn in turns]).to_dicts()
    return sorted(
        (
            line["changed_us"] // 86_400_000_000 - 1 - DAY,
            line["subscriber_id"],
            line["rule"],
            line["transition"],
            line["severity"],
            line["suppressed_by"],
            json.loads(line["orders"]).get("call"),
        )
        for line in lines
    )


LEVELS = st.integers(0, 8)
DAYS = st.lists(st.fixed_dictionaries(dict.fromkeys("abc", LEVELS)), min_size=1, max_size=16)


@settings(max_examples=60, phases=[Phase.generate])
@given(DAYS)
def test_what_is_said_is_what_a_plain_walk_says(days: list[dict[str, int]]) -> None:
    _, turns = lived(book(TERMS), days)
    expected = [line[:6] for line in sorted(live(TERMS, days, GAP, DAY).told, key=str)]
    assert sorted((line[:6] for line in said(turns)), key=str) == expected


@settings(max_examples=40, phases=[Phase.generate])
@given(DAYS)
def test_a_subscriber_gets_one_order_within_the_gap(days: list[dict[str, int]]) -> None:
    _, turns = lived(book(TERMS), days)
    made = [line for line in said(turns) if line[6] == "ordered" and line[3] in {"raised", "escalated"} and not line[5]]
    assert made == [
        line
        for line in sorted(live(TERMS, days, GAP, DAY).told)
        if line[6] == "ordered" and line[3] in {"raised", "escalated"}
    ]
    for who in "abc":
        on = [int(str(line[0])) for line in made if line[1] == who]
        assert all(later - sooner >= GAP for sooner, later in pairwise(on))


def test_flapping_around_a_threshold_is_one_episode() -> None:
    flaps = (Terms("cools", 4, 4, 0, keep=3, cool=14),)
    days = [{"a": 9}] * 3 + [{"a": 3 if day % 2 else 5} for day in range(60)]
    state, turns = lived(book(flaps), days)
    assert [line[3] for line in said(turns)].count("raised") == 1
    assert state.episodes.frame.height == 1
    lone = (Terms("plain", 4, 4, 0),)
    assert [line[3] for line in said(lived(book(lone), days)[1])].count("raised") == 30, "which it is without"


def test_who_meets_five_rules_gets_one_order() -> None:
    five = tuple(Terms(f"rule_{number}", 4, 4, 2) for number in range(5))
    days = [{"a": 9, "b": 9}, {"a": 1, "b": 3}, {"a": 1, "b": 1}]
    _, turns = lived(book(five), days)
    orders = [(line[1], line[6]) for line in said(turns) if line[3] in {"raised", "escalated"}]
    assert orders.count(("a", "ordered")) == orders.count(("b", "ordered")) == 1
    assert orders.count(("a", "contacted")) == 4


def test_a_close_that_would_say_too_much_is_held_until_somebody_lets_it_go() -> None:
    rulebook = book((Terms("plain", 4, 4, 0),), breaker_least=2, breaker_share=0)
    well, ill = dict.fromkeys("abcd", 9), dict.fromkeys("abcd", 1)
    state, turns = lived(rulebook, [well, ill])
    assert {line[5] for line in said(turns)} == {"breaker"}
    assert turns[-1].day is not None
    assert turns[-1].day.held
    told_us = int((START + timedelta(days=2)).timestamp()) * 1_000_000
    go = {"type": "warnings.released", "what": "breaker", "through": to_date(DAY + 1), "by": "chief"}
    turn = apply_feedback(state, reports(go, occurred_us=told_us))
    assert [release.what for release in turn.releases] == ["breaker"]
    later = close_through(state, rulebook, DAY + 2, "clock")
    assert [(line[3], line[5], line[6]) for line in said(later)] == [("raised", None, "ordered")] * 4
    assert close_through(state, rulebook, DAY + 3, "clock")[0].transitions.is_empty()


def test_what_was_standing_is_published_when_it_is_released() -> None:
    rulebook = book((Terms("plain", 4, 4, 0),))
    state, turns = lived(rulebook, [{"a": 1}])
    assert [line[5:] for line in said(turns)] == [("standing", "standing")]
    assert close_through(state, rulebook, DAY + 1, "clock")[0].transitions.is_empty()
    told_us = int((START + timedelta(days=2)).timestamp()) * 1_000_000
    go = {"type": "warnings.released", "what": "standing", "rule": "plain", "through": to_date(DAY), "by": "chief"}
    apply_feedback(state, reports(go, occurred_us=told_us))
    assert [line[3:] for line in said(close_through(state, rulebook, DAY + 2, "clock"))] == [
        ("raised", "notice", None, "ordered")
    ]


def test_a_mute_withholds_what_matches_until_it_ends() -> None:
    rulebook = book((Terms("plain", 4, 4, 0),))
    state, _ = lived(rulebook, [{"a": 9, "b": 9}])
    told_us = int((START + timedelta(days=1)).timestamp()) * 1_000_000
    mute = {"type": "mute.set", "mute_id": "m1", "matchers": '{"subscriber_id": "a"}', "by": "x", "note": "why"}
    turn = apply_feedback(state, reports(mute | {"until": to_date(DAY + 2)}, occurred_us=told_us))
    assert [(one.id, one.until) for one in turn.mutes] == [("m1", DAY + 2)]
    first = said(close_through(state, rulebook, DAY + 1, "clock"))
    assert [(line[1], line[5]) for line in first] == [("a", "mute:m1"), ("b", None)]
    assert not said(close_through(state, rulebook, DAY + 2, "clock"))
    assert [(line[1], line[5], line[6]) for line in said(close_through(state, rulebook, DAY + 3, "clock"))] == [
        ("a", None, "ordered")
    ]


@pytest.mark.parametrize("outcome", ["retained", "false_positive"])
def test_what_somebody_has_settled_stays_settled_while_it_cools_down(outcome: str) -> None:
    rulebook = book((Terms("plain", 4, 4, 0, cool=3),))
    state, _ = lived(rulebook, [{"a": 9}, {"a": 1}])
    (episode,) = state.episodes.frame["episode_id"].to_list()
    told_us = int((START + timedelta(days=2)).timestamp()) * 1_000_000
    said_so = {"type": "warning.resolved", "subscriber_id": "a", "episode_id": episode, "by": "x", "outcome": outcome}
    turn = apply_feedback(state, reports(said_so, occurred_us=told_us))
    assert turn.transitions.select("transition", "outcome").rows() == [("resolved", outcome)]
    assert not said(close_through(state, rulebook, DAY + 4, "clock"))
    assert [line[3] for line in said(close_through(state, rulebook, DAY + 5, "clock"))] == ["raised"]


def test_what_is_put_off_comes_back_on_its_day_and_what_deepens_comes_at_once() -> None:
    rulebook = book((Terms("plain", 4, 4, 2),))
    state, _ = lived(rulebook, [{"a": 9, "b": 9}, {"a": 3, "b": 3}])
    ids = dict(state.episodes.frame.select("subscriber_id", "episode_id").iter_rows())
    told_us = int((START + timedelta(days=2)).timestamp()) * 1_000_000
    lines = [
        {"type": "warning.snoozed", "subscriber_id": who, "episode_id": ids[who], "by": "x", "until": to_date(DAY + 3)}
        for who in "ab"
    ]
    assert apply_feedback(state, reports(*lines, occurred_us=told_us)).transitions["state"].to_list() == ["snoozed"] * 2
    step(state, NOBODY, batch_of(used({"b": 3}, 2), state.cursor))
    deeper = said(close_through(state, rulebook, DAY + 2, "clock"))
    assert [(line[1], line[3], line[4]) for line in deeper] == [("a", "escalated", "warning")]
    step(state, NOBODY, batch_of(used({"b": 3}, 3), state.cursor))
    assert [(line[1], line[3]) for line in said(close_through(state, rulebook, DAY + 3, "clock"))] == [("b", "woken")]


def test_mutes_and_releases_are_read_back() -> None:
    rulebook = book((Terms("plain", 4, 4, 0),))
    state, _ = lived(rulebook, [{"a": 9}])
    told_us = int((START + timedelta(days=1)).timestamp()) * 1_000_000
    lines = (
        {"type": "mute.set", "mute_id": "m1", "matchers": '{"rule": "plain"}', "by": "x", "until": to_date(DAY + 9)},
        {"type": "warnings.released", "what": "standing", "through": to_date(DAY), "by": "x"},
    )
    turn = apply_feedback(state, reports(*lines, occurred_us=told_us))
    again = new_state(CONFIG)
    recall(again, Decisions(mutes=turn.mutes, releases=turn.releases))
    assert (again.mutes, again.releases) == (state.mutes, state.releases)
