"""The contracts as documents: JSON Schemas of what comes in and goes out, and an AsyncAPI document of all topics.

They are made from the structs that read and write the bytes: `python -m service.wire.schemas` writes them anew.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from service.core.events import CHANNELS
from service.wire import events, feedback
from service.wire.letters import MARKER
from service.wire.messages import ORDER_SCHEMA, SOURCE, WARNING_SCHEMA
from service.wire.rulebooks import VersionValue
from service.wire.segments import SEGMENT_SCHEMA, SegmentChanged
from service.wire.topics import Topics
from service.wire.warnings import Ordered, Warned

FOLDER = Path(__file__).parent / "contracts"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
EVENTS_SCHEMA = "urn:churn-warning:schema:events:1"
FEEDBACK_SCHEMA = "urn:churn-warning:schema:feedback:1"
RULEBOOK_SCHEMA = "urn:churn-warning:schema:rulebook:1"

Document = dict[str, Any]


def documents() -> dict[str, Document]:
    """All contracts by file name."""
    return {
        "events.schema.json": events_schema(),
        "feedback.schema.json": _schema(FEEDBACK_SCHEMA, "A record of churn.feedback", feedback.AnyReport),
        "warning.schema.json": _schema(WARNING_SCHEMA, "The data of a warning", Warned),
        "rulebook.schema.json": _schema(RULEBOOK_SCHEMA, "A record of churn.rulebook", VersionValue),
        "order.schema.json": _schema(ORDER_SCHEMA, "The data of an outbound order", Ordered),
        "segment.schema.json": _schema(SEGMENT_SCHEMA, "The data of a change of segment", SegmentChanged),
        "asyncapi.json": asyncapi(),
    }


def text_of(document: Document) -> bytes:
    """A contract as its file has it."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def events_schema() -> Document:
    """The contract of usage.events, one definition per event type."""
    schema = _schema(EVENTS_SCHEMA, "A record of usage.events", events.AnyEvent)
    for event_type, condition in events.CONDITIONS.items():
        schema["$defs"][events.STRUCTS[event_type].__name__] |= condition
    return schema


def _schema(name: str, title: str, shape: Any) -> Document:  # noqa: ANN401 - a struct, or a union of structs
    (root,), definitions = msgspec.json.schema_components((shape,), ref_template="#/$defs/{name}")
    return {"$schema": DIALECT, "$id": name, "title": title, **root, "$defs": dict(sorted(definitions.items()))}


def asyncapi() -> Document:
    """Every topic, who writes it, and what its records are (AsyncAPI 3.0)."""
    channels, operations = {}, {}
    for name, address, action, messages, description in _topics(Topics()):
        channels[name] = {
            "address": address,
            "description": description,
            "messages": {message: {"$ref": f"#/components/messages/{message}"} for message in messages},
        }
        operations[f"{action}_{name}"] = {
            "action": action,
            "channel": {"$ref": f"#/channels/{name}"},
            "messages": [{"$ref": f"#/channels/{name}/messages/{message}"} for message in messages],
        }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "churn-warning",
            "version": "1.0.0",
            "description": "Usage events in; churn warnings and outbound orders out, each exactly once "
            "for readers with isolation.level=read_committed.",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": _messages(), "schemas": _schemas()},
    }


def _topics(topics: Topics) -> list[tuple[str, str, str, Sequence[str], str]]:
    """(channel, address, receive or send, messages, description), as the service sees it."""
    outbound = [
        (f"outbound_{channel}", topics.outbound(channel), "send", ["order"], f"Orders to contact by {channel}.")
        for channel in CHANNELS
    ]
    return [
        ("usage_events", topics.usage, "receive", ["event", "event_enveloped"], "Everything that happens."),
        ("churn_feedback", topics.feedback, "receive", ["report"], "What agents and channels report; ends of feeds."),
        ("churn_warnings", topics.warnings, "send", ["warning"], "Warnings, one record per transition."),
        *outbound,
        ("churn_segments", topics.segments, "send", ["segment"], "Changes of segment."),
        ("usage_late", topics.late, "send", ["late"], "Records too late to count, as they came."),
        ("usage_dead_letters", topics.dead_letters, "send", ["dead_letter", "replayed"], "What cannot be read."),
        ("churn_decisions", topics.decisions, "send", ["decision"], "The service's own memory; compacted."),
        ("churn_directory", topics.directory, "send", ["owner"], "Which worker owns which shard; compacted."),
        ("churn_rulebook", topics.rulebook, "send", ["rulebook"], "Versions of the rulebook; compacted."),
    ]


