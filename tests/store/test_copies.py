"""One row of a piece is found in its local copy, which is made again at need, on a folder and on S3 alike."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from service.core.panes import DamagedError
from service.ports import Piece
from service.store.files import Files
from service.store.pieces import StoredPane, StoredRun
from tests.store.stored import AT, FAR, PANES, assert_same, flip, pane, paths, read, run, snapshot, store_at

ROWS = np.flatnonzero(np.random.default_rng(5).integers(0, 2, 40_000)).tolist()


def spoil(copy: Path, harm: str | None, size: int) -> None:
    match harm:
        case "missing":
            copy.unlink()
        case "cut":
            copy.write_bytes(copy.read_bytes()[:-9])
        case "empty":
            copy.write_bytes(b"")
        case "foreign":
            np.save(copy, np.zeros(size))


@pytest.mark.parametrize("harm", [None, "missing", "cut", "empty", "foreign"])
def test_one_row_of_a_pane_is_the_row_of_all_of_it(place: str, tmp_path: Path, harm: str | None) -> None:
    """Whatever becomes of the local copy, which is only a copy."""
    big = pane(*ROWS)
    store_at(place, tmp_path).save(AT, snapshot(5, {"15700.0": big}))
    (copy,) = (tmp_path / "lines").glob("*/15700*")
    spoil(copy, harm, len(ROWS))
    found = store_at(place, tmp_path).newest(AT, FAR)
    assert found is not None
    piece = found.pieces["15700.0"]
    assert isinstance(piece, StoredPane)
    for row in (*ROWS[:3], *ROWS[-3:], ROWS[20_000 // 2]):
        assert piece.line_of(row) == big.filter(pl.col("row") == row).row(0)
    for row in (-1, 40_000, *sorted(set(range(100)) - set(ROWS))):
        assert piece.line_of(row) is None
    assert piece.rows == len(ROWS)
    assert copy.stat().st_size > len(ROWS)


def test_lookups_work_without_room_for_a_copy(place: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "lines").write_text("in the way")
    kept = store_at(place, tmp_path).save(AT, snapshot(5))["15801.0"]
    assert isinstance(kept, StoredPane)
    assert kept.line_of(9) == read(PANES["15801.0"]).row(-1)
    assert "Looking into shard-00003/panes/15801-0-" in caplog.text


HASHES = (3, 2**40, 2**63 + 1, 2**64 - 1)
RUNS: dict[str, Piece] = {"repeats/15790.7.0": run(*HASHES), "repeats/15790.35.0": run(5)}


@pytest.mark.parametrize("harm", [None, "missing", "cut", "empty", "foreign"])
def test_repeats_are_mapped_from_a_copy_that_is_made_again(place: str, tmp_path: Path, harm: str | None) -> None:
    store_at(place, tmp_path).save(AT, snapshot(5, RUNS))
    (copy,) = (tmp_path / "lines").glob("*/15790-7*")
    spoil(copy, harm, len(HASHES))
    found = store_at(place, tmp_path).newest(AT, FAR)
    assert_same(found, snapshot(5, RUNS))
    assert found is not None
    piece = found.pieces["repeats/15790.7.0"]
    assert isinstance(piece, StoredRun)
    for _ in range(2):
        hashes, rows = piece.run()
        assert (hashes.dtype.name, hashes.tolist()) == ("uint64", list(HASHES))
        assert (rows.dtype.name, rows.tolist()) == ("int32", list(range(len(HASHES))))
        assert hashes.flags.c_contiguous, "or each search would copy all of it"
        assert not hashes.flags.owndata
    assert copy.stat().st_size >= 12 * len(HASHES)


def test_damaged_repeats_are_told_when_they_are_asked(place: str, tmp_path: Path) -> None:
    store_at(place, tmp_path).save(AT, snapshot(5, RUNS))
    (path,) = paths(place, "repeats/15790-7")
    Files(place).put(path, flip(Files(place).get(path)))
    found = store_at(place, tmp_path / "another machine").newest(AT, FAR)
    assert found is not None
    piece = found.pieces["repeats/15790.7.0"]
    assert isinstance(piece, StoredRun)
    for ask in (piece.run, piece.read):
        with pytest.raises(DamagedError, match=rf"^{path} is damaged$"):
            ask()


def test_repeats_that_no_snapshot_names_are_removed(place: str, tmp_path: Path) -> None:
    store = store_at(place, tmp_path, keep=1)
    store.save(AT, snapshot(5, RUNS))
    store.save(AT, snapshot(6))
    assert paths(place, "repeats/") == []
    assert list((tmp_path / "lines").glob("*/15790*")) == []
