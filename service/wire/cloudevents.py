"""CloudEvents 1.0 over Kafka, read: an event in an envelope (structured mode) or beside headers (binary mode).

What the data itself says of id, type, subscriber and time goes before what the envelope says.
"""

from base64 import b64decode

import msgspec

from service.wire.records import Record, is_text
from service.wire.rejects import Fault, UnreadableError

STRUCTURED = b"application/cloudevents+json"
_BATCHED = b"application/cloudevents-batch+json"
_FILLS = {"id": "id", "type": "type", "time": "occurred_at", "subject": "subscriber_id"}

_Object = dict[str, msgspec.Raw]


_NOTHING = msgspec.Raw(b"{}")


class _Envelope(msgspec.Struct):
    specversion: str
    id: str | None = None
    type: str | None = None
    time: str | None = None
    subject: str | None = None
    data: msgspec.Raw = _NOTHING
    data_base64: str | None = None


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_OBJECT = msgspec.json.Decoder(_Object)


def unwrap(record: Record, *, fill: bool = True) -> bytes:
    """The event's JSON: the value as it is, or the data of a CloudEvent.

    Args:
        record: as Kafka gave it.
        fill: whether the envelope's attributes become fields that the data lacks.

    Raises:
        UnreadableError, or another of `rejects.UNREADABLE`.
    """
    if record.value is None:
        raise UnreadableError(Fault.MALFORMED, "no value")
    if not record.headers:
        return record.value
    if not all(is_text(name) for name, _ in record.headers):
        raise UnreadableError(Fault.MALFORMED, "the name of a header is not UTF-8")
    headers = {name.lower(): value for name, value in record.headers}
    content_type = (headers.get("content-type") or b"").partition(b";")[0].strip().lower()
    if content_type == STRUCTURED:
        return _open_envelope(record.value, fill=fill)
    if content_type == _BATCHED:
        raise UnreadableError(Fault.MALFORMED, "batches of CloudEvents are not read")
    told = {field: headers.get(f"ce_{name}") for name, field in _FILLS.items()} if fill else {}
    return _filled(record.value, {field: value.decode() for field, value in told.items() if value})


def _open_envelope(value: bytes, *, fill: bool) -> bytes:
    envelope = _ENVELOPE.decode(value)
    if envelope.specversion != "1.0":
        raise UnreadableError(Fault.MALFORMED, "CloudEvents of another version than 1.0")
    if envelope.data_base64 is not None:
        data = b64decode(envelope.data_base64, validate=True)
    else:
        data = bytes(envelope.data if bytes(envelope.data) != b"null" else _NOTHING)
    told = {field: getattr(envelope, name) for name, field in _FILLS.items()} if fill else {}
    return _filled(data, {field: text for field, text in told.items() if text})


def _filled(data: bytes, told: dict[str, str]) -> bytes:
    """`data` with the fields of `told` that it lacks."""
    if not told:
        return data
    fields = _OBJECT.decode(data)
    lacking = {name: msgspec.Raw(msgspec.json.encode(text)) for name, text in told.items() if name not in fields}
    return msgspec.json.encode({**lacking, **fields}) if lacking else data
