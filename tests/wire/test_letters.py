"""Dead letters are read as they were written, chosen by what is asked, and go back as the records that they were."""

from dataclasses import replace

import pytest

from service.wire.deadletters import CUT, dead_letter
from service.wire.decode import Intake, decode
from service.wire.letters import (
    MARKER,
    Asked,
    Fate,
    Letter,
    Survey,
    fate_of,
    read_letter,
    read_marker,
    replay_messages,
)
from service.wire.partitioning import Partitioner
from service.wire.records import Message, Record
from service.wire.rejects import Fault, Reject
from service.wire.topics import Topics
from tests.wire.examples import NOON_US, PARTITIONS, encoded, event, home_of, record

TOPICS = Topics()
INTAKE = Intake(PARTITIONS)
# A producer's own headers may bear our names; they mean nothing and come back.
OWN = ((MARKER, b"3"), ("traceparent", b"00-1"), (CUT[0], b"mine"), ("x", b"\xff"))


def stored(message: Message, offset: int = 7, at_us: int = NOON_US) -> Record:
    return Record(message.topic, message.partition, offset, at_us, message.key, message.value, message.headers)


def letter(lost: Record, fault: Fault = Fault.MALFORMED, offset: int = 7, at_us: int = NOON_US) -> Letter:
    read = read_letter(stored(dead_letter(Reject(lost, fault, "why it is"), TOPICS.dead_letters), offset, at_us))
    assert read is not None
    return read


@pytest.mark.parametrize("fault", list(Fault))
def test_a_letter_says_where_its_record_stood_and_what_was_wrong(fault: Fault) -> None:
    lost = record(b"{", offset=42, headers=OWN)
    read = letter(lost, fault)
    place = read.topic, read.partition, read.offset
    assert place == ("usage.events", lost.partition, 42)
    assert (read.reason, read.message, read.size_bytes, read.is_cut) == (fault, "why it is", 4, False)


@pytest.mark.parametrize(
    "lost", [record(b"{", headers=OWN), record(None, headers=OWN), record(b"", None), record(b"{")]
)
def test_a_replayed_record_is_the_one_that_was_lost_and_its_marker_names_the_letter(lost: Record) -> None:
    original, marker = replay_messages(letter(lost), INTAKE)
    assert original == Message("usage.events", lost.partition, lost.key, lost.value, lost.headers)
    assert (marker.topic, marker.partition) == (TOPICS.dead_letters, lost.partition)
    assert read_marker(stored(marker, 9)) == 7
    assert read_letter(stored(marker, 9)) is None


def test_letters_and_what_strangers_write_are_no_markers() -> None:
    assert read_marker(letter(record(None, None, headers=((MARKER, b"3"),))).record) is None
    for key, value, headers in (
        (None, None, ()),
        (b"k", None, ((MARKER, b"3"),)),
        (None, b"v", ((MARKER, b"3"),)),
        (None, None, ((MARKER, b"-3"),)),
        (None, None, ((MARKER, b"9" * 5_000),)),
        (None, None, ((MARKER, None),)),
    ):
        strange = Record("t", 0, 0, 0, key, value, headers)  # type: ignore[arg-type]  # a header may lack its value
        assert read_marker(strange) is None
        assert read_letter(strange) is None


def test_what_another_tool_wrote_keeps_its_reason() -> None:
    told = {"topic": b"a", "partition": b"1", "offset": b"2", "exception.message": b"\xff"}
    headers = tuple((f"__connect.errors.{name}", value) for name, value in told.items())
    named = (*headers, ("__connect.errors.exception.class.name", b"org.Strange"))
    read = read_letter(Record("t", 0, 0, 0, None, b"", named))
    assert read is not None
    assert (read.reason, read.message) == ("org.Strange", "\ufffd")
    assert read_letter(Record("t", 0, 0, 0, None, b"", headers)) is None
    odd = (*named, ("__connect.errors.offset", b"2x"))
    assert read_letter(Record("t", 0, 0, 0, None, b"", odd)) is None


@pytest.mark.parametrize("partitioner", ["murmur2", "crc32"])
def test_a_record_that_lay_in_the_wrong_partition_goes_to_its_own(partitioner: Partitioner) -> None:
    rules = Intake(PARTITIONS, partitioner)
    home = home_of(b"s-1", PARTITIONS, partitioner)
    lost = record(encoded(event("recharge")), partition=(home + 1) % PARTITIONS)
    (reject,) = decode([lost], rules).rejects
    assert reject.fault is Fault.WRONG_PARTITION
    original, _ = replay_messages(letter(lost, reject.fault), rules)
    assert original.partition == home
    assert decode([stored(original)], rules).rejects == []


def test_where_nobody_knows_the_partition_a_record_goes_where_it_was() -> None:
    lost = record(b"{", partition=(home_of(b"s-1") + 1) % PARTITIONS)
    assert replay_messages(letter(lost), Intake(PARTITIONS, "any"))[0].partition == lost.partition
    keyless = record(b"{", None, partition=3)
    assert replay_messages(letter(keyless), INTAKE)[0].partition == 3


def test_what_becomes_of_a_letter() -> None:
    whole, foreign = letter(record(b"{")), letter(record(b"{", topic="elsewhere"))
    cut = replace(whole, record=whole.record._replace(value=None, headers=(*whole.record.headers, CUT)))
    far = letter(record(b"{", partition=PARTITIONS))
    reported = letter(record(b"{", topic=TOPICS.feedback))
    fates = [fate_of(one, (), TOPICS, PARTITIONS) for one in (whole, reported, foreign, far, cut)]
    assert fates == [Fate.SENT, Fate.SENT, Fate.FOREIGN, Fate.FOREIGN, Fate.CUT]
    assert fate_of(cut, {7}, TOPICS, PARTITIONS) is Fate.REPLAYED
    assert fate_of(letter(record(None, headers=(CUT,))), (), TOPICS, PARTITIONS) is Fate.SENT  # a producer's own


def test_letters_are_asked_for_by_reason_time_and_place() -> None:
    one = letter(record(b"{"), Fault.FUTURE, offset=5, at_us=100)
    place = one.record.partition, 5
    asked = {
        Asked(): True,
        Asked(reason="future"): True,
        Asked(reason="malformed"): False,
        Asked(since_us=100, until_us=101): True,
        Asked(since_us=101): False,
        Asked(until_us=100): False,
        Asked(at=place): True,
        Asked(at=(place[0], 6)): False,
    }
    assert {each: each.admits(one) for each in asked} == asked


def test_a_survey_counts_all_and_keeps_the_newest() -> None:
    survey = Survey(limit=3)
    for offset, at_us in enumerate((50, 10, 40, 20, 30, 50)):
        fault = Fault.FUTURE if offset % 2 else Fault.MALFORMED
        survey.add(letter(record(b"{"), fault, offset, at_us), replayed=offset == 2)
    assert survey.letters == {"malformed": 3, "future": 3}
    assert survey.replayed.total() == survey.replayed["malformed"] == 1
    assert [(one.record.offset, replayed) for one, replayed in survey.newest()] == [(5, False), (0, False), (2, True)]
    assert Survey(limit=0).newest() == []
