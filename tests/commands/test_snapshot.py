"""The commands over snapshots tell what is there, name what is damaged, and remove only what may go."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from service.__main__ import app
from service.ports import Snapshot
from service.store.files import Files
from tests.store.stored import AT, flip, pane, paths, snapshot, store_at


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder with three snapshots of one shard and one of another, which the settings name."""
    folder = str(tmp_path / "store")
    monkeypatch.setenv("CHURN_SNAPSHOTS__FOLDER", folder)
    monkeypatch.setenv("CHURN_TOPICS__PARTITIONS", "8")
    store = store_at(folder, tmp_path)
    for cursor in (5, 9, 20):
        store.save(AT, snapshot(cursor, {f"{15900 + cursor}.0": pane(cursor)}, closed_day=15800))
    store.save(6, snapshot(1))
    return folder


def asked(*words: str) -> Result:
    return CliRunner().invoke(app, ["snapshot", *words])


def answer(*words: str, status: int = 0) -> dict[str, Any]:
    found = asked(*words, "--json")
    assert found.exit_code == status, found.output
    told = json.loads(found.stdout.splitlines()[-1])
    assert isinstance(told, dict)
    return told


def test_what_is_of_another_zone_is_whole_all_the_same(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store_at(place, Path(place)).save(7, Snapshot({"cursor": 1, "zone": "UTC"}, {}))
    monkeypatch.setenv("CHURN_TIME__ZONE", "Asia/Macau")
    assert answer("verify") == {"snapshots": 5, "damaged": []}


@pytest.mark.usefixtures("place")
def test_list_tells_what_is_there() -> None:
    listed = answer("list")["snapshots"]
    assert [(one["partition"], one["cursor"], one["day"]) for one in listed] == [
        (3, 20, "2013-04-05"),
        (3, 9, "2013-04-05"),
        (3, 5, "2013-04-05"),
        (6, 1, None),
    ]
    assert all(one["size_bytes"] > 1000 and one["age_s"] > 0 and one["trouble"] is None for one in listed)
    assert "2013-04-05" in asked("list").stdout


def test_list_tells_of_a_manifest_that_is_not_valid(place: str) -> None:
    Files(place).put(paths(place, "manifest.json")[1], b"{}")
    assert [one["trouble"] for one in answer("list")["snapshots"]] == [None, "its manifest is damaged", None, None]


def test_verify_is_content_with_what_is_whole(place: str) -> None:
    assert answer("verify") == {"snapshots": 4, "damaged": []}
    assert asked("verify").stdout == "All 4 snapshots are as they were written.\n"
    assert len(paths(place, "manifest.json")) == 3


def test_verify_names_every_damage(place: str) -> None:
    files = Files(place)
    shared, roster = paths(place, "panes/15800")[0], paths(place, "roster")[0]
    for path in (shared, roster):
        files.put(path, flip(files.get(path)))
    damaged = answer("verify", status=1)["damaged"]
    assert [one["damages"] for one in damaged] == [
        [f"{shared} is damaged"],
        [f"{shared} is damaged"],
        [f"{roster.partition('/')[2]} is damaged"],
    ]
    assert f"{shared} is damaged" in asked("verify").stdout


def test_prune_keeps_so_many(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert answer("prune") == {"shards": 2, "files_removed": 0}
    monkeypatch.setenv("CHURN_SNAPSHOTS__KEEP", "1")
    assert answer("prune")["files_removed"] == 12
    assert [one["cursor"] for one in answer("list")["snapshots"]] == [20, 1]
    assert answer("verify") == {"snapshots": 2, "damaged": []}
    assert len(paths(place, "panes/")) == 3


def test_reshard_fills_another_place_and_says_what_it_does_not_carry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHURN_SNAPSHOTS__FOLDER", str(tmp_path / "old"))
    monkeypatch.setenv("CHURN_TOPICS__PARTITIONS", "2")
    for partition, ids in enumerate((["a", "b"], ["c"])):
        told = {"cursor": 7, "closed_day": 15800, "watermark_us": 1, "zone": "UTC"}
        frames = {"roster": pl.DataFrame({"subscriber_id": ids})}
        store_at(str(tmp_path / "old"), tmp_path, partitions=2).save(partition, Snapshot(told, frames))
    to = str(tmp_path / "new")
    first = asked("reshard", "--partitions", "1", "--to", to)
    assert first.exit_code == 0
    assert "3 subscribers are in snapshots of 1 of 1 shards" in first.stdout
    assert "open warnings, acknowledgements and contacts are not" in first.stdout
    again = asked("reshard", "--partitions", "1", "--to", to)
    assert (again.exit_code, again.stderr.splitlines()) == (
        2,
        ["there are snapshots at the target already: name a folder or a URL that is empty"],
    )
    monkeypatch.setenv("CHURN_SNAPSHOTS__FOLDER", to)
    monkeypatch.setenv("CHURN_TOPICS__PARTITIONS", "1")
    assert [(one["cursor"], one["trouble"]) for one in answer("list")["snapshots"]] == [(0, None)]


def test_a_place_that_cannot_be_asked_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_SNAPSHOTS__FOLDER", "foo://x")
    for command in ("list", "verify", "prune"):
        found = asked(command)
        assert found.exit_code == 2
        assert "CHURN_SNAPSHOTS__FOLDER is 'foo://x', which cannot be asked (Generic URL error" in found.stderr


@pytest.mark.parametrize("command", ["list", "verify", "prune", "reshard"])
def test_help_has_an_example(command: str) -> None:
    assert f"churn-warning snapshot {command}" in asked(command, "--help").stdout
