"""Rules that change while episodes of them live: nothing is stranded, and what was true before is no news."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from service.core.books import Books, Publication
from service.core.calendar import to_date
from service.core.feedback import apply_feedback
from service.core.rules import Rulebook
from service.core.state import State, new_state
from service.core.step import close_through, step
from service.core.turn import Turn
from tests.core.reports import reports
from tests.core.streams import batch_of
from tests.core.test_lifecycle import CONFIG, DAY, NOBODY, book, consents, said, used
from tests.oracle.lifecycle import Terms

START = datetime(2024, 3, 1, 12, tzinfo=UTC)
PLAIN = Terms("plain", 4, 4, 0)


def changing(before: Rulebook, now: Rulebook, on: int) -> Books:
    """`now` judges from the day `on` of the run."""
    before, now = replace(before, hash="a"), replace(now, hash="b")
    return Books(before, {"b": now}, (Publication("b", DAY + on, 1, "", ""),))


def lived(books: Books, levels: list[int]) -> tuple[State, list[Turn]]:
    state, turns = new_state(CONFIG), []
    step(state, NOBODY, batch_of(consents(["a"])))
    offset = 1
    for day, level in enumerate(levels):
        events = used({"a": level}, day)
        step(state, NOBODY, batch_of(events, offset))
        offset += len(events)
        turns += close_through(state, books, DAY + day, "clock")
    return state, turns


def told(turns: list[Turn]) -> list[tuple[object, ...]]:
    return [(line[0], line[3], line[5]) for line in said(turns)]


def test_a_rule_that_was_only_tried_begins_with_standing_cases() -> None:
    tried = book((Terms("plain", 4, 4, 0, experimental=True),))
    state, turns = lived(changing(tried, book((PLAIN,)), 4), [9, 9, 1, 1, 1, 1])
    assert told(turns) == [(2, "raised", "experimental"), (4, "suppressed", "standing")]
    assert state.episodes.contacts.is_empty()


def test_what_held_on_a_rules_first_day_is_standing_when_it_has_waited() -> None:
    waits = book((Terms("plain", 4, 4, 0, wait=3),))
    state, turns = lived(changing(book(()), waits, 2), [9, 1, 1, 1, 1, 1])
    assert told(turns) == [(2, "pending", "pending:standing"), (4, "raised", "standing")]
    assert state.episodes.contacts.is_empty()


def test_who_waits_is_raised_at_once_where_a_rule_waits_no_more() -> None:
    waits = book((Terms("plain", 4, 4, 0, wait=5),))
    _, turns = lived(changing(waits, book((PLAIN,)), 4), [9, 9, 1, 1, 1, 1])
    assert told(turns) == [(2, "pending", "pending"), (4, "raised", None)]


def test_who_recovers_is_reopened_where_a_rule_lingers_no_more() -> None:
    lingers = book((Terms("plain", 4, 4, 0, keep=4),))
    _, turns = lived(changing(lingers, book((PLAIN,)), 4), [9, 1, 9, 9, 1, 9])
    assert told(turns) == [(1, "raised", None), (2, "recovering", None), (4, "reopened", None), (5, "resolved", None)]


def test_episodes_of_a_rule_that_is_gone_end() -> None:
    both = book((PLAIN, Terms("waits", 4, 4, 0, wait=9)))
    state, turns = lived(changing(both, book(()), 3), [9, 1, 1, 1, 1])
    assert told(turns) == [(1, "raised", None), (1, "pending", "pending"), (3, "resolved", None)]
    assert state.episodes.frame["outcome"].to_list() == ["expired"]


def test_reports_take_effect_in_their_order_however_they_come() -> None:
    def reported(*sizes: int) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
        state, _ = lived(Books(book((PLAIN,))), [9, 1])
        (episode,) = state.episodes.frame["episode_id"].to_list()
        mine = {"subscriber_id": "a", "episode_id": episode}
        lines = [
            mine | {"type": "warning.snoozed", "by": "x", "until": to_date(DAY + 9)},
            mine | {"type": "warning.acknowledged", "by": "y"},
            mine | {"type": "warning.snoozed", "by": "y", "until": to_date(DAY + 5)},
            mine | {"type": "warning.snoozed", "by": "y", "until": to_date(DAY + 6)},
        ]
        at, heard = 0, []
        told_us = int((START + timedelta(days=2)).timestamp()) * 1_000_000
        for size in sizes:
            frame = reports(*lines[at : at + size], occurred_us=told_us, first_offset=at)
            heard += apply_feedback(state, frame).transitions.select("transition", "state", "at").rows()
            at += size
        kept = state.episodes.frame.select("state", "snoozed_until", "acknowledged_by").rows()
        return heard, kept

    assert reported(4) == reported(1, 1, 1, 1) == reported(2, 2) == reported(1, 3)
    heard, kept = reported(4)
    assert [transition for transition, *_ in heard] == ["snoozed", "acknowledged", "snoozed", "snoozed"]
    assert kept == [("snoozed", to_date(DAY + 6), "y")]
