"""The command `replay` says beforehand what a person would else find out from days that do not close."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.__main__ import app


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Two days of events, and settings that name no broker: what is said is said before one is asked."""
    monkeypatch.setenv("CHURN_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("CHURN_TIME__CLOCK", "log")
    event = {"type": "usage.data", "subscriber_id": "a", "bytes": 1}
    lines = [event | {"id": str(day), "occurred_at": f"2025-01-0{day}T12:00:00Z"} for day in (3, 4)]
    path = tmp_path / "events.ndjson"
    path.write_text("\n".join(map(json.dumps, lines)))
    return str(path)


def said(*words: str) -> list[str]:
    found = CliRunner().invoke(app, ["replay", *words])
    assert found.exit_code == 2
    return [line for line in found.stderr.splitlines() if "No Kafka broker" not in line]


def test_a_day_to_close_up_to_and_no_close_exclude_each_other(file: str) -> None:
    assert said(file, "--no-close", "--through", "2025-01-04") == [
        "--through and --no-close exclude each other: a day to close up to, or none"
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), []),
        (("--through", "2025-01-03"), []),
        (
            ("--through", "2025-01-02"),
            ["--through 2025-01-02 lies before the file's first event of 2025-01-03: no day of it is closed."],
        ),
        (
            ("--through", "2025-02-01"),
            ["The file's last event is of 2025-01-04: until 2025-02-01 everybody counts as silent."],
        ),
    ],
)
def test_a_day_outside_the_file_is_noted(file: str, words: tuple[str, ...], told: list[str]) -> None:
    assert said(file, *words) == told


def test_an_old_file_under_the_wall_clock_is_noted(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_TIME__CLOCK", "wall")
    [told] = said(file)
    assert "under CHURN_TIME__CLOCK=wall all of it comes too late" in told
