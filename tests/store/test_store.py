"""A snapshot is there whole or not at all, verified when read, history written once: in a folder and on S3 alike."""

import contextlib
import json
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest
from moto.server import ThreadedMotoServer

from service.core.panes import DamagedError
from service.ports import Piece, Snapshot
from service.store.files import Files
from service.store.pieces import StoredPane
from tests.doubles.files import FailingFiles, PowerCut, WatchedFiles
from tests.store.stored import (
    AT,
    FAR,
    PANES,
    assert_same,
    cursor_of,
    cursors,
    flip,
    pane,
    paths,
    read,
    snapshot,
    store_at,
)


def test_what_is_stored_is_what_is_found(place: str, tmp_path: Path) -> None:
    stored = snapshot(7)
    kept = store_at(place, tmp_path).save(AT, stored)
    assert {name: piece.entry.rows for name, piece in kept.items()} == {"15800.0": 2, "15801.0": 3}
    assert_same(store_at(place, tmp_path).newest(AT, FAR), stored)


def test_a_shard_without_a_snapshot_has_none(place: str, tmp_path: Path) -> None:
    store = store_at(place, tmp_path)
    assert store.newest(AT, FAR) is None
    assert store.is_empty()
    store.save(AT, snapshot(0))
    assert not store.is_empty()
    assert store.newest(2, FAR) is None
    assert store.shards() == [AT]


@pytest.mark.parametrize(("not_after", "expected"), [(4, None), (5, 5), (8, 5), (9, 9), (FAR, 20)])
def test_the_newest_is_not_ahead_of_the_cursor(
    place: str, tmp_path: Path, not_after: int, expected: int | None
) -> None:
    store = store_at(place, tmp_path)
    for cursor in (5, 9, 20):
        store.save(AT, snapshot(cursor))
    assert cursor_of(store.newest(AT, not_after)) == expected


def test_of_two_of_one_cursor_the_later_is_the_newest(place: str, tmp_path: Path) -> None:
    store = store_at(place, tmp_path)
    store.save(AT, snapshot(5))
    later = snapshot(5, {"15802.0": pane(4)})
    store.save(AT, later)
    assert_same(store.newest(AT, 5), later)


@pytest.mark.parametrize("full", [False, True])
def test_wherever_the_storing_breaks_off_a_whole_snapshot_is_there(place: str, tmp_path: Path, *, full: bool) -> None:
    """Every change is the last one once; the one before or the new one is found, never anything else."""
    before, after = snapshot(5), snapshot(9, {"15802.0": pane(4)})
    finished, changes, outcomes = False, 0, set()
    while not finished:
        here = f"{place}/{changes}"
        store_at(here, tmp_path, keep=1).save(AT, before)
        breaking = FailingFiles(here, changes, full=full)
        with contextlib.suppress(OSError, PowerCut):
            store_at(here, tmp_path, breaking, keep=1).save(AT, after)
        finished = not breaking.broke
        found = store_at(here, tmp_path, keep=1).newest(AT, FAR)
        assert_same(found, before if cursor_of(found) == 5 else after)
        outcomes.add(cursor_of(found))
        # Whoever comes next stores as ever, and what was left half done is gone.
        last = snapshot(11)
        store_at(here, tmp_path, keep=1).save(AT, last)
        assert_same(store_at(here, tmp_path).newest(AT, FAR), last)
        assert cursors(here) == [11]
        assert len({path.split("/")[1] for path in paths(here)}) == 2
        changes += 1
    assert outcomes == {5, 9}
    assert changes > 10


