"""Records of usage.events to the core's columns: what counts, what is rejected and why, what is not for us."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
import polars as pl

from service.core.events import COMMON, FIELDS, Batch
from service.wire.cloudevents import unwrap
from service.wire.columns import Check, instants, typed_columns
from service.wire.events import STRUCTS, AnyEvent, Event
from service.wire.partitioning import Partitioner, partitions_of
from service.wire.records import Record, Records
from service.wire.rejects import UNREADABLE, Fault, Reject, UnreadableError, fault_of, unknown_type

# Operator's records to lists of our JSON events, or to the reason why one cannot be mapped.
Expand = Callable[[list[bytes]], list[list[bytes] | str]]

MOST_EVENTS = 1024  # of one mapped record
UNMAPPED = "(mapped to nothing)"
_TYPE_LENGTH = 64

_decode = msgspec.json.Decoder(AnyEvent).decode
_TYPES = tuple(STRUCTS)
_NAMES = pl.Series("type", _TYPES)
_CODES: dict[type, int] = {struct: code for code, struct in enumerate(STRUCTS.values())}
_ID, _SUBSCRIBER, _TIME = map(attrgetter, ("id", "subscriber_id", "occurred_at"))
_FIELDS = [[attrgetter(name) for name in FIELDS[event_type]] for event_type in STRUCTS]
_TOGETHER = 512  # records read before their fields are taken out of them


@dataclass(frozen=True, slots=True)
class Intake:
    """What a record has to meet.

    `partitions` is the count of the usage topic; `tolerance_us` how far a record may be dated beyond its broker time.
    """

    partitions: int
    partitioner: Partitioner = "murmur2"
    tolerance_us: int = 300_000_000
    expand: Expand | None = None


@dataclass(frozen=True, slots=True)
class Decoded:
    """Where each record of a poll went: into the batch, among the rejects, or among the ignored by type."""

    batch: Batch
    rejects: list[Reject]
    ignored: Counter[str]


@dataclass(slots=True)
class _Draft:
    """Events as read, a column each, the record (by its place in the poll) that each came from, and what failed so far.

    `fields` has the values of each field of FIELDS, in its order, by the code of the type.
    """

    ids: list[str] = field(default_factory=list)
    subscribers: list[str] = field(default_factory=list)
    times: list[str] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    fields: dict[int, list[list[Any]]] = field(default_factory=dict)
    owners: list[int] = field(default_factory=list)
    faults: dict[int, tuple[Fault, str]] = field(default_factory=dict)
    ignored: Counter[str] = field(default_factory=Counter)

    def take(self, events: Sequence[Event]) -> None:
        """Add events; only a few at once, which still lie in the processor's cache."""
        self.ids.extend(map(_ID, events))
        self.subscribers.extend(map(_SUBSCRIBER, events))
        self.times.extend(map(_TIME, events))
        codes = list(map(_CODES.__getitem__, map(type, events)))
        self.codes += codes
        alike: defaultdict[int, list[Event]] = defaultdict(list)
        for code, event in zip(codes, events, strict=True):
            alike[code].append(event)
        for code, mine in alike.items():
            columns = self.fields.setdefault(code, [[] for _ in _FIELDS[code]])
            for column, told in zip(columns, _FIELDS[code], strict=True):
                column.extend(map(told, mine))


def decode(records: Sequence[Record], rules: Intake, end: int | None = None) -> Decoded:
    """Decode a poll of one shard; no bytes make it raise.

    Args:
        records: in offset order.
        rules: what a record has to meet.
        end: the position after the poll, where it is known; else the offset after the last record.
    """
    columns = Records.of(records)
    draft = _map(columns, rules.expand) if rules.expand else _read(columns)
    end = end if end is not None else (records[-1].offset + 1 if records else 0)
    batch = _build(columns, draft, rules, end)
    rejects = [Reject(columns[at], *draft.faults[at]) for at in sorted(draft.faults)]
    return Decoded(batch, rejects, draft.ignored)


