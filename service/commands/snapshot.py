"""The commands `snapshot list`, `verify`, `prune` and `reshard`: what lies in the store, and for how many shards."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from service.app import config_of, store_of
from service.clock import SystemClock
from service.commands.console import NO, fail, finish, watched
from service.commands.context import AsJson, SettingsFile, read_rulebook, read_settings, unasked
from service.core.calendar import to_date
from service.core.panes import DamagedError
from service.history.bootstrap import NotEmptyError
from service.history.past import Lot
from service.history.reshard import ReshardError
from service.history.reshard import reshard as move
from service.settings import SettingsError
from service.store.upkeep import Kept, kept
from service.store.upkeep import verify as check
from service.wire.decode import Intake

snapshot = typer.Typer(help="Look after the snapshots that shards start from.", no_args_is_help=True)

_DAYS_FROM_H = 48  # a longer age is told in days


@snapshot.command("list")
def list_(*, settings_file: SettingsFile = None, json_output: AsJson = False) -> None:
    """List every snapshot: its shard, cursor, last closed day, age, size, and whether its manifest is valid.

    Example: churn-warning snapshot list
    """
    settings = read_settings(settings_file)
    now_us = SystemClock().now_us()
    try:
        found = list(kept(store_of(settings)))
    except OSError as error:
        fail(unasked(settings, error))
    if json_output:
        finish({"snapshots": [_plain(one, now_us) for one in found]}, "", as_json=True)
        return
    table = Table("partition", "cursor", "day", "age", "MB", "snapshot", "manifest")
    for one in found:
        told = _plain(one, now_us)
        size = "" if one.size_bytes is None else f"{one.size_bytes / 1e6:,.1f}"
        shown = (one.partition, one.cursor, told["day"], _age(told["age_s"]), size, one.name, one.trouble or "valid")
        table.add_row(*("" if value is None else str(value) for value in shown))
    Console().print(table)


@snapshot.command()
def verify(*, settings_file: SettingsFile = None, json_output: AsJson = False) -> None:
    """Read every snapshot to its last byte, history too; status 1 if anything is damaged, which is named.

    Example: churn-warning snapshot verify
    """
    settings = read_settings(settings_file)
    try:
        checked = list(watched(check(store_of(settings)), "Reading"))
    except OSError as error:
        fail(unasked(settings, error))
    damaged = [one for one in checked if one.damages]
    lines = [f"Shard {one.partition}, snapshot {one.name}: {'; '.join(one.damages)}" for one in damaged]
    lines = lines or [f"All {len(checked)} snapshots are as they were written."]
    answer = {"snapshots": len(checked), "damaged": [asdict(one) for one in damaged]}
    finish(answer, "\n".join(lines), as_json=json_output)
    if damaged:
        raise typer.Exit(NO)


@snapshot.command()
def prune(*, settings_file: SettingsFile = None, json_output: AsJson = False) -> None:
    """Remove all but the newest valid snapshots of each shard (CHURN_SNAPSHOTS__KEEP) and what only others need.

    Example: CHURN_SNAPSHOTS__KEEP=1 churn-warning snapshot prune
    """
    settings = read_settings(settings_file)
    store = store_of(settings)
    try:
        removed = {partition: store.prune(partition) for partition in store.shards()}
    except OSError as error:
        fail(unasked(settings, error))
    files = sum(removed.values())
    sentence = f"Removed {files} files of {len(removed)} shards, {settings.snapshots.keep} snapshots of each are kept."
    finish({"shards": len(removed), "files_removed": files}, sentence, as_json=json_output)


@snapshot.command()
def reshard(
    *,
    partitions: Annotated[int, typer.Option(min=1, max=100_000, help="How many partitions the new topic has.")],
    to: Annotated[str, typer.Option(help="Empty folder or object store's URL for the new snapshots.")],
    settings_file: SettingsFile = None,
    json_output: AsJson = False,
) -> None:
    """Make snapshots for another partition count, with which the topics are to be made anew; the old ones stay.

    Stop the service in order first, so that its last snapshots hold all that was read. Carried are subscribers, usage,
    windows and what was told of them; not carried are open warnings, acknowledgements and contacts: what is true at the
    first close counts as standing and is not published.

    Example: churn-warning snapshot reshard --partitions 48 --to s3://bucket/of-48
    """
    settings = read_settings(settings_file)
    source, target = store_of(settings), store_of(settings, to, partitions)
    try:
        rulebook = read_rulebook(settings)
        lot = Lot(config_of(settings, rulebook), rulebook, intake=Intake(partitions, settings.kafka.partitioner))
        stored = dict(watched(move(source, source.shards(), target, lot), "Storing", partitions))
    except (ReshardError, NotEmptyError, DamagedError, SettingsError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"The snapshots cannot be read or written: {error.strerror or error}")
    sentence = (
        f"{sum(stored.values()):,} subscribers are in snapshots of {len(stored)} of {partitions} shards in {to}; open "
        "warnings, acknowledgements and contacts are not. Next: make the topics anew with "
        f"CHURN_TOPICS__PARTITIONS={partitions}, and start with CHURN_SNAPSHOTS__FOLDER={to}."
    )
    finish({"subscribers": sum(stored.values()), "shards": len(stored), "to": to}, sentence, as_json=json_output)


def _plain(one: Kept, now_us: int) -> dict[str, int | str | None]:
    return {
        "partition": one.partition,
        "snapshot": one.name,
        "cursor": one.cursor,
        "day": None if one.closed_day is None else str(to_date(one.closed_day)),
        "age_s": None if one.taken_us is None else (now_us - one.taken_us) // 1_000_000,
        "size_bytes": one.size_bytes,
        "trouble": one.trouble,
    }


def _age(seconds: int | str | None) -> str | None:
    if not isinstance(seconds, int):
        return None
    hours, rest = divmod(seconds, 3600)
    return f"{hours // 24}d {hours % 24}h" if hours >= _DAYS_FROM_H else f"{hours}h {rest // 60}m"
