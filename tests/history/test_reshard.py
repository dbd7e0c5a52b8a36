"""Shards of another partition count go on as if there had never been any other."""

from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from service.core.calendar import to_day
from service.core.measures import MEASURES, PANE
from service.core.record import describe
from service.core.state import Config, State
from service.core.step import close_through
from service.history.bootstrap import Known, NotEmptyError, bootstrap
from service.history.files import Source
from service.history.past import NO_RULES, Lot
from service.history.reshard import ReshardError, reshard
from service.history.windows import windows_of
from service.ports import Snapshot
from service.rulebook.mapping import load_mapping
from service.store.files import Files
from service.store.store import Store
from service.wire.decode import Intake
from service.wire.partitioning import partition_of
from tests.history.stores import restored, store_in
from tests.history.test_bootstrap import RULES, months

CONFIG = Config()


def loaded(folder: Path, shards: int) -> Store:
    """A month of 30 subscribers with profiles, as that many shards."""
    folder.mkdir(exist_ok=True)
    months(30).filter(pl.col("month") == 6).write_parquet(folder / "usage.parquet")
    people = [f"{who},{'campus' if who % 2 else 'enterprise'},area {who % 7},{who * 100}" for who in range(1, 31)]
    (folder / "people.csv").write_text("\n".join(["subscriber_id,market,area,fee_minor", *people]))
    known = Known(Source(folder / "usage.parquet", load_mapping(RULES, "prepaid_monthly")), folder / "people.csv")
    store = store_in(folder / f"of {shards}", shards)
    bootstrap(known, store, Lot(CONFIG, intake=Intake(shards)))
    return store


def records(state: State) -> dict[str, Any]:
    """Everybody's, but for how far the shard's own events have come."""
    told = {who: describe(state, NO_RULES, who, state.episodes.frame) for who in state.roster.strings.to_list()}
    return {who: {**(record or {}), "as_of": None} for who, record in told.items()}


def counted(state: State) -> list[tuple[str, int, int, int]]:
    """Of every event that would be a repeat the subscriber, its day, its horizon and its hash."""
    offered = state.repeats.offer(to_day(date.max))
    frames = [state.repeats.frame()]
    for name, piece in offered.items():
        day, horizon, _ = map(int, name.split("."))
        frame = piece if isinstance(piece, pl.DataFrame) else piece.read()
        frames.append(
            frame.select(day=pl.lit(day, pl.Int32), horizon=pl.lit(horizon, pl.Int32), hash="hash", row="row")
        )
    told = pl.concat(frames)
    who = state.roster.take(told["row"].to_numpy()).alias("who")
    return sorted(told.select(who, "day", "horizon", "hash").rows())


@pytest.mark.parametrize(("before", "after"), [(2, 3), (3, 1)])
def test_it_is_as_if_it_had_always_been_so(tmp_path: Path, before: int, after: int) -> None:
    source, expected = loaded(tmp_path, before), loaded(tmp_path, after)
    target = store_in(tmp_path / "target", after)
    moved = dict(reshard(source, source.shards(), target, Lot(CONFIG, intake=Intake(after))))
    assert sum(moved.values()) == 30
    assert target.shards() == expected.shards() == sorted(moved)
    for partition in moved:
        ours, theirs = (restored(store, partition, CONFIG) for store in (target, expected))
        assert ours.cursor == 0
        for state in (ours, theirs):  # each shard closes days by its own events
            close_through(state, NO_RULES, to_day(date(2013, 7, 3)), "clock")
        assert all(partition_of(who.encode(), after, "murmur2") == partition for who in ours.roster.strings.to_list())
        assert_frame_equal(windows_of(ours, CONFIG.windows_days), windows_of(theirs, CONFIG.windows_days))
        assert records(ours) == records(theirs)
        assert counted(ours) == counted(theirs)


def usage(*rows: int) -> pl.DataFrame:
    return pl.DataFrame({"row": rows, **{name: [row * 10 for row in rows] for name in MEASURES}}, schema=PANE)


def shard(ids: list[str], **told: Any) -> Snapshot:
    said = {"cursor": 9, "closed_day": 15800, "watermark_us": 5, "zone": "UTC", "claims": [[1, 2]], **told}
    return Snapshot(said, {"roster": pl.DataFrame({"subscriber_id": ids})}, {"15800.0": usage(*range(len(ids)))})


def two(folder: Path, *shards: Snapshot) -> Store:
    store = store_in(folder / "source", len(shards))
    for partition, snapshot in enumerate(shards):
        store.save(partition, snapshot)
    return store


