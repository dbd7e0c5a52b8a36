"""What does not count goes on with its original bytes and the reason."""

import polars as pl
import pytest

from service.core.turn import LATE
from service.wire.deadletters import dead_letter, late_messages
from service.wire.decode import Intake, decode
from service.wire.records import Message
from service.wire.rejects import Fault, Reject
from tests.wire.examples import PARTITIONS, home_of, record

GIVEN = (("traceparent", b"00-1"), ("x", b"\xff"))


def test_a_dead_letter_has_the_original_bytes_and_the_reason() -> None:
    lost = record(b"\xff{", "s-1", 42, headers=GIVEN)
    told = dead_letter(Reject(lost, Fault.MALFORMED, "text is not UTF-8"), "usage.dead-letters")
    home = str(home_of(b"s-1")).encode()
    assert told == Message(
        "usage.dead-letters",
        lost.partition,
        b"s-1",
        b"\xff{",
        (
            *GIVEN,
            ("__connect.errors.topic", b"usage.events"),
            ("__connect.errors.partition", home),
            ("__connect.errors.offset", b"42"),
            ("__connect.errors.stage", b"VALUE_CONVERTER"),
            ("__connect.errors.exception.class.name", b"MalformedValue"),
            ("__connect.errors.exception.message", b"text is not UTF-8"),
        ),
    )


def test_a_header_whose_name_is_not_utf8_is_left_out_of_its_letter() -> None:
    lost = record(b"{}", headers=(*GIVEN, ("\udcff\udcfe", b"1")))
    rejects = decode([lost, record(b"{")], Intake(PARTITIONS)).rejects
    assert (rejects[0].fault, rejects[0].reason) == (
        Fault.MALFORMED,
        "the name of a header is not UTF-8",
    )
    assert len(rejects) == 2
    assert dead_letter(rejects[0], "t").headers[:3] == (*GIVEN, ("__connect.errors.topic", b"usage.events"))


@pytest.mark.parametrize("fault", list(Fault))
def test_every_fault_has_a_name_of_its_own(fault: Fault) -> None:
    letters = {other: dead_letter(Reject(record(None, None), other, "why"), "t").headers[4][1] for other in Fault}
    assert list(letters.values()).count(letters[fault]) == 1


def test_a_letter_that_fails_again_says_only_its_last_failure() -> None:
    first = dead_letter(Reject(record(b"{"), Fault.MALFORMED, "first"), "t")
    again = record(b"{", headers=first.headers)
    headers = dead_letter(Reject(again, Fault.FUTURE, "second"), "t").headers
    assert [value for name, value in headers if name == "__connect.errors.exception.message"] == [b"second"]


def test_late_records_go_on_as_they_came() -> None:
    records = [record(b"a", offset=1), record(b"b", offset=2, headers=GIVEN), record(b"c", None, 3)]
    late = pl.DataFrame([(2, "past its horizon"), (3, "older")], schema=LATE, orient="row")
    second, third = late_messages(late, records, "usage.late")
    assert (second.key, second.value, second.partition) == (b"s-1", b"b", records[1].partition)
    assert second.headers[:2] == GIVEN
    assert dict(second.headers[2:]) == {
        "churn.late.topic": b"usage.events",
        "churn.late.partition": str(records[1].partition).encode(),
        "churn.late.offset": b"2",
        "churn.late.reason": b"past its horizon",
    }
    assert (third.key, third.value) == (None, b"c")
    assert late_messages(pl.DataFrame(schema=LATE), [], "usage.late") == []
