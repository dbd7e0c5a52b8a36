"""Segments and what tells them apart, offline, by the core that runs live: of a usage file, or of stored snapshots."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import polars as pl

from service.core.calendar import to_date, to_day
from service.core.cohorts import Cohorts, compare
from service.core.crosstabs import add_up, count, tabulate
from service.core.frames import from_frames
from service.core.rules import Rulebook
from service.core.segments import assign
from service.core.state import State
from service.history.files import FileError, Source, read_usage
from service.history.past import Lot, Watch, live_through
from service.ports import SnapshotStore

_ALL = 2**63 - 1

WatchShards = Callable[[Iterable[int]], Iterable[int]]


class StoreError(Exception):
    """Stored snapshots cannot answer, in one sentence."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A store, the shards that it holds snapshots of, and whether to find segments anew: else as they were told."""

    store: SnapshotStore
    shards: tuple[int, ...]
    anew: bool = False


def of_file(source: Source, as_of: date, lot: Lot, watch: Watch = iter) -> dict[str, Any]:
    """Tables of the events of a usage file up to a day, and its close; nobody is warned.

    Returns: those of `tabulate`, and as_of, against, events (in state), repeated, late, rejected, ignored,
    rows_rejected, last_day (of the file's events).
    Raises: FileError.
    """
    usage = read_usage(source)
    try:
        past, last_day = live_through(usage.events, lot.quiet, to_day(as_of), watch)
    except FileError as error:
        raise FileError(f"{source.file}: {error}") from error
    return {
        "as_of": str(as_of),
        **_told(count(past.state, lot.rulebook), lot),
        **past.counts,
        "rows_rejected": usage.rejects.height,
        "last_day": str(last_day),
    }


def of_store(kept: Kept, as_of: date | None, lot: Lot, watch: WatchShards = iter) -> dict[str, Any]:
    """Tables of the newest snapshot of each shard, as of its last closed day: that is `as_of`, where one is told.

    Returns: those of `tabulate`, and as_of (null where shards differ), against, closed_days by partition.
    Raises: StoreError, OSError, ValueError (of another time zone).
    """
    days: dict[int, date | None] = {}
    cells = []
    for partition in watch(kept.shards):
        state = _stored(kept, partition, lot)
        days[partition] = None if state.closed_day is None else to_date(state.closed_day)
        if as_of is not None and days[partition] != as_of:
            raise StoreError(
                f"the newest snapshot of shard {partition} is of {days[partition] or 'no closed day'}, not of {as_of}: "
                "ask for that day, or name a file of events"
            )
        cells.append(count(state, lot.rulebook))
    if not cells:
        raise StoreError("there are no snapshots: name a file of events, or let the service keep some first")
    common = set(days.values())
    return {
        "as_of": str(days[kept.shards[0]]) if len(common) == 1 else None,
        **_told(add_up(cells), lot),
        "closed_days": {str(partition): None if day is None else str(day) for partition, day in days.items()},
    }


def compared(rulebook: Rulebook, against: str | None) -> Rulebook:
    """The rulebook, where another than it says is compared with."""
    return rulebook if against is None else replace(rulebook, against="cohort" if against == "cohort" else "own")


def _stored(kept: Kept, partition: int, lot: Lot) -> State:
    snapshot = kept.store.newest(partition, _ALL)
    if snapshot is None:
        raise StoreError(f"shard {partition} has no usable snapshot: see `snapshot verify`")
    state = from_frames(lot.config, snapshot.manifest, snapshot.frames, snapshot.stored)
    if kept.anew and state.closed_day is not None:
        state.cohorts = Cohorts(compare(state.windows, state.attributes, state.rows, lot.rulebook, state.closed_day))
        assign(state, lot.rulebook, state.rows, state.closed_day)
    return state


def _told(cells: pl.DataFrame, lot: Lot) -> dict[str, Any]:
    return {"against": lot.rulebook.against, **tabulate(cells, lot.rulebook, lot.config.minor_digits)}
