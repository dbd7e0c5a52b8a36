"""A worker that stands still until others have taken its shards, and then goes on, does no harm."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.broker import free_port
from service.app import store_of
from service.settings import Settings
from service.settings import load as load_settings
from service.store.store import shard_of
from service.store.upkeep import verify
from tests.bench.place import ROOT, environment
from tests.chaos.fleet import Fleet, Worker
from tests.chaos.judgement import judge
from tests.chaos.ordeal import settle
from tests.doubles.broker import until

PARTITIONS = 2
FEED = ("--events=100000", "--subscribers=1000", "--days=12", "--rate=1000000", "--seed=1")
# Small turns, each with a snapshot: wherever it is stopped, it has something to say and something to keep.
SMALL = {"CHURN_KAFKA__POLL_RECORDS": "1000", "CHURN_SNAPSHOTS__EVERY_RECORDS": "1000"}


def run(environ: dict[str, str], *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, env=environ, check=True, capture_output=True)  # noqa: S603 - our own


@contextmanager
def worker_of(environ: dict[str, str], folder: Path, name: str) -> Iterator[Worker]:
    worker = Worker(name, environ | {"CHURN_HTTP__PORT": str(free_port())}, folder / f"{name}.log")
    try:
        yield worker
    finally:
        worker.kill()


def unfinished(folder: Path) -> set[str]:
    """Snapshots that are being written."""
    found = (path for partition in range(PARTITIONS) for path in (folder / shard_of(partition)).glob("[0-9]*-*"))
    return {str(path) for path in found if not (path / "manifest.json").exists()}


async def settled(worker: Worker, settings: Settings) -> None:
    """Return when one worker runs all shards and has committed all there is."""
    fleet = Fleet([worker], PARTITIONS)
    watching = asyncio.create_task(fleet.watch())
    try:
        assert await settle(settings, fleet, 180) is not None, worker.log.read_text()[-2000:]
    finally:
        watching.cancel()


def is_caught(zombie: Worker, snapshots: Path) -> bool:
    """Whether it stands still in the middle of a snapshot."""
    if not unfinished(snapshots):
        return False
    zombie.freeze()
    if unfinished(snapshots):
        return True
    zombie.thaw()
    return False


def has_kept_off(log: str) -> bool:
    """Whether its snapshot came to an end: the heir may have swept away the file that it was writing."""
    return "has a newer writer; its snapshots are left" in log or "keeps no snapshot" in log


def whole(settings: Settings) -> set[tuple[int, str]]:
    """Snapshots that are as they were written."""
    return {(one.partition, one.name) for one in verify(store_of(settings)) if not one.damages}


async def test_a_worker_that_goes_on_too_late_publishes_nothing_and_prunes_nothing(
    kafka_bootstrap: str, tmp_path: Path
) -> None:
    environ = environment(kafka_bootstrap, PARTITIONS, tmp_path) | SMALL
    settings = load_settings(environ, None)
    await asyncio.to_thread(run, environ, "service", "topics", "create")
    await asyncio.to_thread(run, environ, "tests.chaos.load", *FEED)
    with worker_of(environ, tmp_path, "zombie") as zombie, worker_of(environ, tmp_path, "heir") as heir:
        zombie.start()
        await until(lambda: is_caught(zombie, tmp_path / "snapshots"), 120)
        heir.start()
        await settled(heir, settings)
        assert await heir.end() == 0
        kept = whole(settings)
        zombie.thaw()
        await until(lambda: "has a newer owner" in zombie.log.read_text(), 60)
        await until(lambda: has_kept_off(zombie.log.read_text()), 60)
        await settled(zombie, settings)
        assert await zombie.end() == 0
    assert len(kept) >= PARTITIONS
    assert kept <= whole(settings)
    verdict = await judge(settings, None)
    assert verdict.transitions > 0
    assert not verdict.difference.is_any, verdict.difference
