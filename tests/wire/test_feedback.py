"""Reports become rows, and what we write of them can be read."""

import json
from collections import Counter
from datetime import date
from typing import Any

import polars as pl
import pytest
from jsonschema import Draft202012Validator

from service.wire.decode import Intake
from service.wire.feedback import (
    FEEDBACK,
    Acknowledged,
    Released,
    acknowledgement,
    decode_feedback,
    feed_closed,
    instant_text,
    released,
)
from service.wire.records import Message, Record
from service.wire.rejects import Fault
from service.wire.schemas import documents
from tests.wire.examples import NOON_US, PARTITIONS, encoded, home_of, record

RULES = Intake(PARTITIONS)
ACKNOWLEDGED = {
    "id": "f-1",
    "type": "warning.acknowledged",
    "subscriber_id": "s-1",
    "warning_id": "e1",
    "by": "m-1",
    "note": "calling",
    "occurred_at": "2013-08-31T12:00:00Z",
}
REPORTED = {
    "id": "f-2",
    "type": "contact.reported",
    "subscriber_id": "s-1",
    "warning_id": "e1",
    "channel": "sms",
    "outcome": "refused",
    "occurred_at": "2013-08-31T20:00:00+08:00",
}
CLOSED = {"id": "f-3", "type": "feed.closed", "through": "2013-08-31", "offset": 18}
RELEASED = {
    "id": "f-4",
    "type": "warnings.released",
    "what": "breaker",
    "rule": "silent",
    "raised_through": "2013-08-30",
    "by": "m-1",
    "occurred_at": "2013-08-31T12:00:00Z",
}
NOTHING: dict[str, Any] = dict.fromkeys(FEEDBACK)


def arrived(message: Message, offset: int = 0) -> Record:
    return record(message.value, message.key, offset, topic=message.topic, partition=message.partition)


def fault(value: dict[str, Any] | bytes | None, **changes: Any) -> Fault | None:
    raw = encoded(value) if isinstance(value, dict) else value
    found = decode_feedback([record(raw, **changes)], RULES)
    assert found.frame.height + len(found.rejects) == 1
    return found.rejects[0].fault if found.rejects else None


def test_reports_become_rows() -> None:
    records = [
        record(encoded(ACKNOWLEDGED), offset=4),
        record(encoded(REPORTED), offset=5),
        record(encoded(CLOSED), None, 6),
        record(encoded(RELEASED), None, 7),
        record(encoded({"id": "f-5", "type": "weather"}), offset=8),
    ]
    found = decode_feedback(records, RULES)
    assert found.frame.schema == pl.Schema(FEEDBACK)
    who = {"subscriber_id": "s-1", "episode_id": "e1", "occurred_us": NOON_US}
    assert found.frame.to_dicts() == [
        NOTHING | who | {"offset": 4, "id": "f-1", "type": "warning.acknowledged", "by": "m-1", "note": "calling"},
        NOTHING | who | {"offset": 5, "id": "f-2", "type": "contact.reported", "channel": "sms", "outcome": "refused"},
        NOTHING | {"offset": 6, "id": "f-3", "type": "feed.closed", "through": date(2013, 8, 31), "at_offset": 18},
        NOTHING
        | {"offset": 7, "id": "f-4", "type": "warnings.released", "what": "breaker", "rule": "silent", "by": "m-1"}
        | {"occurred_us": NOON_US, "through": date(2013, 8, 30)},
    ]
    assert (found.rejects, found.ignored) == ([], Counter({"weather": 1}))


@pytest.mark.parametrize(
    ("value", "changes", "expected"),
    [
        (None, {}, Fault.MALFORMED),
        (b"{", {}, Fault.MALFORMED),
        (b"{}", {}, Fault.INVALID),
        (ACKNOWLEDGED, {"key": None}, Fault.NO_KEY),
        (ACKNOWLEDGED, {"key": "s-2"}, Fault.WRONG_KEY),
        (ACKNOWLEDGED, {"partition": (home_of(b"s-1") + 1) % PARTITIONS}, Fault.WRONG_PARTITION),
        (ACKNOWLEDGED, {"timestamp_us": 0}, Fault.FUTURE),
        (ACKNOWLEDGED | {"occurred_at": "noon"}, {}, Fault.INVALID),
        (ACKNOWLEDGED | {"by": ""}, {}, Fault.INVALID),
        (REPORTED | {"channel": "pigeon"}, {}, Fault.INVALID),
        (REPORTED | {"outcome": None}, {}, Fault.INVALID),
        (CLOSED | {"through": "soon"}, {"key": None}, Fault.INVALID),
        (CLOSED | {"offset": -1}, {"key": None}, Fault.INVALID),
        (CLOSED | {"offset": 2**63}, {"key": None}, Fault.INVALID),
        (RELEASED | {"what": "everything"}, {"key": None}, Fault.INVALID),
        (RELEASED | {"raised_through": "today"}, {"key": None}, Fault.INVALID),
        (RELEASED | {"rule": None}, {"key": None}, None),
        (REPORTED | {"warning_id": None}, {}, None),
        (CLOSED | {"occurred_at": "2013-08-31T12:00:00Z"}, {"key": None}, None),
    ],
)
def test_what_cannot_be_read_is_rejected_alone(value: Any, changes: dict[str, Any], expected: Fault | None) -> None:
    assert fault(value, **changes) is expected


def test_rejects_keep_their_order_and_neighbours_stay() -> None:
    records = [
        record(encoded(ACKNOWLEDGED | {"occurred_at": "noon"}), offset=1),
        record(b"{", offset=2),
        record(encoded(REPORTED), offset=3),
    ]
    found = decode_feedback(records, RULES)
    assert [reject.record.offset for reject in found.rejects] == [1, 2]
    assert found.frame["offset"].to_list() == [3]


def test_nothing_came() -> None:
    assert decode_feedback([], RULES).frame.schema == pl.Schema(FEEDBACK)


def test_what_we_write_we_can_read_and_the_contract_holds() -> None:
    told = Acknowledged("f-1", "s-1", "e1", "m-1", instant_text(NOON_US + 1))
    written = [
        acknowledgement(told, "churn.feedback", home_of(b"s-1")),
        feed_closed(date(2013, 8, 31), 18, "churn.feedback", 3),
        released(Released("f-2", "standing", "2013-08-31", "m-1", instant_text(NOON_US)), "churn.feedback", 3),
    ]
    validator = Draft202012Validator(documents()["feedback.schema.json"])
    for message in written:
        validator.validate(json.loads(message.value or b""))
    found = decode_feedback([arrived(message, at) for at, message in enumerate(written)], RULES)
    assert found.rejects == []
    assert found.frame["occurred_us"].to_list() == [NOON_US + 1, None, NOON_US]
    assert found.frame["at_offset"].to_list() == [None, 18, None]
    assert found.frame["what"].to_list() == [None, None, "standing"]


@pytest.mark.parametrize(("through", "expected"), [("2013-09-01", None), ("2013-09-02", Fault.FUTURE)])
def test_no_feed_ends_later_than_the_day_after_its_record(through: str, expected: Fault | None) -> None:
    assert fault(CLOSED | {"through": through}, key=None) is expected
    assert fault(CLOSED | {"through": "9999-12-31"}, key=None, timestamp_us=-1) is None
