"""What a shard has told the world, to churn.decisions and back: cursor, closed days, episodes, contacts.

Keys are `cursor`, `day/<date>`, `episode/<id>`, `contact/<subscriber>/<channel>`, `mute/<id>` and `release/<id>`; the
last value of a key counts, and none forgets it. A contact's value is the list of all contacts kept of that subscriber
and channel.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from operator import attrgetter
from typing import Any, TypeVar

import msgspec
import polars as pl

from service.core.calendar import to_date, to_day
from service.core.turn import (
    CONTACTS,
    TRANSITIONS,
    Compared,
    DayRecord,
    Decisions,
    Mute,
    Release,
    Turn,
)
from service.wire.records import Message, Record, Records

CURSOR = b"cursor"
_DAY, _EPISODE, _CONTACT, _MUTE, _RELEASE = b"day/", b"episode/", b"contact/", b"mute/", b"release/"

Pair = tuple[bytes, bytes | None]
_Value = TypeVar("_Value")


class DecisionError(ValueError):
    """A decision cannot be read back; the sentence names the record."""


class _Cursor(msgspec.Struct):
    usage: int
    feedback: int


class _Day(msgspec.Struct, omit_defaults=True):
    cut: int
    cause: str
    rulebook: str
    slices: int
    slices_done: int
    held: bool = False
    feed: tuple[str, ...] = ()
    cohorts: dict[str, Compared] = {}


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

_FIELDS = [attrgetter(name) for name in TRANSITIONS]
_TOGETHER = 512  # episodes whose fields are taken out of them together, while they lie in the processor's cache

_encode = msgspec.json.Encoder().encode
_cursor = msgspec.json.Decoder(_Cursor).decode
_day = msgspec.json.Decoder(_Day).decode
_episode = msgspec.json.Decoder(_Episode).decode
_contacts = msgspec.json.Decoder(list[_Contact]).decode
_mute = msgspec.json.Decoder(Mute).decode
_release = msgspec.json.Decoder(Release).decode


def decision_messages(turn: Turn, topic: str, partition: int) -> list[Message]:
    """Messages that remember a turn, standing episodes too; the cursor comes last.

    `turn.contacts` has all contacts kept of each subscriber and channel that the turn touched.
    """
    pairs: list[Pair] = [
        *_episode_pairs(turn.transitions),
        *_contact_pairs(turn.contacts),
        *((_EPISODE + name.encode(), None) for name in turn.forgotten),
        *((_MUTE + mute.id.encode(), _encode(mute)) for mute in turn.mutes),
        *((_RELEASE + release.id.encode(), _encode(release)) for release in turn.releases),
    ]
    if turn.day is not None:
        pairs.append(_day_pair(turn.day))
    pairs.append((CURSOR, _encode(_Cursor(turn.cursor, turn.feedback_cursor))))
    return [Message(topic, partition, key, value) for key, value in pairs]


def read_decisions(records: Sequence[Record]) -> Decisions:
    """Decisions from all records of a shard's partition, in offset order. Raises: DecisionError."""
    reader = DecisionReader()
    reader.take(records)
    return reader.decisions()


def closed_days(records: Records) -> Iterator[int]:
    """Days (since 1970) whose records are among these; the rest of what was decided is not looked at."""
    for key in records.keys:
        if key is not None and key.startswith(_DAY):
            with contextlib.suppress(ValueError):
                yield to_day(date.fromisoformat(key.removeprefix(_DAY).decode()))


class DecisionReader:
    """Collects decisions a fetch at a time; keys of a kind that is not known here are passed over."""

    def __init__(self) -> None:
        self._latest: dict[bytes, tuple[bytes, int]] = {}  # key -> value and offset
        self._place = ""

    def take(self, records: Sequence[Record]) -> None:
        """Note records of one partition, in offset order."""
        columns = Records.of(records)
        if not len(columns):
            return
        self._place = f"{columns.topic}-{columns.partitions[0]}"
        for key, value, offset in zip(columns.keys, columns.values, columns.offsets.tolist(), strict=True):
            if value is None:
                self._latest.pop(key or b"", None)
            else:
                self._latest[key or b""] = value, offset

    def decisions(self) -> Decisions:
        """What has been decided, as of the last record taken. Raises: DecisionError."""
        offsets = self._read(_cursor, CURSOR) if CURSOR in self._latest else _Cursor(0, 0)
        days = dict(self._days())
        return Decisions(
            cursor=offsets.usage,
            feedback_cursor=offsets.feedback,
            days=dict(sorted(days.items())),
            episodes=self._episodes(),
            contacts=self._contacts(),
            mutes=tuple(self._read(_mute, key) for key in self._of(_MUTE)),
            releases=tuple(self._read(_release, key) for key in self._of(_RELEASE)),
        )

    def _of(self, prefix: bytes) -> list[bytes]:
        return [key for key in self._latest if key.startswith(prefix)]

    def _days(self) -> Iterator[tuple[int, DayRecord]]:
        for key in self._of(_DAY):
            try:
                day = to_day(date.fromisoformat(key.removeprefix(_DAY).decode()))
            except ValueError as error:
                raise self._unreadable(key, error) from error
            told = self._read(_day, key)
            yield day, DayRecord(day, **msgspec.structs.asdict(told))

    def _episodes(self) -> pl.DataFrame:
        columns: list[list[Any]] = [[] for _ in TRANSITIONS]
        keys = self._of(_EPISODE)
        for first in range(0, len(keys), _TOGETHER):
            told = [self._read(_episode, key) for key in keys[first : first + _TOGETHER]]
            for column, of in zip(columns, _FIELDS, strict=True):
                column.extend(map(of, told))
        named = zip(TRANSITIONS.items(), columns, strict=True)
        return pl.DataFrame([pl.Series(name, values, dtype) for (name, dtype), values in named])

    def _contacts(self) -> pl.DataFrame:
        lines = []
        for key in self._of(_CONTACT):
            # A subscriber's id may hold a slash, a channel does not.
            subscriber_id, _, channel = key.removeprefix(_CONTACT).decode().rpartition("/")
            lines += [
                (subscriber_id, channel, contact.day, contact.episode_id, contact.outcome)
                for contact in self._read(_contacts, key)
            ]
        return pl.DataFrame(lines, schema=CONTACTS, orient="row")

    def _read(self, decode: Callable[[bytes], _Value], key: bytes) -> _Value:
        try:
            return decode(self._latest[key][0])
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise self._unreadable(key, error) from error

    def _unreadable(self, key: bytes, error: Exception) -> DecisionError:
        kind = key.partition(b"/")[0].decode(errors="replace")
        return DecisionError(
            f"the {kind} decision at offset {self._latest[key][1]} of {self._place} cannot be read: {error}"
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
    value = _Day(**{name: getattr(record, name) for name in _Day.__struct_fields__})
    return _DAY + to_date(record.day).isoformat().encode(), _encode(value)
