"""The command `rules signals` lists what rules may name, and finds what was meant."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from service.__main__ import app
from service.core.signals import catalogue


def listed(*words: str) -> Result:
    return CliRunner().invoke(app, ["rules", "signals", *words])


def answer(*words: str) -> dict[str, Any]:
    found = listed(*words, "--json")
    assert found.exit_code == 0
    told: dict[str, Any] = json.loads(found.stdout.splitlines()[-1])["signals"]
    return told


def test_all_signals_are_listed_with_what_they_are() -> None:
    told = answer()
    assert [name for name, one in told.items() if "expression" not in one] == list(catalogue())
    assert told["spend_30d_drop"] == {
        "topic": "usage by window",
        "type": "number",
        "unit": "ratio",
        "meaning": "how far spend_30d fell below spend_30d_baseline",
        "null_when": "there is no positive baseline",
        "among": None,
        "least": None,
        "most": 1,
    }
    assert told["unlinked_reason"]["among"] == ["cancelled", "lapsed", "replaced"]
    assert told["status"]["null_when"] is None


def test_people_see_one_window_for_all_and_each_topic_once() -> None:
    lines = listed().stdout.splitlines()
    assert lines[0] == "Usage by window (the same for 1d, 7d, 14d, 60d, 90d)"
    assert any(line.startswith("  spend_30d_baseline [minor] the 60 days before") for line in lines)
    assert not [line for line in lines if "spend_7d" in line]
    heads = [line for line in lines if line and not line.startswith(" ")]
    assert len(heads) == len(set(heads))
    assert "Sudden moves" in heads


def test_named_ones_are_shown_in_the_order_asked_for() -> None:
    assert list(answer("tenure_tier", "spend_7d", "quota_*_left")) == [
        "tenure_tier",
        "spend_7d",
        *(f"quota_{measure}_left" for measure in ("voice", "data", "sms")),
    ]
    assert "one of: normal, suspended_one_way" in listed("status").stdout


def test_each_typo_is_told_with_the_nearest_name() -> None:
    found = listed("spend_30d_dorp", "status", "xyzzy")
    assert found.exit_code == 2
    assert found.stderr.splitlines() == [
        "there is no signal spend_30d_dorp; did you mean spend_30d_drop?",
        "there is no signal xyzzy",
    ]


def test_a_broken_rulebook_hides_only_its_own_signals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_RULES__FOLDER", str(tmp_path))
    found = listed("status")
    assert found.exit_code == 0
    assert "its own signals are left out" in found.stderr