def test_a_store_that_is_away_is_not_an_empty_one(
    tmp_path: Path, s3_place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = store_at(s3_place, tmp_path).save(AT, snapshot(5))
    gone = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    gone.start()
    host, port = gone.get_host_and_port()
    gone.stop()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    away = store_at(s3_place, tmp_path)
    for asking in (lambda: away.save(AT, snapshot(9)), lambda: away.newest(AT, FAR), away.is_empty):
        with pytest.raises(OSError, match=r"^Generic S3 error: "):
            asking()
    # What lookups have at hand they still answer, and what closes need is read from the same copy.
    handle = kept["15801.0"]
    assert isinstance(handle, StoredPane)
    cut_off = StoredPane(Files(s3_place), away._copies, handle.path, handle.entry)
    assert cut_off.read().equals(read(PANES["15801.0"]))
    assert cut_off.line_of(9) == read(PANES["15801.0"]).filter(pl.col("row") == 9).row(0)
    uncached = StoredPane(Files(s3_place), store_at(s3_place, tmp_path / "x")._copies, handle.path, handle.entry)
    with pytest.raises(OSError, match="Generic S3 error"):
        uncached.read()
    with pytest.raises(DamagedError, match=r"15801-0-\w+.parquet cannot be read just now: Generic S3 error"):
        uncached.line_of(9)


HARMS = pytest.mark.parametrize(
    "harm", [flip, lambda data: data[:-1], lambda _: b"", None], ids=["bit", "cut", "empty", "missing"]
)


def harmed(place: str, path: str, harm: Callable[[bytes], bytes] | None) -> None:
    files = Files(place)
    if harm is None:
        files.delete([path])
    else:
        files.put(path, harm(files.get(path)))


@HARMS
def test_damage_to_any_frame_is_noticed_and_the_one_before_is_used(
    place: str, tmp_path: Path, harm: Callable[[bytes], bytes] | None, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_at(place, tmp_path)
    store.save(AT, snapshot(5))
    store.save(AT, snapshot(9))
    damaged = [path for path in paths(place, f"{9:020d}") if harm is not None or "manifest" not in path]
    for path in damaged:
        whole = Files(place).get(path)
        harmed(place, path, harm)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert cursor_of(store_at(place, tmp_path).newest(AT, FAR)) == 5
        (sentence,) = caplog.messages
        assert sentence.endswith(("is damaged", "is missing"))
        Files(place).put(path, whole)
    assert len(damaged) >= 4
    assert cursor_of(store_at(place, tmp_path).newest(AT, FAR)) == 9


@HARMS
def test_damage_to_a_pane_is_told_when_it_is_read_and_harms_no_other(
    place: str, tmp_path: Path, harm: Callable[[bytes], bytes] | None
) -> None:
    store_at(place, tmp_path).save(AT, snapshot(5))
    (path,) = paths(place, "panes/15800")
    harmed(place, path, harm)
    found = store_at(place, tmp_path / "another machine").newest(AT, FAR)
    assert found is not None
    for ask in (read, lambda piece: piece.line_of(2)):
        with pytest.raises(DamagedError, match=rf"^{path} is {'missing' if harm is None else 'damaged'}$"):
            ask(found.pieces["15800.0"])
    assert read(found.pieces["15801.0"]).equals(read(PANES["15801.0"]))


def test_a_place_that_holds_nothing_any_more_is_away_and_not_damaged(place: str, tmp_path: Path) -> None:
    store_at(place, tmp_path).save(AT, snapshot(5))
    store = store_at(place, tmp_path / "another machine")
    found = store.newest(AT, FAR)
    assert found is not None
    Files(place).delete(paths(place))
    asking: list[Callable[[], object]] = [partial(read, piece) for piece in found.pieces.values()]
    asking += [lambda: store.newest(AT, FAR), lambda: store.save(AT, Snapshot(found.manifest, found.frames))]
    for ask in asking:
        with pytest.raises(OSError, match="holds nothing of shard-00003: it may not be mounted"):
            ask()
    assert not paths(place)
    assert store.newest(2, FAR) is None


def test_one_of_another_format_partition_count_or_zone_is_passed_over(
    place: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_at(place, tmp_path)
    store.save(AT, snapshot(5))
    store.save(AT, snapshot(9, zone="Asia/Shanghai"))
    assert cursor_of(store.newest(AT, FAR)) == 5
    assert "its zone is Asia/Shanghai, that of the settings UTC" in caplog.text
    assert store_at(place, tmp_path, partitions=16).newest(AT, FAR) is None
    assert "it is of partition 3 of 8, not 3 of 16" in caplog.text
    (manifest,) = paths(
        place,
        f"{9:020d}.000001-",
    )[-1:]
    told = json.loads(Files(place).get(manifest)) | {"format": 99}
    Files(place).put(manifest, json.dumps(told).encode())
    assert cursor_of(store.newest(AT, FAR)) == 5
    assert "it has format 99, this release reads 4" in caplog.text


def test_a_folder_moved_to_another_shard_or_cursor_is_passed_over(tmp_path: Path) -> None:
    place = tmp_path / "store"
    store = store_at(str(place), tmp_path)
    store.save(AT, snapshot(5))
    (place / "shard-00003").rename(place / "shard-00004")
    assert store.newest(4, FAR) is None
    (place / "shard-00004").rename(place / "shard-00003")
    (name,) = store.names(AT)
    (place / "shard-00003" / name).rename(place / "shard-00003" / name.replace("5", "2", 1))
    assert store.newest(AT, FAR) is None


def test_only_so_many_are_kept_and_the_panes_they_name(place: str, tmp_path: Path) -> None:
    store = store_at(place, tmp_path, keep=2)
    for cursor in (1, 2, 3, 4):
        store.save(AT, snapshot(cursor, {f"{15900 + cursor}.0": pane(cursor, seed=cursor)}))
    assert cursors(place) == [3, 4]
    named = [path.rpartition("/")[2][:7] for path in paths(place, "panes/")]
    assert named == ["15800-0", "15801-0", "15903-0", "15904-0"]
    assert sorted(path.name[:7] for path in (tmp_path / "lines" / "shard-00003").iterdir()) == named


def test_a_damaged_one_does_not_push_out_a_good_one(place: str, tmp_path: Path) -> None:
    store = store_at(place, tmp_path, keep=2)
    store.save(AT, snapshot(1))
    store.save(AT, snapshot(2))
    Files(place).put(paths(place, "manifest.json")[-1], b"{")
    store.save(AT, snapshot(3))
    assert cursor_of(store.newest(AT, 2)) == 1


def test_a_writer_that_lost_its_shard_removes_nothing(place: str, tmp_path: Path) -> None:
    ours, theirs = store_at(place, tmp_path, keep=1), store_at(place, tmp_path, keep=1)
    ours.save(AT, snapshot(5, writer_epoch=1))
    theirs.save(AT, snapshot(7, writer_epoch=2))
    ours.save(AT, snapshot(9, writer_epoch=1))
    assert cursors(place) == [7, 9]


def test_two_that_write_at_once_do_not_mix(place: str, tmp_path: Path) -> None:
    """The other stores all of one, of the same cursor, while ours is half stored."""
    ours, theirs = snapshot(9, writer_epoch=1), snapshot(9, {"15802.0": pane(4)}, writer_epoch=2)

    class Interrupted(Files):
        def put(self, path: str, data: bytes) -> None:
            if "roster" in path:
                store_at(place, tmp_path).save(AT, theirs)
            super().put(path, data)

    store_at(place, tmp_path, Interrupted(place), keep=1).save(AT, ours)
    assert cursors(place) == [9, 9]
    for name in store_at(place, tmp_path).names(AT):
        found = store_at(place, tmp_path).load(AT, name)
        assert_same(found, ours if found.manifest["writer_epoch"] == 1 else theirs)


def test_history_is_written_once(place: str, tmp_path: Path) -> None:
    files = WatchedFiles(place)
    store = store_at(place, tmp_path, files)
    kept = store.save(AT, snapshot(5))
    assert sum("15800" in name for name in files.written) == 1
    store.save(AT, snapshot(6, dict(kept)))
    # Neither by the same process, nor by the one after a restart, nor from frames of equal content.
    again = store_at(place, tmp_path, files)
    found = again.newest(AT, FAR)
    assert found is not None
    again.save(AT, Snapshot({**found.manifest, "cursor": 7}, found.frames, found.pieces))
    whole = read(PANES["15800.0"])
    pieces = pl.concat([whole.slice(0, 1), whole.slice(1, 1)], rechunk=False)
    store_at(place, tmp_path, files).save(AT, snapshot(8, {"15800.0": pieces}))
    assert sum("15800" in name for name in files.written) == 1
    assert_same(store_at(place, tmp_path).newest(AT, FAR), snapshot(8))


def test_a_damaged_pane_is_written_anew_by_who_still_has_it(place: str, tmp_path: Path) -> None:
    store_at(place, tmp_path).save(AT, snapshot(5))
    (path,) = paths(place, "panes/15800")
    Files(place).put(path, b"rot")
    store_at(place, tmp_path).save(AT, snapshot(6))
    assert_same(store_at(place, tmp_path).newest(AT, FAR), snapshot(6))


def test_a_pane_may_be_named_otherwise_later(place: str, tmp_path: Path) -> None:
    store = store_at(place, tmp_path)
    handle = store.save(AT, snapshot(5))["15800.0"]
    store.save(AT, Snapshot({"cursor": 6, "zone": "UTC"}, {}, {"15800.4": handle}))
    found = store_at(place, tmp_path).newest(AT, FAR)
    assert found is not None
    assert read(found.pieces["15800.4"]).equals(read(PANES["15800.0"]))


def test_analysts_read_it_as_it_is(tmp_path: Path) -> None:
    rows = np.flatnonzero(np.random.default_rng(5).integers(0, 2, 40_000)).tolist()
    big = pane(*rows)
    place = tmp_path / "store"
    store_at(str(place), tmp_path).save(AT, snapshot(5, {"15700.0": big}))
    with duckdb.connect() as db:
        found = db.read_parquet(f"{place}/*/panes/15700-*.parquet")
        assert found.sum("data").fetchall() == [(big["data"].sum(),)]
        assert db.read_parquet(f"{place}/*/panes/*.parquet").count("*").fetchall() == [(len(rows) + 5,)]
        roster = db.read_parquet(f"{place}/*/*/*-roster.parquet")
        assert roster.order("subscriber_id").fetchall() == [("5",), ("a",), ("日本",)]
    (file,) = place.glob("*/panes/15700-*.parquet")
    assert pd.read_parquet(file)["data"].sum() == big["data"].sum()
    (roster_file,) = place.glob("*/*/*-roster.parquet")
    assert pd.read_parquet(roster_file)["subscriber_id"].tolist() == ["a", "日本", "5"]


def test_a_piece_of_another_store_is_taken_over(place: str, tmp_path: Path) -> None:
    class Foreign:
        rows = 1
        is_at_hand = True

        def read(self) -> pl.DataFrame:
            return pane(8)

        def line_of(self, row: int) -> tuple[int, ...] | None:
            return pane(8).row(0) if row == 8 else None

    piece: Piece = Foreign()
    store_at(place, tmp_path).save(AT, snapshot(5, {"15900.0": piece}))
    assert_same(store_at(place, tmp_path).newest(AT, FAR), snapshot(5, {"15900.0": pane(8)}))


def test_what_cannot_be_a_place_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    told: list[Any] = []
    for place in ("foo://x", str(tmp_path / "file" / "below"), "/proc/none"):
        with pytest.raises(OSError, match=r"^.+$") as raised:
            Files(place).probe()
        told.append(str(raised.value))
    assert "Unable to recognise URL" in told[0]
