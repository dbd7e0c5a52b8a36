"""The commands over files: what they loaded or made, what is odd about it, and one sentence where they refuse."""

import json
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from service.__main__ import app as program

RULES = Path(__file__).parents[2] / "rules"


@pytest.fixture
def days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two days of two subscribers, and settings that load them into a folder beside."""
    monkeypatch.setenv("CHURN_RULES__FOLDER", str(RULES))
    monkeypatch.setenv("CHURN_SNAPSHOTS__FOLDER", str(tmp_path / "snapshots"))
    lines = {"subscriber_id": ["a", "b", "a"], "day": [date(2024, 3, 1)] * 2 + [date(2024, 3, 2)], "voice": [1, 2, 3]}
    pl.DataFrame(lines).write_parquet(tmp_path / "days.parquet")
    return tmp_path / "days.parquet"


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(program, ["bootstrap", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_aggregates_are_loaded_and_counted(days: Path) -> None:
    status, told, _ = run(str(days), "--aggregates", "--json")
    answer = json.loads(told.splitlines()[-1])
    assert status == 0
    assert (answer["subscribers"], answer["lines"], answer["last_day"]) == (2, 3, "2024-03-02")
    assert run(str(days), "--aggregates")[::2] == (
        2,
        "there are snapshots already: history can only be loaded before day one, into an empty store\n",
    )


def test_what_cannot_be_is_one_sentence(days: Path) -> None:
    status, _, sentence = run(str(days), "--aggregates", "--mapping", "prepaid_monthly")
    assert (status, sentence.count("\n")) == (2, 1)
    assert "--aggregates and --mapping exclude each other" in sentence
    pl.read_parquet(days).rename({"voice": "voise"}).write_parquet(days)
    status, _, sentence = run(str(days), "--aggregates")
    assert (status, sentence) == (2, f"{days}: there is no measure voise; did you mean voice?; drop or rename it\n")


def test_a_store_that_cannot_be_asked_is_named(days: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_SNAPSHOTS__FOLDER", "foo://x")
    status, _, sentence = run(str(days), "--aggregates")
    assert (status, sentence.count("\n")) == (2, 1)
    assert "CHURN_SNAPSHOTS__FOLDER is 'foo://x', which cannot be asked (Generic URL error" in sentence


def test_a_day_beyond_the_file_is_noted(tmp_path: Path) -> None:
    event = {"id": "1", "type": "usage.sms", "subscriber_id": "a", "occurred_at": "2024-03-01T12:00:00Z", "count": 1}
    (tmp_path / "own.ndjson").write_text(json.dumps(event))
    words = ["windows", str(tmp_path / "own.ndjson"), "--out", str(tmp_path / "windows.parquet"), "--as-of"]
    within = CliRunner().invoke(program, [*words, "2024-03-01"])
    assert (within.exit_code, within.stderr) == (0, "")
    beyond = CliRunner().invoke(program, [*words, "2024-03-09", "--json"])
    assert beyond.exit_code == 0
    assert json.loads(beyond.stdout)["last_day"] == "2024-03-01"
    assert beyond.stderr == "The file's last event is of 2024-03-01: until 2024-03-09 everybody counts as silent.\n"
