"""A snapshot is stored whole or not at all, verified when read, and history is written once."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from service.core.panes import DamagedError
from service.ports import Snapshot
from service.store.folder import FolderStore
from tests.doubles.disk import FailingDisk, PowerCut, WatchedDisk

SEALED = {f"pane/{day}": pl.DataFrame({"row": [0, 1], "voice": [day, 2]}) for day in (15800, 15801)}
FAR = 10**12


def snapshot(cursor: int, frames: dict[str, pl.DataFrame] | None = None, epoch: int = 0) -> Snapshot:
    told = {"cursor": cursor, "writer_epoch": epoch, "claims": [[2**64 - 1, 5]], "zone": "UTC"}
    roster = pl.DataFrame({"subscriber_id": ["a", "日本", str(cursor)]})
    table = pl.DataFrame({"row": pl.Series([1], dtype=pl.Int32), "ends": pl.Series([None], dtype=pl.Date)})
    repeats = pl.DataFrame({"hash": pl.Series([2**64 - 1], dtype=pl.UInt64)})
    empty = pl.DataFrame(schema={"row": pl.Int32, "text": pl.String})
    given = {**SEALED, **(frames or {})}
    panes = {name.removeprefix("pane/"): given.pop(name) for name in list(given) if name.startswith("pane/")}
    return Snapshot(
        told, {"roster": roster, "table/bundles": table, "repeats": repeats, "e": empty, **given}, dict(panes)
    )


def whole(one: Snapshot) -> dict[str, pl.DataFrame]:
    """Everything in a snapshot, panes read."""
    panes = {f"pane/{n}": p if isinstance(p, pl.DataFrame) else p.read() for n, p in one.panes.items()}
    return {**one.frames, **panes}


def assert_same(found: Snapshot | None, stored: Snapshot) -> None:
    assert found is not None
    assert found.manifest == stored.manifest
    read, expected = whole(found), whole(stored)
    assert read.keys() == expected.keys()
    for name, frame in expected.items():
        assert_frame_equal(read[name], frame)


def cursor_of(found: Snapshot | None) -> int | None:
    return None if found is None else int(found.manifest["cursor"])


def shard(folder: Path) -> Path:
    return folder / "shard-00003"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in shard(folder).iterdir())


def test_what_is_stored_is_what_is_found(tmp_path: Path) -> None:
    stored = snapshot(7)
    FolderStore(tmp_path, 8).save(3, stored)
    assert_same(FolderStore(tmp_path, 8).newest(3, FAR), stored)


def test_a_shard_without_a_snapshot_has_none(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "not there yet", 8)
    assert store.newest(3, FAR) is None
    assert store.is_empty()
    store.save(3, snapshot(0))
    assert not store.is_empty()
    assert store.newest(2, FAR) is None


@pytest.mark.parametrize(("not_after", "expected"), [(4, None), (5, 5), (8, 5), (9, 9), (FAR, 20)])
def test_the_newest_is_not_ahead_of_the_cursor(tmp_path: Path, not_after: int, expected: int | None) -> None:
    store = FolderStore(tmp_path, 8, keep=3)
    for cursor in (5, 9, 20):
        store.save(3, snapshot(cursor))
    assert cursor_of(store.newest(3, not_after)) == expected


def test_of_two_of_one_cursor_the_later_is_the_newest(tmp_path: Path) -> None:
    store = FolderStore(tmp_path, 8)
    store.save(3, snapshot(5))
    later = snapshot(5, {"extra": pl.DataFrame({"x": [1]})})
    store.save(3, later)
    assert_same(store.newest(3, 5), later)


@pytest.mark.parametrize("full", [False, True])
def test_wherever_the_storing_breaks_off_a_whole_snapshot_is_there(tmp_path: Path, full: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Every change to the disk is the last one once; the one before or the new one is found, never anything else."""
    fault = OSError if full else PowerCut
    before, after = snapshot(5), snapshot(9, {"pane/15802": pl.DataFrame({"row": [4], "voice": [4]})})
    finished, steps = False, 0
    outcomes = set()
    while not finished:
        folder = tmp_path / str(steps)
        FolderStore(folder, 8, keep=1).save(3, before)
        try:
            FolderStore(folder, 8, keep=1, disk=FailingDisk(steps, full=full)).save(3, after)
            # A disk that is full while old ones are removed does not undo the new one.
            finished = steps > 50 if full else True
        except fault:
            pass
        found = FolderStore(folder, 8, keep=1).newest(3, FAR)
        assert_same(found, before if cursor_of(found) == 5 else after)
        outcomes.add(cursor_of(found))
        # Whoever comes next stores as ever, and what was left half done is gone.
        last = snapshot(11)
        FolderStore(folder, 8, keep=1).save(3, last)
        assert_same(FolderStore(folder, 8).newest(3, FAR), last)
        assert names(folder) == [f"{11:020d}.000001", "panes"]
        assert not [path for path in folder.rglob("*") if "unfinished" in path.name]
        steps += 1
    assert outcomes == {5, 9}
    assert steps >= 15


def flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize("harm", [flip, lambda data: data[:-1], lambda _: b""], ids=["bit", "cut", "empty"])
def test_damage_to_any_file_is_noticed_and_the_one_before_is_used(
    tmp_path: Path, harm: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    store = FolderStore(tmp_path, 8)
    store.save(3, snapshot(5))
    store.save(3, snapshot(9, {"pane/15802": pl.DataFrame({"row": [4]})}))
    new = shard(tmp_path) / f"{9:020d}.000001"
    files = list(new.iterdir())
    assert len(files) == 5
    for file in files:
        whole = file.read_bytes()
        file.write_bytes(harm(whole))
        with caplog.at_level(logging.WARNING):
            assert cursor_of(FolderStore(tmp_path, 8).newest(3, FAR)) == 5
        assert "is passed over" in caplog.messages[-1]
        file.unlink()
        assert cursor_of(FolderStore(tmp_path, 8).newest(3, FAR)) == 5
        file.write_bytes(whole)
    assert cursor_of(FolderStore(tmp_path, 8).newest(3, FAR)) == 9


@pytest.mark.parametrize("harm", [flip, lambda data: data[:-1], lambda _: b""], ids=["bit", "cut", "empty"])
def test_a_damaged_pane_is_noticed_when_it_is_read_and_costs_no_other(
    tmp_path: Path, harm: Callable[[bytes], bytes]
) -> None:
    FolderStore(tmp_path, 8).save(3, snapshot(5))
    (file,) = (shard(tmp_path) / "panes").glob("15800-*")
    file.write_bytes(harm(file.read_bytes()))
    found = FolderStore(tmp_path, 8).newest(3, FAR)
    assert found is not None
    damaged, sound = found.panes["15800"], found.panes["15801"]
    assert not isinstance(damaged, pl.DataFrame)
    assert not isinstance(sound, pl.DataFrame)
    with pytest.raises(DamagedError, match=r"panes/15800-.* is damaged"):
        damaged.read()
    assert_frame_equal(sound.read(), SEALED["pane/15801"])


def test_one_of_another_format_or_partition_count_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    FolderStore(tmp_path, 8).save(3, snapshot(5))
    assert FolderStore(tmp_path, 16).newest(3, FAR) is None
    assert "it is of partition 3 of 8, not 3 of 16" in caplog.text
    manifest = shard(tmp_path) / f"{5:020d}.000001" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format": 99}))
    assert FolderStore(tmp_path, 8).newest(3, FAR) is None
    assert "it has format 99, this release reads 1" in caplog.text


def test_a_folder_moved_to_another_shard_or_cursor_is_passed_over(tmp_path: Path) -> None:
    store = FolderStore(tmp_path, 8)
    store.save(3, snapshot(5))
    shard(tmp_path).rename(tmp_path / "shard-00004")
    assert store.newest(4, FAR) is None
    (tmp_path / "shard-00004").rename(shard(tmp_path))
    (shard(tmp_path) / f"{5:020d}.000001").rename(shard(tmp_path) / f"{2:020d}.000001")
    assert store.newest(3, FAR) is None


def test_only_so_many_are_kept_and_the_panes_they_name(tmp_path: Path) -> None:
    store = FolderStore(tmp_path, 8, keep=2)
    for cursor in (1, 2, 3, 4):
        store.save(3, snapshot(cursor, {f"pane/{15900 + cursor}": pl.DataFrame({"row": [cursor]})}))
    assert [name for name in names(tmp_path) if name != "panes"] == [f"{n:020d}.000001" for n in (3, 4)]
    assert [path.name[:5] for path in sorted((shard(tmp_path) / "panes").iterdir())] == [
        "15800", "15801", "15903", "15904",
    ]  # fmt: skip


def test_a_damaged_one_does_not_push_out_a_good_one(tmp_path: Path) -> None:
    store = FolderStore(tmp_path, 8, keep=2)
    store.save(3, snapshot(1))
    store.save(3, snapshot(2))
    (shard(tmp_path) / f"{2:020d}.000001" / "manifest.json").write_bytes(b"{")
    store.save(3, snapshot(3))
    assert cursor_of(store.newest(3, 2)) == 1


def test_a_writer_that_lost_its_shard_removes_nothing(tmp_path: Path) -> None:
    ours, theirs = FolderStore(tmp_path, 8, keep=1), FolderStore(tmp_path, 8, keep=1)
    ours.save(3, snapshot(5, epoch=1))
    theirs.save(3, snapshot(7, epoch=2))
    ours.save(3, snapshot(9, epoch=1))
    assert [name for name in names(tmp_path) if name != "panes"] == [f"{n:020d}.000001" for n in (7, 9)]


def test_history_is_written_once(tmp_path: Path) -> None:
    disk = WatchedDisk()
    store = FolderStore(tmp_path, 8, disk=disk)
    store.save(3, snapshot(5))
    assert sum("15800" in name for name in disk.written) == 1
    store.save(3, snapshot(6))
    # Neither by the same process, nor by the one after a restart, nor from frames of equal content.
    again = FolderStore(tmp_path, 8, disk=disk)
    found = again.newest(3, FAR)
    assert found is not None
    again.save(3, Snapshot({"cursor": 7}, found.frames))
    pieces = [SEALED["pane/15800"].slice(n, 1) for n in range(2)]
    FolderStore(tmp_path, 8, disk=disk).save(3, snapshot(8, {"pane/15800": pl.concat(pieces, rechunk=False)}))
    assert sum("15800" in name for name in disk.written) == 1
    assert_same(FolderStore(tmp_path, 8).newest(3, FAR), snapshot(8))


def test_a_damaged_pane_is_written_anew(tmp_path: Path) -> None:
    FolderStore(tmp_path, 8).save(3, snapshot(5))
    (pane,) = (shard(tmp_path) / "panes").glob("15800-*")
    pane.write_bytes(b"rot")
    FolderStore(tmp_path, 8).save(3, snapshot(6))
    assert cursor_of(FolderStore(tmp_path, 8).newest(3, FAR)) == 6


def test_analysts_read_it_as_it_is(tmp_path: Path) -> None:
    FolderStore(tmp_path, 8).save(3, snapshot(5))
    with duckdb.connect() as db:
        panes = db.read_parquet(f"{tmp_path}/*/panes/*.parquet")
        assert panes.sum("voice").fetchall() == [(15800 + 15801 + 4,)]
        roster = db.read_parquet(f"{tmp_path}/*/*/*-roster.parquet")
        assert roster.order("subscriber_id").fetchall() == [("5",), ("a",), ("日本",)]
