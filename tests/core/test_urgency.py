"""The order of the call list: severity, then signs of leaving, then value; and what counts as a sign."""

from datetime import UTC, date, datetime, timedelta

import polars as pl

from service.core.calendar import to_day
from service.core.rules import CallOrder, Sign
from service.core.signals import View
from service.core.state import Config, new_state
from service.core.step import close_through, step
from service.core.urgency import holds, ranked, signs
from tests.core.rulebooks import book
from tests.core.streams import Event, batch_of


def noon(first: date, day: int) -> datetime:
    return datetime(first.year, first.month, first.day, 12, tzinfo=UTC) + timedelta(days=day)


def test_severity_goes_before_signs_and_signs_before_value() -> None:
    people = pl.DataFrame(
        [
            ("poor", "warning", 2, 10),
            ("rich", "warning", 2, 900),
            ("many", "warning", 5, 0),
            ("grave", "critical", 0, 0),
            ("told", "notice", 9, 999),
            ("nobody", None, 9, 999),
            ("unknown", None, None, None),
            ("another", None, 0, 0),
        ],
        schema=["subscriber_id", "severity", "signs", "money_at_risk"],
        orient="row",
    )
    listed = ranked(people)
    assert listed["subscriber_id"].to_list() == [
        "grave", "many", "rich", "poor", "told", "nobody", "another", "unknown",
    ]  # fmt: skip
    assert listed["rank"].to_list() == [3, 2, 2, 2, 1, 0, 0, 0]


def test_signs_that_hold_are_counted_and_what_is_unknown_is_none() -> None:
    at = datetime(2024, 1, 1, 12, tzinfo=UTC)
    events = [
        Event("1", "talks", "usage.voice", at, {"seconds": 600, "direction": "out"}),
        Event("2", "surfs", "usage.data", at, {"bytes": 5}),
    ]
    state = new_state(Config())
    step(state, book(), batch_of(events))
    close_through(state, book(), to_day(date(2024, 1, 3)), "clock")
    view = View(state, state.rows)
    who = state.roster.take(state.rows).to_list()
    talked = Sign("talked", pl.col("voice_30d") >= 10, frozenset({"voice_30d"}))
    quiet = Sign("quiet", pl.col("days_silent") == 2, frozenset({"days_silent"}))
    old = Sign("old", pl.col("tenure_days") > 0, frozenset({"tenure_days"}))
    assert dict(zip(who, signs(view, CallOrder((talked, quiet, old))).tolist(), strict=True)) == {
        "talks": 2,
        "surfs": 1,
    }
    assert dict(zip(who, holds(view, talked).tolist(), strict=True)) == {"talks": True, "surfs": False}
    assert signs(view, CallOrder()).tolist() == [0, 0]
