"""A shard that stands in its own past says what it said then, and two rulebooks are told apart on it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from service.core.calendar import to_day
from service.core.events import CHANNELS
from service.core.rules import Order, Rule, Rulebook
from service.core.signals import View, columns
from service.core.state import Config, State, new_state
from service.core.step import close_through, step
from service.history.diff import ANY, diff_sealed
from service.history.files import FileError
from service.history.sealed import Sealed, seal
from service.history.tally import backtest_sealed
from service.history.trial import trials
from service.rulebook.loading import default_folder, load
from tests.core.streams import Event, batch_of
from tests.rulebook.folders import SIGNALS

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
FIRST = to_day(START.date())
DAYS = 40  # no more than the longest window and its baseline hold
CONFIG = Config(windows_days=(1, 7, 14))
SHIPPED = next(rule for rule in load(default_folder(), SIGNALS).rules if rule.id == "voice_drop")
MOVING = [
    "voice_7d", "voice_7d_baseline", "voice_7d_drop", "voice_7d_drop_vs_cohort", "outgoing_14d", "active_days_7d",
    "days_silent", "days_since_voice", "outgoing_gap_days", "zero_days_7d", "monthly_value",
]  # fmt: skip


def rule(rule_id: str, drop: float, **changes: object) -> Rule:
    made = replace(
        SHIPPED,
        id=rule_id,
        when=pl.col("voice_7d_drop") >= drop,
        clear_when=pl.col("voice_7d_drop") < drop / 2,
        severities=(("warning", pl.col("days_silent") >= 2),),
        names=frozenset({"voice_7d_drop", "days_silent", "money_at_risk"}),
        numbers=(),
        orders=(Order("call", pl.col("severity") == "warning"), Order("sms", None)),
        window_days=7,
        keep_for_days=None,
        cool_down_days=0,
        inhibits=frozenset(),
        why={},
        params={},
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # fields of a rule


BOOK = Rulebook(
    hash="old",
    rules=(
        rule("half", 0.5),
        rule("patient", 0.3, for_days=3),
        rule("sticky", 0.4, keep_for_days=2),
        rule("cooling", 0.4, cool_down_days=5),
    ),
)


def events() -> Iterator[list[Event]]:
    """A day after another: thirty subscribers who talk now and then, and have agreed to be called."""
    rng = np.random.default_rng(7)
    consents = [
        Event(f"c{who}", f"s{who}", "consent.changed", START, {"channel": channel, "granted": True})
        for who in range(30)
        for channel in CHANNELS
        if channel == "call"
    ]
    for day in range(DAYS):
        said = [
            Event(
                f"{who}", f"s{who}", "usage.voice", START + timedelta(days=day), {"seconds": int(rng.integers(0, 900))}
            )
            for who in range(30)
            if rng.random() < (0.7 if (day // 9 + who) % 2 else 0.2)
        ]
        yield (consents if day == 0 else []) + said


def opened(state: State) -> dict[str, set[int]]:
    frame = state.episodes.frame.filter(pl.col("state").is_in(["raised", "recovering"]))
    return {one.id: set(frame.filter(pl.col("rule") == one.id)["row"].to_list()) for one in BOOK.rules}


@pytest.fixture(scope="module")
def lived() -> tuple[State, list[pl.DataFrame], list[dict[str, set[int]]]]:
    """A shard at the end of its days, and of each close what it said."""
    state = new_state(CONFIG)
    state.judged = True
    figures, warned, offset = [], [], 0
    for nth, batch in enumerate(events()):
        step(state, BOOK, batch_of(batch, offset))
        offset += len(batch)
        close_through(state, BOOK, FIRST + nth, "clock")
        figures.append(columns(View(state, state.rows), MOVING))
        warned.append(opened(state))
    return state, figures, warned


def sealed(state: State) -> Sealed:
    """The shard's past; the shard itself lives on in other tests, so what it moves is a copy."""
    attributes = replace(state.attributes, columns={name: one.copy() for name, one in state.attributes.columns.items()})
    shard = seal(replace(state, attributes=attributes))
    assert shard is not None
    return shard


def test_each_day_has_the_figures_that_it_had(lived: tuple[State, list[pl.DataFrame], list[object]]) -> None:
    state, figures, _ = lived
    shard = sealed(state)
    shard.ask(BOOK, MOVING)
    shard.stand(FIRST + 29)
    for nth in range(30, DAYS):
        shard.move()
        then = figures[nth]
        assert columns(shard.view(BOOK), MOVING).head(then.height).equals(then), nth
        assert columns(View(shard.state, state.rows[:3]), MOVING).equals(then.head(3))


