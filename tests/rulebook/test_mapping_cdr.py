"""Charging records of TS 32.298 become the events that a plain reading of the same lines gives."""

import json
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from service.rulebook.mapping import Mapping, expand_records, expand_values, load_mapping

ROOT = Path(__file__).parents[2]
RECORDS = (ROOT / "tests" / "fixtures" / "cdr" / "records.jsonl").read_bytes().splitlines()
LOCAL = ZoneInfo("Asia/Shanghai")
RAT = {1: "3g", 2: "2g", 6: "4g", 51: "5g"}

DATA = (
    b'{"recordType":85,"servedIMSI":"1","chargingID":1,"recordOpeningTime":"2024-03-01T00:00:00Z","duration":%s,'
    b'"listOfTrafficVolumes":[{"dataVolumeGPRSUplink":%s,"dataVolumeGPRSDownlink":1}]}'
)

Plain = tuple[str, datetime, str, tuple[tuple[str, Any], ...]]


@pytest.fixture(scope="module")
def cdr() -> Mapping:
    return load_mapping(ROOT / "rules", "cdr_3gpp")


def plainly(record: dict[str, Any]) -> list[Plain]:
    """What one record tells, written down once more without the mapping."""
    who, kind = record["servedIMSI"], record["recordType"]
    fields: dict[str, Any]
    if kind in {0, 1}:
        at = datetime.fromisoformat(record.get("answerTime") or record["seizureTime"])
        fields = {"seconds": record["callDuration"], "direction": "in" if kind else "out"}
        return [(who, at, "usage.voice", tuple(sorted(fields.items())))]
    if kind in {6, 7}:
        if "smsResult" in record:
            return []
        at = datetime.fromisoformat(record["originationTime" if kind == 6 else "deliveryTime"])
        fields = {"count": 1, "direction": "out" if kind == 6 else "in"}
        return [(who, at, "usage.sms", tuple(sorted(fields.items())))]
    if kind in {19, 85}:
        parts = record.get("listOfTrafficVolumes", []) + record.get("listOfServiceData", [])
        volume = sum(amount for part in parts for name, amount in part.items() if name.lower().startswith("datavolume"))
        at = datetime.fromisoformat(record["recordOpeningTime"]) + timedelta(seconds=record["duration"])
        fields = {"bytes": volume}
        if "rATType" in record:
            fields["rat"] = RAT[record["rATType"]]
        if "servingNodePLMNIdentifier" in record:
            fields["roaming"] = record["servingNodePLMNIdentifier"] != who[:5]
        return [(who, at, "usage.data", tuple(sorted(fields.items())))] if volume else []
    return []


def told(values: list[bytes]) -> list[Plain]:
    events = []
    for event in map(json.loads, values):
        fields = {k: v for k, v in event.items() if k not in {"id", "type", "subscriber_id", "occurred_at"}}
        at = datetime.fromisoformat(event["occurred_at"])
        events.append((event["subscriber_id"], at, event["type"], tuple(sorted(fields.items()))))
    return events


def test_the_fixture_has_what_it_is_for() -> None:
    assert len(RECORDS) >= 50
    records = [json.loads(line) for line in RECORDS]
    assert {record["recordType"] for record in records} >= {0, 1, 6, 7, 19, 84, 85}
    spans = [
        (opened, opened + timedelta(seconds=record["duration"]))
        for record in records
        if record["recordType"] == 85
        for opened in [datetime.fromisoformat(record["recordOpeningTime"])]
    ]
    assert sum(a.astimezone(LOCAL).date() < b.astimezone(LOCAL).date() for a, b in spans) >= 3


def test_every_record_tells_what_a_plain_reading_gives(cdr: Mapping) -> None:
    expanded = expand_records(cdr, RECORDS)
    assert expanded.rejects.is_empty()
    expected = [event for line in RECORDS for event in plainly(json.loads(line))]
    assert Counter(told(expanded.events["value"].to_list())) == Counter(expected)


def test_a_part_of_a_session_counts_on_the_day_it_was_closed(cdr: Mapping) -> None:
    expected: Counter[tuple[str, object]] = Counter()
    for line in RECORDS:
        for who, at, kind, fields in plainly(json.loads(line)):
            if kind == "usage.data":
                expected[who, at.astimezone(LOCAL).date()] += dict(fields)["bytes"]
    found: Counter[tuple[str, object]] = Counter()
    for who, at, kind, fields in told(expand_records(cdr, RECORDS).events["value"].to_list()):
        if kind == "usage.data":
            found[who, at.astimezone(LOCAL).date()] += dict(fields)["bytes"]
    assert found == expected


def test_a_live_feed_tells_the_same_record_by_record(cdr: Mapping) -> None:
    values = expand_values(cdr)(RECORDS)
    assert [told(value) for value in values if not isinstance(value, str)] == [plainly(json.loads(r)) for r in RECORDS]


def test_ids_are_one_to_an_event_and_the_same_however_often_it_is_told(cdr: Mapping) -> None:
    values = expand_records(cdr, RECORDS * 2).events["value"].to_list()
    counts = Counter((json.loads(value)["subscriber_id"], json.loads(value)["id"]) for value in values)
    assert set(counts.values()) == {2}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "the record is no JSON"),
        (b"[]", "the record is no JSON object"),
        (b'{"recordType":0}', "there is no servedIMSI"),
        (b'{"recordType":true,"servedIMSI":"1"}', "recordType is True, expected a whole number"),
        (b'{"recordType":0,"servedIMSI":"1"}', "a call without callReference"),
        (b'{"recordType":0,"servedIMSI":"1","callReference":"a"}', "a call without answerTime"),
        (
            b'{"recordType":0,"servedIMSI":"1","callReference":"a","answerTime":"yesterday","callDuration":1}',
            "answerTime is 'yesterday', expected an instant such as 2013-06-30T23:59:00Z",
        ),
        (
            b'{"recordType":85,"servedIMSI":"1","listOfTrafficVolumes":[{"dataVolumeGPRSUplink":"9"}]}',
            "listOfTrafficVolumes[].dataVolumeGPRSUplink is '9', expected a whole number",
        ),
        (
            b'{"recordType":85,"servedIMSI":"1","chargingID":99999999999999999999}',
            "chargingID is 99999999999999999999, expected a whole number",
        ),
        (b'{"recordType":0,"servedIMSI":"\xff"}', "the record is no JSON: text is not UTF-8"),
        (b"[" * 200_000, "the record is no JSON: nested too deeply"),
        (DATA % (b"1", b"9" * 350), "listOfTrafficVolumes[].dataVolumeGPRSUplink is 999"),
        (DATA % (b"1", b"9223372036854775807"), "a volume is beyond a pebibyte"),
        (DATA % (b"9223372036854775807", b"1"), "a duration is longer than a year"),
    ],
)
def test_a_bad_record_is_rejected_with_its_reason_and_its_neighbours_are_told(
    cdr: Mapping, line: bytes, reason: str
) -> None:
    first, bad, last = expand_values(cdr)([RECORDS[0], line, RECORDS[1]])
    assert isinstance(bad, str)
    assert bad.startswith(reason)
    assert [first, last] == [expand_values(cdr)([record])[0] for record in RECORDS[:2]]


def test_an_empty_poll_tells_nothing(cdr: Mapping) -> None:
    assert expand_values(cdr)([]) == []
