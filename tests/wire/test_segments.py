"""A change of segment keeps its contract, and is the same whenever it is sent."""

import json
from datetime import date
from typing import Any

import polars as pl
from jsonschema import Draft202012Validator

from service.core.turn import SEGMENT_CHANGES
from service.wire.messages import Outlet
from service.wire.schemas import documents
from service.wire.segments import segment_messages
from service.wire.topics import Topics

OUTLET = Outlet(Topics("x."), partition=2)
SCHEMA = documents()["segment.schema.json"]
CHANGE: dict[str, Any] = {
    "subscriber_id": "s-1",
    "day": date(2013, 8, 31),
    "segment": 42,
    "before": 1,
    "before_since": date(2013, 8, 2),
    "market": "campus",
    "codes": [301204, 603204],
    "changed_us": 1_377_993_600_000_000,
}


def changes(*lines: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([CHANGE | line for line in lines], schema=SEGMENT_CHANGES)


def test_a_change_says_all_of_it() -> None:
    (message,) = segment_messages(changes({}), OUTLET)
    assert (message.topic, message.partition, message.key) == ("x.churn.segments", 2, b"s-1")
    assert {name: value.decode() for name, value in message.headers} == {
        "ce_specversion": "1.0",
        "ce_id": "s-1.segment.2013-08-31",
        "ce_source": "/churn-warning",
        "ce_type": "churn.segment.changed",
        "ce_subject": "s-1",
        "ce_time": "2013-09-01T00:00:00Z",
        "ce_dataschema": "urn:churn-warning:schema:segment:1",
        "content-type": "application/json",
    }
    told = json.loads(message.value or b"")
    assert told == {
        "subscriber_id": "s-1",
        "day": "2013-08-31",
        "segment": 42,
        "before": 1,
        "before_since": "2013-08-02",
        "market": "campus",
        "codes": [301204, 603204],
        "as_of": "2013-09-01T00:00:00Z",
    }
    Draft202012Validator(SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(told)
    assert set(told) == set(SCHEMA["$defs"]["SegmentChanged"]["properties"])


def test_what_is_not_known_is_null_and_changes_keep_their_order() -> None:
    unknown: dict[str, Any] = {"market": None, "before_since": None, "codes": []}
    several = changes({}, unknown | {"subscriber_id": "s-2"}, {"subscriber_id": "s-3", "day": date(2013, 9, 1)})
    messages = segment_messages(several, OUTLET)
    assert [message.key for message in messages] == [b"s-1", b"s-2", b"s-3"]
    told = json.loads(messages[1].value or b"")
    assert {name: told[name] for name in unknown} == unknown
    Draft202012Validator(SCHEMA).validate(told)
    assert len({dict(message.headers)["ce_id"] for message in messages}) == 3
    assert messages == segment_messages(several, OUTLET)


def test_no_changes_no_messages() -> None:
    assert segment_messages(changes(), OUTLET) == []