def test_each_day_names_whom_the_core_named(lived: tuple[State, list[pl.DataFrame], list[dict[str, set[int]]]]) -> None:
    state, _, warned = lived
    shard = sealed(state)
    (trial,) = trials(shard, [BOOK], range(FIRST, FIRST + DAYS))
    for rule_id, course in trial.courses.items():
        assert course.open_by_day == [len(day[rule_id]) for day in warned], rule_id
        assert set(np.flatnonzero(course.open).tolist()) == warned[-1][rule_id]
        assert max(course.open_by_day) > 0
    ordered = state.episodes.contacts.filter(pl.col("outcome") == "ordered")
    found = state.roster.take(np.flatnonzero(trial.ordered["call"]).astype(np.int32)).to_list()
    assert sorted(found) == sorted(set(ordered.filter(pl.col("channel") == "call")["subscriber_id"].to_list()))
    assert not trial.ordered["sms"].any()  # nobody agreed


def test_a_stricter_rule_loses_and_a_new_one_wins(lived: tuple[State, list[pl.DataFrame], list[object]]) -> None:
    state, _, _ = lived
    shard, steps = sealed(state), []
    new = replace(BOOK, hash="new", rules=(rule("half", 0.8), rule("fresh", 0.6), *BOOK.rules[1:]))
    days = range(FIRST + 25, FIRST + DAYS)
    found = diff_sealed([shard], BOOK, new, days, lambda: steps.append(1))
    half, fresh = found.rules["half"], found.rules["fresh"]
    assert len(steps) == len(days)
    assert (half.won, half.lost) == (0, half.old - half.new)
    assert half.lost > 0
    assert (fresh.old, fresh.won) == (0, fresh.new)
    assert (found.rules["sticky"].won, found.rules["sticky"].lost) == (0, 0)
    assert found.rules[ANY].old >= half.old
    lost = found.ids.filter((pl.col("rule") == "half") & (pl.col("change") == "lost"))
    assert lost.height == half.lost
    assert found.plain()["subscribers"] == 30
    segments = [one for one in found.plain()["by_rule_and_segment"] if one["rule"] == "half"]
    assert sum(one["lost"] for one in segments) == half.lost


def test_days_that_are_not_stored_are_refused(lived: tuple[State, list[pl.DataFrame], list[object]]) -> None:
    with pytest.raises(FileError, match="2025-12-31 cannot be judged: usage is stored from 2026-01-01 on"):
        diff_sealed([sealed(lived[0])], BOOK, BOOK, range(FIRST - 1, FIRST + 3), list)


def test_a_backtest_knows_who_left_and_how_long_after(
    lived: tuple[State, list[pl.DataFrame], list[dict[str, set[int]]]],
) -> None:
    state, _, warned = lived
    shard = sealed(state)
    left = np.array(sorted(warned[30]["half"]), np.int64)[:3]
    shard.state.attributes.columns["status"][left] = 5
    shard.state.attributes.columns["status_since"][left] = FIRST + 35
    days = range(FIRST, FIRST + DAYS)
    found = backtest_sealed([replace(shard)], BOOK, days, lambda: None).plain()
    half = found["rules"]["half"]
    assert (found["subscribers"], found["leavers"]) == (30, 3)
    assert half["recall"] == 1
    assert half["precision"] == pytest.approx(3 / half["warned"])
    assert half["lift"] == pytest.approx(half["precision"] * 10)
    assert 35 - 30 <= half["lead_days"] <= 35
    assert half["open_a_day"] >= sum(len(day["half"]) for day in warned[:35]) / DAYS - 1
    assert found["rules"]["any"]["warned"] >= half["warned"]


def test_a_backtest_counts_an_experimental_rule_by_itself_only(lived: tuple[State, object, list[object]]) -> None:
    days = range(FIRST, FIRST + DAYS)
    half, tried = rule("half", 0.5), rule("tried", 0.3, status="experimental")

    def told(*rules: Rule) -> dict[str, dict[str, object]]:
        found: dict[str, dict[str, object]] = backtest_sealed(
            [sealed(lived[0])], Rulebook("book", rules), days, lambda: None
        ).plain()["rules"]
        return found

    alone, both = told(half), told(half, tried)
    assert both["any"] == alone["any"]
    assert int(str(both["tried"]["warned"])) > int(str(both["half"]["warned"])), "it would warn more"
    assert both["half"]["overlap"] == {"rule": "tried", "share": 1.0}, "who fell by half fell by less as well"
    assert told(tried)["any"]["warned"] == 0