def _messages() -> Document:
    keyed = {"kafka": {"key": {"type": "string", "description": "The subscriber_id"}}}
    enveloped = "application/cloudevents+json"
    return {
        "event": _message("A usage event, plain or as a binary CloudEvent", "event", keyed, "ce_in"),
        "event_enveloped": {
            **_message("A usage event as a structured CloudEvent", "envelope", keyed, None),
            "contentType": enveloped,
        },
        "report": _message(
            "A report; feed.closed and warnings.released have no key and go to each partition", "report", keyed, None
        ),
        "warning": _message("A transition of a warning, a binary CloudEvent", "warning", keyed, "ce_out"),
        "order": _message("An outbound order, a binary CloudEvent", "order", keyed, "ce_out"),
        "segment": _message("A change of segment, a binary CloudEvent", "segment", keyed, "ce_out"),
        "late": _message("A record as it came", "any", keyed, "late"),
        "dead_letter": _message("A record as it came", "any", keyed, "errors"),
        "replayed": _message("A marker, no key and no value: that letter was sent back", "any", {}, "replayed"),
        "decision": _message("A value under cursor, day/, episode/ or contact/", "any", {}, None),
        "owner": _message("An owner of a shard", "object", {}, None),
        "rulebook": _message("A version of the rulebook, keyed by its hash", "rulebook", {}, None),
    }


def _message(summary: str, payload: str, bindings: Document, headers: str | None) -> Document:
    told: Document = {"summary": summary, "payload": {"$ref": f"#/components/schemas/{payload}"}}
    if headers:
        told["headers"] = {"$ref": f"#/components/schemas/{headers}"}
    return {**told, "bindings": bindings} if bindings else told


def _schemas() -> Document:
    attributes = ("ce_specversion", "ce_id", "ce_source", "ce_type", "ce_subject", "ce_time")
    errors = ("topic", "partition", "offset", "stage", "exception.class.name", "exception.message")
    late = ("churn.late.topic", "churn.late.partition", "churn.late.offset", "churn.late.reason")
    filled = "fills a field that the data lacks"
    return {
        "event": _file("events.schema.json"),
        "envelope": {
            "type": "object",
            "description": "id, type, time and subject fill id, type, occurred_at and subscriber_id that data lacks.",
            "properties": {name: {"type": "string"} for name in ("id", "type", "source", "time", "subject")}
            | {"specversion": {"const": "1.0"}, "data": {"type": "object"}, "data_base64": {"type": "string"}},
            "required": ["specversion"],
        },
        "report": _file("feedback.schema.json"),
        "rulebook": _file("rulebook.schema.json"),
        "warning": _file("warning.schema.json"),
        "order": _file("order.schema.json"),
        "segment": _file("segment.schema.json"),
        "object": {"type": "object"},
        "any": {"description": "Bytes that no contract binds."},
        "ce_in": _texts(dict.fromkeys(attributes, filled), ()),
        "ce_out": _texts({**dict.fromkeys(attributes, ""), "ce_dataschema": ""}, (*attributes, "ce_dataschema"))
        | {"description": f"CloudEvents attributes of {SOURCE}; a record sent twice has the same ce_id."},
        "errors": _texts({f"__connect.errors.{name}": "" for name in errors}, ()),
        "late": _texts(dict.fromkeys(late, ""), late),
        "replayed": _texts({MARKER: "The letter's offset in the same partition"}, (MARKER,)),
    }  # fmt: skip


def _texts(told: Mapping[str, str], required: Sequence[str]) -> Document:
    properties = {name: {"type": "string", **({"description": text} if text else {})} for name, text in told.items()}
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


def _file(name: str) -> Document:
    """A schema of its own file, in the dialect it is written in."""
    return {"schemaFormat": "application/schema+json;version=draft-2020-12", "schema": {"$ref": f"./{name}"}}


def write(folder: Path) -> None:
    """Write all contracts into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, document in documents().items():
        (folder / name).write_bytes(text_of(document))


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