def test_history_that_lies_in_the_store_goes_along(tmp_path: Path) -> None:
    one = shard(["a", "b"], incomplete=[[30, 7]], lost_days=[7])
    source = two(tmp_path, one, shard(["c", "d"], incomplete=[[30, 9], [60, 1]], lost_days=[1, 7, 9]))
    target = store_in(tmp_path / "target", 1)
    assert dict(reshard(source, [0, 1], target, Lot(CONFIG, intake=Intake(1, "crc32")))) == {0: 4}
    found = target.newest(0, 0)
    assert found is not None
    assert found.frames["roster"]["subscriber_id"].to_list() == ["a", "b", "c", "d"]
    piece = found.pieces["15800.0"]
    assert not isinstance(piece, pl.DataFrame)
    assert piece.read().rows() == [(row, *[amount] * len(MEASURES)) for row, amount in enumerate((0, 10, 0, 10))]
    told = [found.manifest[key] for key in ("cursor", "claims", "incomplete", "lost_days")]
    assert told == [0, [], [[30, 9], [60, 1]], [1, 7, 9]]


@pytest.mark.parametrize(
    ("shards", "sentence"),
    [
        ([shard(["a"]), shard(["b"], closed_day=None)], "shard 0 has closed_day 15800 and shard 1 None: let the"),
        ([shard(["a"]), shard(["b"], zone="Asia/Macau")], "shard 0 has zone 'UTC' and shard 1 'Asia/Macau'"),
        ([shard(["a"]), shard(["b"], later="x")], "shard 0 has later None and shard 1 'x'"),
        ([shard([])], "there are no snapshots with subscribers"),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path: Path, shards: list[Snapshot], sentence: str) -> None:
    source = two(tmp_path, *shards)
    with pytest.raises(ReshardError, match=sentence):
        list(reshard(source, source.shards(), store_in(tmp_path / "target", 2), Lot(CONFIG, intake=Intake(2))))


def test_a_row_that_is_free_goes_nowhere(tmp_path: Path) -> None:
    free = pl.DataFrame({"subscriber_id": ["a", None, "b"]}, schema={"subscriber_id": pl.String})
    told = shard(["a", "", "b"])
    source = two(tmp_path, Snapshot(told.manifest, {"roster": free}, told.pieces))
    target = store_in(tmp_path / "target", 1)
    assert dict(reshard(source, [0], target, Lot(CONFIG, intake=Intake(1)))) == {0: 2}
    found = target.newest(0, 0)
    assert found is not None
    assert found.frames["roster"]["subscriber_id"].to_list() == ["a", "b"]
    piece = found.pieces["15800.0"]
    assert not isinstance(piece, pl.DataFrame)
    assert piece.read()["data"].to_list() == [0, 20]


@pytest.mark.parametrize("running", [0, 1])
def test_a_shard_that_has_run_and_one_that_was_only_loaded_fit(tmp_path: Path, running: int) -> None:
    ran = {"rulebook": "of the one that ran"}
    told = [ran if partition == running else {} for partition in range(2)]
    shards = [shard(["a", "b"], held_bytes=800, **told[0]), shard(["c"], held_bytes=50, **told[1])]
    source, target = two(tmp_path, *shards), store_in(tmp_path / "target", 1)
    assert dict(reshard(source, [0, 1], target, Lot(CONFIG, intake=Intake(1)))) == {0: 3}
    assert target.held_bytes(0) == 850
    found = target.newest(0, 0)
    assert found is not None
    assert "rulebook" not in found.manifest


def test_a_shard_that_cannot_be_read_is_not_left_out(tmp_path: Path) -> None:
    source = two(tmp_path, shard(["a"]), shard(["b"]))
    files = Files(str(tmp_path / "source"))
    files.delete([file.path for file in files.list("shard-00001") if "roster" in file.path])
    with pytest.raises(ReshardError, match="shard 1 has no usable snapshot"):
        list(reshard(source, source.shards(), store_in(tmp_path / "target", 2), Lot(CONFIG, intake=Intake(2))))


def test_a_target_in_use_is_left_alone(tmp_path: Path) -> None:
    source = two(tmp_path, shard(["a"]))
    with pytest.raises(NotEmptyError, match="there are snapshots at the target already"):
        list(reshard(source, [0], source, Lot(CONFIG, intake=Intake(2))))
    with pytest.raises(ReshardError, match="set murmur2 or crc32"):
        list(reshard(source, [0], store_in(tmp_path / "target", 2), Lot(CONFIG, intake=Intake(2, "any"))))
