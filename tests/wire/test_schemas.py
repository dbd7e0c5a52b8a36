"""The contracts are what the code reads and writes."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from service.core.events import CHANNELS, FIELDS, STATUSES
from service.wire.decode import Intake, decode
from service.wire.events import STRUCTS
from service.wire.schemas import FOLDER, documents, text_of
from service.wire.topics import Topics
from tests.wire.examples import BODIES, PARTITIONS, encoded, event, record

CONTRACTS = documents()
EVENTS = CONTRACTS["events.schema.json"]
VALIDATOR = Draft202012Validator(EVENTS)
UNITS = {"seconds", "billed_minutes", "count", "bytes", "total", "used"}


def definition(event_type: str) -> dict[str, Any]:
    found: dict[str, Any] = EVENTS["$defs"][STRUCTS[event_type].__name__]
    return found


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(inner)


def test_files_are_what_the_code_makes() -> None:
    on_disk = {path.name: path.read_bytes() for path in FOLDER.iterdir()}
    made = {name: text_of(document) for name, document in CONTRACTS.items()}
    assert on_disk == made, "run: python -m service.wire.schemas"


@pytest.mark.parametrize("name", [name for name in CONTRACTS if name.endswith(".schema.json")])
def test_each_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(CONTRACTS[name])


@pytest.mark.parametrize("event_type", list(FIELDS))
def test_every_field_is_documented_with_its_unit(event_type: str) -> None:
    fields = definition(event_type)["properties"]
    assert set(fields) == {"id", "type", "subscriber_id", "occurred_at", *FIELDS[event_type]}
    for name in FIELDS[event_type]:
        assert fields[name]["description"], name
        assert ("unit" in fields[name]) == (name in UNITS or name.endswith("_minor")), name
    assert {"id", "type", "subscriber_id", "occurred_at"} <= set(definition(event_type)["required"])


def test_enumerations_are_the_cores() -> None:
    assert set(definition("subscriber.status")["properties"]["status"]["enum"]) == set(STATUSES)
    assert set(definition("consent.changed")["properties"]["channel"]["enum"]) == set(CHANNELS)


@pytest.mark.parametrize("event_type", list(FIELDS))
def test_examples_keep_the_contract(event_type: str) -> None:
    assert best_match(VALIDATOR.iter_errors(event(event_type))) is None


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([10**13, 10**13 + 1, 0.5, "", "x" * 256, "x" * 257, "2013-08", "2013-13", "out", "refund", [], {}]),
)


@settings(max_examples=400)
@given(st.data())
def test_contract_and_reader_agree(data: st.DataObject) -> None:
    event_type = data.draw(st.sampled_from(list(BODIES)))
    names = st.sampled_from([*FIELDS[event_type], "id"])
    drawn = data.draw(st.dictionaries(names, VALUES, min_size=1, max_size=2))
    gone = data.draw(st.lists(names, max_size=1))
    told = event(event_type, **{**drawn, **dict.fromkeys(gone, ...)})
    kept = not decode([record(encoded(told))], Intake(PARTITIONS)).rejects
    dated = {name: told.get(name) for name in ("starts_on", "ends_on", "birthday", "activated_on", "resets_on")}
    # A date's form is the schema's, its being in the calendar the reader's alone.
    if not any(isinstance(value, str) and value != BODIES[event_type].get(name) for name, value in dated.items()):
        assert kept == VALIDATOR.is_valid(told), told


def test_asyncapi_names_every_topic_and_every_reference_resolves() -> None:
    document = CONTRACTS["asyncapi.json"]
    assert document["asyncapi"] == "3.0.0"
    addresses = {channel["address"] for channel in document["channels"].values()}
    assert addresses == {spec.name for spec in Topics().specs(4, 30)}
    for node in nodes(document):
        reference = node.get("$ref", "#")
        if reference.startswith("./"):
            assert reference.removeprefix("./") in CONTRACTS
            continue
        found = document
        for step in reference.split("/")[1:]:
            found = found[step]
        assert isinstance(found, dict)
    for operation in document["operations"].values():
        channel = operation["channel"]["$ref"]
        assert all(message["$ref"].startswith(channel + "/messages/") for message in operation["messages"])


def test_documents_are_plain_json() -> None:
    for document in CONTRACTS.values():
        assert json.loads(text_of(document)) == document
