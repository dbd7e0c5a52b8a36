"""What was decided is read back as it was."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from service.core.turn import CONTACTS, TRANSITIONS, DayRecord, Decisions, Turn
from service.wire.decisions import DecisionError, DecisionReader, decision_messages, read_decisions
from service.wire.records import Message, Record
from tests.wire.turns import CONTACT_LISTS, DAYS, LINES, transitions, turn


def as_records(messages: Sequence[Message], start: int = 0) -> list[Record]:
    return [Record(m.topic, m.partition, start + at, 0, m.key, m.value, m.headers) for at, m in enumerate(messages)]


def read_back(*turns: Turn) -> Decisions:
    return read_decisions(as_records([m for one in turns for m in decision_messages(one, "churn.decisions", 3)]))


def contacts(*lines: tuple[str, str, date, str | None, str | None]) -> pl.DataFrame:
    return pl.DataFrame(list(lines), schema=CONTACTS, orient="row")


def test_no_records_are_no_decisions() -> None:
    read = read_decisions([])
    assert (read.cursor, read.feedback_cursor, read.days) == (0, 0, {})
    assert read.episodes.schema == pl.Schema(TRANSITIONS)
    assert read.contacts.schema == pl.Schema(CONTACTS)


@settings(max_examples=150)
@given(LINES, CONTACT_LISTS, DAYS | st.none(), st.integers(0, 2**62), st.integers(0, 2**62))
def test_a_turn_comes_back_as_it_was(
    lines: list[dict[str, Any]], lists: dict[Any, list[Any]], day: DayRecord | None, cursor: int, feedback: int
) -> None:
    told = pl.DataFrame(lines, schema=TRANSITIONS)
    made = contacts(*[(who, channel, *line) for (who, channel), listed in lists.items() for line in listed])
    read = read_back(turn(cursor, feedback_cursor=feedback, transitions=told, contacts=made, day=day))
    assert (read.cursor, read.feedback_cursor) == (cursor, feedback)
    assert read.days == ({} if day is None else {day.day: day})
    last = told.unique("episode_id", keep="last", maintain_order=True)
    assert_frame_equal(read.episodes, last, check_row_order=False)
    assert_frame_equal(read.contacts, made)


def test_the_last_word_counts() -> None:
    first = turn(5, transitions=transitions({}, {"episode_id": "e2"}), day=DayRecord(10, 5, "watermark", "h", 2, 1))
    then = turn(
        9,
        transitions=transitions({"transition": "resolved", "state": "resolved", "outcome": "recovered"}),
        day=DayRecord(10, 5, "watermark", "h", 2, 2),
    )
    read = read_back(first, then)
    assert read.cursor == 9
    assert read.days[10].slices_done == 2
    assert dict(read.episodes.select("episode_id", "state").iter_rows()) == {"e1": "resolved", "e2": "raised"}


def test_the_forgotten_are_gone() -> None:
    first = turn(transitions=transitions({}, {"episode_id": "e2"}))
    assert read_back(first, turn(forgotten=("e1",))).episodes["episode_id"].to_list() == ["e2"]


def test_a_pair_of_subscriber_and_channel_has_one_list_that_is_replaced() -> None:
    old, new = date(2013, 6, 1), date(2013, 8, 31)
    first = contacts(("s/1", "call", old, "e1", "ordered"), ("s/1", "sms", old, "e1", "ordered"))
    then = contacts(("s/1", "call", new, "e2", "ordered"), ("s/1", "call", new, "e2", "refused"))
    read = read_back(turn(contacts=first), turn(contacts=then))
    assert sorted(read.contacts.select("subscriber_id", "channel", "day", "outcome").rows()) == [
        ("s/1", "call", new, "ordered"),
        ("s/1", "call", new, "refused"),
        ("s/1", "sms", old, "ordered"),
    ]


def test_keys_are_readable_and_the_cursor_comes_last() -> None:
    said = turn(
        transitions=transitions({}),
        contacts=contacts(("s-1", "call", date(2013, 8, 31), "e1", "ordered")),
        forgotten=("e0",),
        day=DayRecord(15_948, 18, "clock", "h", 1, 1),
    )
    messages = decision_messages(said, "churn.decisions", 3)
    assert [message.key for message in messages] == [
        b"episode/e1",
        b"contact/s-1/call",
        b"episode/e0",
        b"day/2013-08-31",
        b"cursor",
    ]
    assert {(message.topic, message.partition) for message in messages} == {("churn.decisions", 3)}


def test_reading_a_fetch_at_a_time_gives_the_same() -> None:
    records = as_records(decision_messages(turn(transitions=transitions({})), "churn.decisions", 0))
    reader = DecisionReader()
    for record in records:
        reader.take([record])
    assert_frame_equal(reader.decisions().episodes, read_decisions(records).episodes)


def test_keys_of_a_kind_to_come_are_passed_over() -> None:
    assert read_decisions([Record("t", 0, 0, 0, b"cap/call", b"{}"), Record("t", 0, 1, 0, None, b"?")]).cursor == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"cursor", b"{}"),
        (b"cursor", b"\xff"),
        (b"day/2013-02-30", b'{"cut":1,"cause":"clock","rulebook":"h","slices":1,"slices_done":1}'),
        (b"episode/e1", b"[]"),
        (b"contact/s-1/call", b'[{"day":"never"}]'),
    ],
)
def test_a_spoilt_decision_ends_the_reading_and_names_its_record(key: bytes, value: bytes) -> None:
    with pytest.raises(DecisionError, match=r"at offset 7 of churn\.decisions-3 cannot be read"):
        read_decisions([Record("churn.decisions", 3, 7, 0, key, value)])
