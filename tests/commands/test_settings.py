"""The command `settings` tells every setting whole, however narrow the terminal, and typed as JSON."""

import json

import pytest
from typer.testing import CliRunner

from service.__main__ import app
from service.settings import entries


def told(*words: str) -> str:
    found = CliRunner().invoke(app, ["settings", *words])
    assert found.exit_code == 0, found.output
    return found.stdout


def test_piped_each_setting_is_one_line_with_its_name_value_and_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("CHURN_HTTP__PORT", "9000")
    lines = told().splitlines()
    assert [line.partition("=")[0] for line in lines] == [entry.variable for entry in entries()]
    assert "CHURN_HTTP__PORT=9000  # Port to listen on; 0 for any free one (default: 8080)" in lines
    assert "CHURN_TIME__ZONE=UTC  # Time zone whose calendar days count" in lines


def test_as_json_values_keep_their_types(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_TIME__WINDOWS_DAYS", "1,30")
    monkeypatch.setenv("CHURN_LOG__ID_KEY", "secret")
    answer = json.loads(told("--json").splitlines()[-1])
    assert answer["CHURN_HTTP__PORT"] == {
        "value": 8080,
        "default": 8080,
        "meaning": "Port to listen on; 0 for any free one",
    }
    assert answer["CHURN_TIME__WINDOWS_DAYS"]["value"] == [1, 30]
    assert answer["CHURN_TIME__WINDOWS_DAYS"]["default"] == [1, 7, 14, 30, 60, 90]
    assert answer["CHURN_RULES__FOLDER"]["value"] == "rules"
    assert answer["CHURN_KAFKA__SASL_USERNAME"]["value"] is None
    assert answer["CHURN_KAFKA__CHECK_CRCS"]["value"] is True
    assert answer["CHURN_LOG__ID_KEY"]["value"] == "********"
