"""A version of the rulebook comes back from its topic as it was published, and builds the same rulebook."""

import dataclasses
import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from service.core.books import Publication
from service.rulebook.loading import build, default_folder, load
from service.wire.records import Message, Record
from service.wire.rulebooks import Version, VersionError, publications_of, read_version, version_message
from service.wire.schemas import documents
from tests.rulebook.folders import RULE, SIGNALS, make_folder

TOPIC = "churn.rulebook"
FIRST = Publication("aa", 15_000, 1, "2026-01-01T00:00:00Z", "mona")
AGAIN = Publication("aa", 15_020, 3, "2026-01-09T00:00:00Z", "李")


def arrived(message: Message) -> Record:
    return Record(message.topic, message.partition, 7, 0, message.key, message.value)


def test_a_version_is_read_as_it_was_written_and_the_contract_holds() -> None:
    version = Version("aa", {"a/b.yaml": {"n": 2**70, "x": 0.1, "on": True, "none": None}}, (FIRST, AGAIN))
    message = version_message(version, TOPIC)
    assert (message.topic, message.partition, message.key) == (TOPIC, 0, b"aa")
    assert read_version(arrived(message)) == version
    Draft202012Validator(documents()["rulebook.schema.json"]).validate(json.loads(message.value or b""))


def test_the_shipped_rules_build_the_same_rulebook_from_their_record() -> None:
    rulebook = load(default_folder(), SIGNALS)
    version = read_version(arrived(version_message(Version(rulebook.hash, rulebook.contents, (FIRST,)), TOPIC)))
    assert version is not None
    built = build(version.files, SIGNALS)
    assert (built.hash, [rule.id for rule in built.rules]) == (rulebook.hash, [rule.id for rule in rulebook.rules])
    assert all(one.when.meta.eq(other.when) for one, other in zip(built.rules, rulebook.rules, strict=True))
    assert built.rolls[0].numbers == rulebook.rolls[0].numbers
    assert (built.holidays, built.bands) == (rulebook.holidays, rulebook.bands)


def test_dates_and_odd_values_of_yaml_hash_the_same_from_their_record(tmp_path: Path) -> None:
    files = {
        "drops/a.yaml": RULE.replace("{drop: 0.3}", "{drop: 3.0e-1}"),
        "calendars/c.yaml": "holidays: [{name: 春节, first: 2013-02-09, last: 2013-02-15}]",
    }
    rulebook = load(make_folder(tmp_path, files), SIGNALS)
    version = read_version(arrived(version_message(Version(rulebook.hash, rulebook.contents, ()), TOPIC)))
    assert version is not None
    assert build(version.files, SIGNALS).hash == rulebook.hash


@pytest.mark.parametrize(
    "value",
    [b"{", b"[]", b"{}", b'{"hash": "bb", "publications": [], "files": {}}', b"\xff", b"[" * 100_000],
)
def test_what_is_no_version_says_where_it_is(value: bytes) -> None:
    with pytest.raises(VersionError, match=r"^churn.rulebook-0@7 is no version of a rulebook: "):
        read_version(Record(TOPIC, 0, 7, 0, b"aa", value))


def test_a_version_that_was_taken_back_is_none() -> None:
    assert read_version(Record(TOPIC, 0, 7, 0, b"aa", None)) is None


def test_publications_are_in_the_order_in_which_they_were_made() -> None:
    other = dataclasses.replace(FIRST, hash="bb", number=2)
    assert publications_of([Version("aa", {}, (FIRST, AGAIN)), Version("bb", {}, (other,))]) == (FIRST, other, AGAIN)
