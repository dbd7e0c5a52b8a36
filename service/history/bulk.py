"""History before day one from daily aggregates: a city's past as first snapshots, without going through events."""

import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from service.core.calendar import day_end_us, to_date
from service.core.hashing import hash64
from service.core.rules import Rulebook
from service.core.segments import assign
from service.core.state import State, new_state
from service.core.watermark import AGREEING
from service.history.aggregates import Settled, deal, scan_aggregates, settle
from service.history.bootstrap import EmptyStore, check_possible, first_snapshot
from service.history.files import FileError
from service.history.past import Lot, Past, live
from service.history.pieces import Pieces
from service.history.profiles import read_profile_rows, tell_profiles
from service.wire.decode import Intake

WatchShards = Callable[[Iterable[int]], Iterable[int]]


@dataclass(frozen=True, slots=True)
class KnownDays:
    """Daily aggregates (see `scan_aggregates`) up to `today` at most, and a table of profiles, if there is one."""

    file: Path
    today: int  # days since 1970
    profiles: Path | None = None


@dataclass(frozen=True, slots=True)
class _City:
    """Where each partition's lines lie, by partition, and the first and the last day over all of them."""

    settled: Mapping[int, Settled]
    profiles: Mapping[int, Path]
    first: int
    last: int

    @property
    def partitions(self) -> list[int]:
        return sorted(self.settled.keys() | self.profiles.keys())


def bootstrap_days(known: KnownDays, store: EmptyStore, lot: Lot, watch: WatchShards = iter) -> dict[str, int | str]:
    """Load daily aggregates as the first snapshot of each shard, as `bootstrap` does events.

    Windows, silence and usage history are what the events behind the aggregates would give; segments begin on the
    last closed day. The last day stays open for the stream to close, though it is told in full. All is checked before
    anything is stored. Takes room for all lines in the folder for temporary files, and memory for those of one shard.

    Returns: subscribers, shards, lines, rejected and rows_rejected (both of profiles), first_day, last_day.
    Raises: FileError, NotEmptyError, OSError.
    """
    check_possible(store, lot.intake)
    lot = replace(lot.quiet, intake=replace(lot.intake, expand=None))  # what profiles tell is mapped already
    with tempfile.TemporaryDirectory(prefix="bootstrap-") as folder:
        city = _dealt(known, Path(folder), lot.intake)
        subscribers = rejected = rows_rejected = 0
        for partition in watch(city.partitions):
            past, unread = _profiled(known, city, replace(lot, partition=partition))
            panes = _take(past.state, lot.rulebook, city, partition)
            store.save(partition, first_snapshot(past.state, panes))
            subscribers += past.state.subscribers
            rejected += len(past.rejects)
            rows_rejected += unread
    return {
        "subscribers": subscribers,
        "shards": len(city.partitions),
        "lines": sum(settled.lines for settled in city.settled.values()),
        "rejected": rejected,
        "rows_rejected": rows_rejected,
        "first_day": str(to_date(city.first)),
        "last_day": str(to_date(city.last)),
    }


def _dealt(known: KnownDays, folder: Path, intake: Intake) -> _City:
    lines = deal(scan_aggregates(known.file), known.file, folder / "days", intake)
    if not lines:
        raise FileError(f"{known.file} tells of no day")
    profiles = {}
    if known.profiles is not None:
        rows = read_profile_rows(known.profiles)
        profiles = deal(rows.lazy(), known.profiles, folder / "profiles", intake)
    settled = {partition: settle(path, known.file, known.today) for partition, path in lines.items()}
    first = min(one.days[0] for one in settled.values())
    last = max(one.days[-1] for one in settled.values())
    return _City(settled, profiles, first, last)


def _profiled(known: KnownDays, city: _City, lot: Lot) -> tuple[Past, int]:
    """A shard that knows its profiles as of the first day, and how many rows told none."""
    path = city.profiles.get(lot.partition)
    if path is None or known.profiles is None:
        return Past(new_state(lot.config)), 0
    rows = pl.read_parquet(path / "*.parquet")
    told = tell_profiles(rows, known.profiles, to_date(city.first), lot.config.zone)
    return live(told.events, lot), told.rejects.height


def _take(state: State, rulebook: Rulebook, city: _City, partition: int) -> Mapping[str, pl.DataFrame]:
    """Let a shard stand on the last day, still open, all days before it closed; returns the panes of those."""
    closed = state.closed_day = city.last - 1
    state.windows.begin(city.first - 1)
    state.watermark.us = day_end_us(city.last, state.config.zone) - 1
    panes: Mapping[str, pl.DataFrame] = {}
    if (settled := city.settled.get(partition)) is not None:
        ids = settled.ids()
        rows = state.rows_of(ids)
        state.watermark.hear_of(hash64(ids.head(AGREEING)))
        for day in settled.days:
            _take_day(state, day, settled.of_day(day, rows))
        reached = tuple(day for day in settled.days if closed - state.windows.reach_days <= day <= closed)
        panes = Pieces(
            tuple(f"{day}.0" for day in reached),
            lambda name: settled.of_day(int(name.partition(".")[0]), rows),
        )
    assign(state, rulebook, state.rows, closed)
    return panes


def _take_day(state: State, day: int, pane: pl.DataFrame) -> None:
    rows = pane["row"].to_numpy()
    state.attributes.see(rows, np.full(rows.size, day, np.int32), None)
    if state.closed_day is None or day > state.closed_day:
        state.panes.add(day, pane)
        return
    # To a state that has closed later days already, usage of an earlier one is a correction.
    active = rows[pane["outgoing"].to_numpy() > 0]
    state.windows.correct(day, pane, state.closed_day)
    state.attributes.note_used(day, pane)
    state.activity.correct(state.closed_day - day, active)
