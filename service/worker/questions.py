"""What one replica asks another, and the answer: plain data that goes over the wire as it is.

Each question names the partitions to answer for, so that no two replicas answer for the same one.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import orjson
import polars as pl

PATH = "/internal/v1/ask"
SUBSCRIBER, HOLDER, WARNINGS, WARNING = "subscriber", "holder", "warnings", "warning"
OPEN_COUNTS, ROLL, SEGMENTS = "open_counts", "roll", "segments"
APPLIED, MUTES = "applied", "mutes"
ABOUT = frozenset((SUBSCRIBER, HOLDER, WARNINGS, WARNING, OPEN_COUNTS, ROLL, SEGMENTS, APPLIED, MUTES))


class _Head(msgspec.Struct):
    as_of: dict[int, int]
    value: Any


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked (one of the names above), of which partitions, and what it is about, as JSON values."""

    about: str
    partitions: tuple[int, ...]
    told: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """Which partitions answered, each with the cursor that it spoke of; a JSON value, a frame, or both."""

    as_of: Mapping[int, int]
    value: Any = None
    frame: pl.DataFrame | None = None


# Asks whoever owns them; partitions of which nobody answers in time are in no answer. From any thread but a loop's.
Elsewhere = Callable[[Question], Sequence[Answer]]


def nowhere(_: Question) -> Sequence[Answer]:
    """For a process that knows of no other."""
    return ()


def write_question(question: Question) -> bytes:
    """As one JSON object."""
    return orjson.dumps({"about": question.about, "partitions": question.partitions, "told": dict(question.told)})


def read_question(data: bytes) -> Question:
    """The inverse of `write_question`. Raises: ValueError, KeyError, TypeError."""
    said = orjson.loads(data)
    return Question(str(said["about"]), tuple(int(one) for one in said["partitions"]), dict(said["told"]))


def write_answer(answer: Answer) -> bytes:
    """A line of JSON, and the frame as an Arrow stream."""
    head = {"as_of": {str(partition): cursor for partition, cursor in answer.as_of.items()}, "value": answer.value}
    buffer = io.BytesIO()
    if answer.frame is not None:
        answer.frame.write_ipc_stream(buffer)
    return orjson.dumps(head) + b"\n" + buffer.getvalue()


def read_answer(data: bytes) -> Answer:
    """The inverse of `write_answer`. Raises: ValueError, OSError, msgspec.MsgspecError, polars' PolarsError."""
    head, _, rest = data.partition(b"\n")
    said = msgspec.json.decode(head, type=_Head)
    return Answer(said.as_of, said.value, pl.read_ipc_stream(rest) if rest else None)