def _read(records: Records) -> _Draft:
    draft, good = _Draft(), np.ones(len(records), bool)
    read: Callable[[Any], Event] = _event if records.headers else _decode
    values: Sequence[Any] = records if records.headers else records.values
    for first in range(0, len(values), _TOGETHER):
        reading, events, failed = map(read, values[first : first + _TOGETHER]), list[Event](), 0
        while True:
            try:
                # What was read before a bad record is kept, and reading goes on behind it.
                events.extend(reading)
            except (*UNREADABLE, TypeError) as error:  # a missing value is a TypeError of the reader
                at = first + len(events) + failed
                failed += 1
                good[at] = False
                _fail(draft, at, records[at], error)
            else:
                break
        draft.take(events)
    draft.owners = np.flatnonzero(good).tolist()
    return draft


def _event(record: Record) -> Event:
    event: Event = _decode(unwrap(record))
    return event


def _fail(draft: _Draft, at: int, record: Record, error: Exception) -> None:
    try:
        value = unwrap(record)
    except UNREADABLE as deeper:
        draft.faults[at] = fault_of(deeper)
        return
    stranger = unknown_type(value, STRUCTS)
    if stranger is None:
        draft.faults[at] = fault_of(error)
    else:
        draft.ignored[stranger[:_TYPE_LENGTH]] += 1


def _map(records: Records, expand: Expand) -> _Draft:
    """As `_read`, through a mapping: a record with one bad event is rejected whole."""
    draft = _Draft()
    values, mapped = [], []
    for at, record in enumerate(records):
        try:
            values.append(unwrap(record, fill=False))
            mapped.append(at)
        except UNREADABLE as error:
            draft.faults[at] = fault_of(error)
    for at, pieces in zip(mapped, _expanded(values, expand), strict=True):
        try:
            _take_pieces(draft, at, pieces)
        except UNREADABLE as error:
            draft.faults[at] = fault_of(error)
    return draft


def _expanded(values: list[bytes], expand: Expand) -> list[list[bytes] | str]:
    """What a mapping makes of values; one that makes it fail costs only itself: halves are tried until it is alone.

    A mapping is an operator's own: a record that it cannot bear must not stop the shard, now and after every restart.
    """
    try:
        return expand(values)
    except (Exception, pl.exceptions.PanicException) as error:  # noqa: BLE001 - whatever an operator's expressions raise
        if len(values) == 1:
            return [f"the mapping fails: {type(error).__name__}"]
        half = len(values) // 2
        return _expanded(values[:half], expand) + _expanded(values[half:], expand)


def _take_pieces(draft: _Draft, at: int, pieces: list[bytes] | str) -> None:
    if isinstance(pieces, str):
        raise UnreadableError(Fault.UNMAPPED, pieces)
    if len(pieces) > MOST_EVENTS:
        raise UnreadableError(Fault.UNMAPPED, f"mapped to more than {MOST_EVENTS} events")
    events, strangers = [], []
    for piece in pieces:
        try:
            events.append(_decode(piece))
        except UNREADABLE:
            stranger = unknown_type(piece, STRUCTS)
            if stranger is None:
                raise
            strangers.append(stranger[:_TYPE_LENGTH])
    draft.take(events)
    draft.owners += [at] * len(events)
    draft.ignored.update(strangers if pieces else [UNMAPPED])


def _build(records: Records, draft: _Draft, rules: Intake, end: int) -> Batch:
    """Columns of what was read; what the checks find goes from the draft's events to its faults."""
    if not draft.codes:
        return Batch(pl.DataFrame(schema=COMMON), {}, end)
    owners, codes = np.array(draft.owners, np.int64), np.array(draft.codes, np.int8)
    common, found = _common(records, draft, owners, codes)
    bad = _Bad(owners, draft.faults)
    for fault, check in (*found, *_checks(records, owners, common, rules)):
        bad.note(fault, check, None)
    parts: list[tuple[int, np.ndarray, dict[str, pl.Series]]] = []
    for code in sorted(draft.fields):
        rows = np.flatnonzero(codes == code)
        columns, checks = typed_columns(_TYPES[code], draft.fields[code])
        for check in checks:
            bad.note(Fault.INVALID, check, rows)
        parts.append((code, rows, columns))
    return _without(common, parts, bad.rows(), end)


