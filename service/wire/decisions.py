"""What a shard has told the world, to churn.decisions and back: cursor, closed days, episodes, contacts.

Keys are `cursor`, `day/<date>`, `episode/<id>` and `contact/<subscriber>/<channel>`; the last value of a key counts,
and none forgets it. A contact's value is the list of all contacts kept of that subscriber and channel.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TypeVar

import msgspec
import polars as pl

from service.core.calendar import to_date, to_day
from service.core.turn import CONTACTS, TRANSITIONS, DayRecord, Turn
from service.wire.records import Message, Record

CURSOR = b"cursor"
_DAY, _EPISODE, _CONTACT = b"day/", b"episode/", b"contact/"

Pair = tuple[bytes, bytes | None]
_Value = TypeVar("_Value")


class DecisionError(ValueError):
    """A decision cannot be read back; the sentence names the record."""


class _Cursor(msgspec.Struct):
    usage: int
    feedback: int


class _Day(msgspec.Struct):
    cut: int
    cause: str
    rulebook: str
    slices: int
    slices_done: int


class _Contact(msgspec.Struct):
    day: date
    episode_id: str | None = None
    outcome: str | None = None


_JSON_TYPES: Mapping[type[pl.DataType], object] = {
    pl.String: str,
    pl.Int32: int,
    pl.Int64: int,
    pl.Boolean: bool,
    pl.Date: date,
}
_Episode = msgspec.defstruct("_Episode", [(n, _JSON_TYPES[type(t)] | None, None) for n, t in TRANSITIONS.items()])  # type: ignore[operator]  # types of the table above

_encode = msgspec.json.Encoder().encode
_cursor = msgspec.json.Decoder(_Cursor).decode
_day = msgspec.json.Decoder(_Day).decode
_episode = msgspec.json.Decoder(_Episode).decode
_contacts = msgspec.json.Decoder(list[_Contact]).decode


@dataclass(frozen=True, slots=True)
class Decisions:
    """A shard's decisions: offsets that state has to be brought to, days as closed, episodes, contacts.

    `days` is keyed by day since 1970; `episodes` has the columns of TRANSITIONS, `contacts` those of CONTACTS.
    """

    cursor: int = 0
    feedback_cursor: int = 0
    days: Mapping[int, DayRecord] = field(default_factory=dict)
    episodes: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=TRANSITIONS))
    contacts: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=CONTACTS))


def decision_messages(turn: Turn, topic: str, partition: int) -> list[Message]:
    """Messages that remember a turn, standing episodes too; the cursor comes last.

    `turn.contacts` has all contacts kept of each subscriber and channel that the turn touched.
    """
    pairs: list[Pair] = [
        *_episode_pairs(turn.transitions),
        *_contact_pairs(turn.contacts),
        *((_EPISODE + name.encode(), None) for name in turn.forgotten),
    ]
    if turn.day is not None:
        pairs.append(_day_pair(turn.day))
    pairs.append((CURSOR, _encode(_Cursor(turn.cursor, turn.feedback_cursor))))
    return [Message(topic, partition, key, value) for key, value in pairs]


def read_decisions(records: Iterable[Record]) -> Decisions:
    """Decisions from all records of a shard's partition, in offset order. Raises: DecisionError."""
    reader = DecisionReader()
    reader.take(records)
    return reader.decisions()


class DecisionReader:
    """Collects decisions a fetch at a time; keys of a kind that is not known here are passed over."""

    def __init__(self) -> None:
        self._latest: dict[bytes, Record] = {}

    def take(self, records: Iterable[Record]) -> None:
        """Note records, in offset order."""
        for record in records:
            key = record.key or b""
            if record.value is None:
                self._latest.pop(key, None)
            else:
                self._latest[key] = record

    def decisions(self) -> Decisions:
        """What has been decided, as of the last record taken. Raises: DecisionError."""
        cursor = self._latest.get(CURSOR)
        offsets = _read(_cursor, cursor) if cursor else _Cursor(0, 0)
        days = {day: _day_record(day, record) for day, record in self._days()}
        return Decisions(
            cursor=offsets.usage,
            feedback_cursor=offsets.feedback,
            days=dict(sorted(days.items())),
            episodes=_episodes([_read(_episode, record) for _, record in self._of(_EPISODE)]),
            contacts=self._contacts(),
        )

    def _of(self, prefix: bytes) -> Iterator[tuple[bytes, Record]]:
        for key, record in self._latest.items():
            if key.startswith(prefix):
                yield key.removeprefix(prefix), record

    def _days(self) -> Iterator[tuple[int, Record]]:
        for name, record in self._of(_DAY):
            try:
                yield to_day(date.fromisoformat(name.decode())), record
            except ValueError as error:
                raise _unreadable(record, error) from error

    def _contacts(self) -> pl.DataFrame:
        lines = []
        for key, record in self._of(_CONTACT):
            # A subscriber's id may hold a slash, a channel does not.
            subscriber_id, _, channel = key.decode().rpartition("/")
            lines += [
                (subscriber_id, channel, contact.day, contact.episode_id, contact.outcome)
                for contact in _read(_contacts, record)
            ]
        return pl.DataFrame(lines, schema=CONTACTS, orient="row")


def _read(decode: Callable[[bytes], _Value], record: Record) -> _Value:
    try:
        return decode(record.value or b"")
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise _unreadable(record, error) from error


def _unreadable(record: Record, error: Exception) -> DecisionError:
    kind = (record.key or b"").partition(b"/")[0].decode(errors="replace")
    return DecisionError(
        f"the {kind} decision at offset {record.offset} of {record.topic}-{record.partition} cannot be read: {error}"
    )


def _episode_pairs(transitions: pl.DataFrame) -> Iterator[Pair]:
    """The last transition of each episode: compaction keeps no other."""
    last = transitions.select(list(TRANSITIONS)).unique("episode_id", keep="last", maintain_order=True)
    lines = last.select(pl.struct(pl.all()).struct.json_encode()).to_series()
    for name, line in zip(last["episode_id"], lines, strict=True):
        yield _EPISODE + name.encode(), line.encode()


def _contact_pairs(contacts: pl.DataFrame) -> Iterator[Pair]:
    lists: dict[tuple[str, str], list[_Contact]] = {}
    for subscriber_id, channel, day, episode_id, outcome in contacts.select(list(CONTACTS)).iter_rows():
        lists.setdefault((subscriber_id, channel), []).append(_Contact(day, episode_id, outcome))
    for (subscriber_id, channel), listed in lists.items():
        yield _CONTACT + f"{subscriber_id}/{channel}".encode(), _encode(listed)


def _day_pair(record: DayRecord) -> Pair:
    value = _Day(record.cut, record.cause, record.rulebook, record.slices, record.slices_done)
    return _DAY + to_date(record.day).isoformat().encode(), _encode(value)


def _day_record(day: int, record: Record) -> DayRecord:
    told = _read(_day, record)
    return DayRecord(day, told.cut, told.cause, told.rulebook, told.slices, told.slices_done)


def _episodes(structs: Sequence[msgspec.Struct]) -> pl.DataFrame:
    return pl.DataFrame(
        {name: pl.Series(name, [getattr(s, name) for s in structs], dtype) for name, dtype in TRANSITIONS.items()}
    )
