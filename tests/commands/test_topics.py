"""The command `topics create` makes what is missing, and says what is there and does not fit."""

import json

import pytest
from typer.testing import CliRunner, Result

from service.__main__ import app


def created(*words: str) -> Result:
    return CliRunner().invoke(app, ["topics", "create", *words])


def test_topics_that_do_not_fit_are_named_with_status_1(
    kafka_bootstrap: str, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHURN_KAFKA__BOOTSTRAP_SERVERS", kafka_bootstrap)
    monkeypatch.setenv("CHURN_TOPICS__PREFIX", f"{unique}.")
    monkeypatch.setenv("CHURN_TOPICS__PARTITIONS", "2")
    first, again = created("--json"), created()
    assert (first.exit_code, json.loads(first.stdout)["problems"]) == (0, [])
    assert (again.exit_code, again.stdout) == (0, "All topics are there, as they must be.\n")
    monkeypatch.setenv("CHURN_TOPICS__PARTITIONS", "3")
    unfit = created()
    assert unfit.exit_code == 1
    assert f"{unique}.usage.events, " in unfit.stdout
    assert "have 2 partitions, not 3 (CHURN_TOPICS__PARTITIONS)" in unfit.stdout
    assert "All topics are there" not in unfit.stdout
