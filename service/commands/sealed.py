"""The past that the rulebook's tools judge without a usage file: what the store has of each shard, or aggregates."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from service.app import config_of, intake_of, store_of
from service.clock import SystemClock
from service.commands.console import fail, watched
from service.commands.context import unasked
from service.core.calendar import day_at, to_date
from service.core.rules import Rulebook
from service.core.state import Config
from service.history.bulk import KnownDays, bootstrap_days
from service.history.past import Lot
from service.history.sealed import Sealed, open_sealed
from service.ports import Snapshot
from service.settings import Settings
from service.store.store import Store

_ALL = 2**63 - 1
_T = TypeVar("_T")
_Judge = Callable[[Iterator[Sealed], range, Callable[[], object]], _T]  # shards, days, what a judged day calls


class Asked(NamedTuple):
    """The last `days` up to `until` (since 1970), or up to the last day that all shards have closed."""

    until: int | None
    days: int


@contextlib.contextmanager
def past_of(settings: Settings, rulebook: Rulebook, aggregates: Path | None) -> Iterator[Store]:
    """The store whose snapshots hold the past; of aggregates one that ends with the block.

    Raises: FileError, SettingsError, OSError.
    """
    if aggregates is None:
        yield store_of(settings, copies=False)
        return
    with tempfile.TemporaryDirectory(prefix="past-") as folder:
        store = store_of(settings, folder, copies=False)
        today = day_at(SystemClock().now_us(), settings.time.zone)
        lot = Lot(config_of(settings, rulebook), rulebook, intake=intake_of(settings, None))
        bootstrap_days(KnownDays(aggregates, today), store, lot)
        yield store


def partitions_in(settings: Settings, store: Store) -> list[int]:
    """The shards that the store knows, or the end where there is none."""
    try:
        partitions = store.shards()
    except OSError as error:
        fail(unasked(settings, error))
    if not partitions:
        fail(f"CHURN_SNAPSHOTS__FOLDER is '{settings.snapshots.folder}', where no shard has a snapshot: name a file")
    return partitions


def shards_of(settings: Settings, config: Config, store: Store, partitions: list[int]) -> Iterator[Sealed]:
    """Each shard's past, one after another. Raises: OSError; ends where a shard cannot be read."""
    for partition in partitions:
        shard = shard_of(settings, config, store, partition)
        if shard is not None:
            yield shard


def shard_of(settings: Settings, config: Config, store: Store, partition: int) -> Sealed | None:
    """A shard's past as its newest snapshot has it; None where it has closed no day yet."""
    snapshot = newest_of(settings, store, partition)
    try:
        return open_sealed(config, snapshot)
    except ValueError as error:
        fail(str(error))


def newest_of(settings: Settings, store: Store, partition: int) -> Snapshot:
    """A shard's newest snapshot, or the end where it has none that can be used."""
    try:
        snapshot = store.newest(partition, _ALL)
    except OSError as error:
        fail(unasked(settings, error))
    if snapshot is None:
        fail(f"shard {partition} has no usable snapshot: see `snapshot verify`")
    return snapshot


def last_days(store: Store, partitions: list[int]) -> list[int]:
    """The last closed day of each shard, as their newest snapshots have it."""
    newest = (store.newest(partition, _ALL) for partition in partitions)
    days = (snapshot.manifest["closed_day"] for snapshot in newest if snapshot is not None)
    return [int(day) for day in days if day is not None]


def check_closed(day: int, last: int) -> None:
    """Ends where a day has not closed yet."""
    if day > last:
        fail(f"{to_date(day)} is not closed yet: the snapshots' last closed day is {to_date(last)}")


def judge_days(
    settings: Settings, rulebook: Rulebook, aggregates: Path | None, asked: Asked, judge: _Judge[_T]
) -> tuple[range, _T]:
    """The days (since 1970) that are asked for, and what `judge` finds in them.

    Raises: FileError, SettingsError, DamagedError, OSError.
    """
    config = config_of(settings, rulebook)
    with past_of(settings, rulebook, aggregates) as store:
        partitions = partitions_in(settings, store)
        last = min(last_days(store, partitions), default=0)
        until = last if asked.until is None else asked.until
        check_closed(until, last)
        days = range(until - asked.days + 1, until + 1)
        doing = f"Judging {to_date(days[0])} to {to_date(days[-1])}"
        steps = iter(watched(range(len(partitions) * asked.days), doing))
        found = judge(shards_of(settings, config, store, partitions), days, lambda: next(steps, None))
        next(steps, None)
    return days, found