def _common(
    records: Records, draft: _Draft, owners: np.ndarray, codes: np.ndarray
) -> tuple[pl.DataFrame, list[tuple[Fault, Check]]]:
    times, bad_time = instants(draft.times)
    ids, subscribers = pl.Series(draft.ids, dtype=pl.String), pl.Series(draft.subscribers, dtype=pl.String)
    offsets = records.offsets[owners]
    common = pl.DataFrame(
        {
            "offset": offsets,
            "id": ids,
            "subscriber_id": subscribers,
            "type": _NAMES.gather(pl.Series(codes)),
            "occurred_us": times,
        }
    )
    # NUL parts the pieces of what ids are made of.
    split = ids.str.contains("\0", literal=True) | subscribers.str.contains("\0", literal=True)
    return common, [(Fault.INVALID, bad_time), (Fault.INVALID, (split, "an id contains the character NUL"))]


def _checks(records: Records, owners: np.ndarray, common: pl.DataFrame, rules: Intake) -> Iterator[tuple[Fault, Check]]:
    keys, stamps = records.keys, records.times_us[owners]
    key = pl.Series(keys, dtype=pl.Binary).gather(pl.Series(owners))
    yield Fault.NO_KEY, (key.is_null(), "the record has no key")
    right = (key == common["subscriber_id"].cast(pl.Binary)).fill_null(value=False)
    yield Fault.WRONG_KEY, (~right & key.is_not_null(), "the key is not the subscriber_id")
    if rules.partitioner != "any":
        rows = np.flatnonzero(right.to_numpy())
        expected = partitions_of([keys[at] or b"" for at in owners[rows].tolist()], rules.partitions, rules.partitioner)
        strange = np.zeros(owners.size, bool)
        strange[rows] = expected != records.partitions[owners[rows]]
        reason = f"{rules.partitioner} over {rules.partitions} partitions puts the key elsewhere"
        yield Fault.WRONG_PARTITION, (pl.Series(strange), reason)
    # A record without a timestamp (-1) cannot be measured.
    early = (common["occurred_us"] > pl.Series(stamps) + rules.tolerance_us) & pl.Series(stamps >= 0)
    reason = f"dated more than {rules.tolerance_us // 1_000_000} s after the broker's time"
    yield Fault.FUTURE, (early.fill_null(value=False), reason)


@dataclass(slots=True)
class _Bad:
    """Records that a check found bad; the first fault found stays."""

    owners: np.ndarray
    faults: dict[int, tuple[Fault, str]]

    def note(self, fault: Fault, check: Check, rows: np.ndarray | None) -> None:
        """`check` flags events, all of them or those at `rows`."""
        flags, reason = check
        if not flags.any():
            return
        places = np.flatnonzero(flags.to_numpy())
        for owner in self.owners[places if rows is None else rows[places]].tolist():
            self.faults.setdefault(owner, (fault, reason))

    def rows(self) -> np.ndarray | None:
        """Flags of events whose record is good; None where all are."""
        keep = ~np.isin(self.owners, np.fromiter(self.faults, np.int64, len(self.faults)))
        return None if keep.all() else keep


def _without(
    common: pl.DataFrame,
    parts: Sequence[tuple[int, np.ndarray, dict[str, pl.Series]]],
    keep: np.ndarray | None,
    end: int,
) -> Batch:
    """The batch of the rows to keep, `at` counting those only."""
    if keep is None:
        whole = {_TYPES[code]: pl.DataFrame(columns | {"at": rows.astype(np.uint32)}) for code, rows, columns in parts}
        return Batch(common, whole, end)
    places = (np.cumsum(keep) - 1).clip(0)
    fields = {}
    for code, rows, columns in parts:
        frame = pl.DataFrame({**columns, "at": pl.Series(places[rows], dtype=pl.UInt32)})
        frame = frame.filter(pl.Series(keep[rows]))
        if not frame.is_empty():
            fields[_TYPES[code]] = frame
    return Batch(common.filter(pl.Series(keep)), fields, end)
