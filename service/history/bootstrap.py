"""History before day one: a file's events become each shard's first snapshot, made by the core that runs live."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl

from service.core.calendar import local_days, to_date
from service.core.frames import meta, pieces_of, to_frames
from service.core.state import Config, State
from service.history.files import FileError, Source, read_usage
from service.history.past import Lot, Past, Watch, live
from service.history.profiles import read_profile_rows, tell_profiles
from service.ports import Snapshot, SnapshotStore
from service.wire.decode import Intake
from service.wire.partitioning import partitions_of


class EmptyStore(SnapshotStore, Protocol):
    """A store that can be asked whether it holds anything."""

    def is_empty(self) -> bool:
        """Whether no shard has a snapshot."""


class NotEmptyError(Exception):
    """The store holds snapshots already, in one sentence."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the time before day one: usage, and a table of profiles (None: there is none)."""

    usage: Source
    profiles: Path | None = None


def bootstrap(known: Known, store: EmptyStore, lot: Lot, watch: Watch = iter) -> dict[str, int | str]:
    """Load the past as the first snapshot of each of the lot's shards, standing before the log's beginning.

    Days of the past are closed as they would have been live, the last ones stay open for the stream to close; nothing
    is judged, so what is true at the first close is standing.

    Returns: subscribers, shards, events (in state), repeated, rejected, ignored, rows_rejected, first_day, last_day.
    Raises: FileError, NotEmptyError, OSError.
    """
    check_possible(store, lot.intake)
    events, rows_rejected = _events(known, lot.config)
    intake = lot.intake
    keys = events["subscriber_id"].drop_nulls().unique(maintain_order=True)
    homes = partitions_of([key.encode() for key in keys.to_list()], intake.partitions, intake.partitioner)
    lot = replace(lot.quiet, intake=replace(intake, expand=None))  # what the file tells is mapped already
    pasts = []
    for partition in np.unique(homes).tolist():
        mine = events.filter(pl.col("subscriber_id").is_in(keys.filter(pl.Series(homes == partition)).implode()))
        past = live(mine, replace(lot, partition=partition), watch)
        store.save(partition, first_snapshot(past.state))
        pasts.append(past)
    return _answer(pasts, rows_rejected, events, lot.config.zone)


def check_possible(store: EmptyStore, intake: Intake) -> None:
    """Whether history can be loaded at all. Raises: NotEmptyError, FileError."""
    if not store.is_empty():
        raise NotEmptyError(
            "there are snapshots already: history can only be loaded before day one, into an empty store"
        )
    if intake.partitioner == "any":
        raise FileError(
            "with the partitioner `any` nobody knows which shard a subscriber belongs to: set murmur2 or crc32"
        )


def first_snapshot(state: State, panes: Mapping[str, pl.DataFrame] | None = None) -> Snapshot:
    """A state as what a shard starts from before it has read anything of its log; `panes` are its closed days."""
    state.cursor = state.feedback_cursor = 0
    pieces = pieces_of(state) if panes is None else panes
    return Snapshot(meta(state), to_frames(state), pieces)


def _events(known: Known, config: Config) -> tuple[pl.DataFrame, int]:
    usage = read_usage(known.usage)
    unreadable = usage.events["subscriber_id"].is_null() | usage.events["occurred_us"].is_null()
    events = usage.events.filter(~unreadable)
    rejected = usage.rejects.height + int(unreadable.sum())
    if events.is_empty():
        raise FileError(f"{known.usage.file} tells no events")
    if known.profiles is None:
        return events, rejected
    days = local_days(events["occurred_us"].to_numpy(), config.zone)
    rows = read_profile_rows(known.profiles)
    # Who is only in the table is known from the first day on; of the others it knows better than the file's mapping,
    # which may declare something of all, so that it is told last.
    is_used = rows["subscriber_id"].cast(pl.String).is_in(events["subscriber_id"].unique().implode())
    told = [
        tell_profiles(part, known.profiles, to_date(int(day)), config.zone)
        for part, day in ((rows.filter(~is_used), days.min()), (rows.filter(is_used), days.max()))
    ]
    rejected += sum(one.rejects.height for one in told)
    return pl.concat([told[0].events, events, told[1].events]), rejected


def _answer(pasts: list[Past], rows_rejected: int, events: pl.DataFrame, zone: str) -> dict[str, int | str]:
    times = events.select(pl.min("occurred_us").alias("first"), pl.max("occurred_us").alias("last")).row(0)
    first, last = local_days(np.array(times), zone).tolist()
    return {
        "subscribers": sum(past.state.subscribers for past in pasts),
        "shards": len(pasts),
        "events": sum(past.counted for past in pasts),
        "repeated": sum(past.repeated for past in pasts),
        "rejected": sum(len(past.rejects) for past in pasts),
        "ignored": sum(past.ignored for past in pasts),
        "rows_rejected": rows_rejected,
        "first_day": str(to_date(first)),
        "last_day": str(to_date(last)),
    }
