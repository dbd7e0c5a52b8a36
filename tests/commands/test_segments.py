"""The command `segments`: tables of a file or of snapshots, for people and as JSON, and a sentence where it cannot."""

import json
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from service.__main__ import app
from service.core.segments import SEGMENTS

RULES = Path(__file__).parents[2] / "rules"
FIRST, DAYS = date(2013, 1, 1), 92
LAST = FIRST + timedelta(days=DAYS - 1)


def lines() -> list[Mapping[str, Any]]:
    """Ten who spend a yuan a day, seven of whom spend half as much in the last thirty days; one is lost."""
    told: list[tuple[str, str, int, dict[str, Any]]] = []
    for number in range(10):
        who = f"s{number}"
        told.append((who, "subscriber.profile", 0, {"activated_on": "2010-01-01", "market": "campus", "area": "north"}))
        for day in range(DAYS):
            amount = 50 if number < 7 and day >= DAYS - 30 else 100
            told.append((who, "charge", day, {"amount_minor": amount, "kind": "usage"}))
    told.append(("s9", "subscriber.status", DAYS - 2, {"status": "cancelled"}))
    return [
        {
            "id": str(n),
            "type": kind,
            "subscriber_id": who,
            "occurred_at": f"{FIRST + timedelta(days=day)}T12:00:00Z",
            **fields,
        }
        for n, (who, kind, day, fields) in enumerate(sorted(told, key=lambda line: line[2]))
    ]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CHURN_RULES__FOLDER", str(RULES))
    monkeypatch.setenv("CHURN_SNAPSHOTS__FOLDER", str(tmp_path / "snapshots"))
    monkeypatch.setenv("CHURN_TOPICS__PARTITIONS", "2")
    path = tmp_path / "events.ndjson"
    path.write_text("\n".join(map(json.dumps, lines())))
    return path


def asked(*words: str) -> Result:
    return CliRunner().invoke(app, ["segments", *words])


def answer(*words: str) -> dict[str, Any]:
    found = asked(*words, "--json")
    assert found.exit_code == 0, found.output
    told: dict[str, Any] = json.loads(found.stdout.splitlines()[-1])
    return told


def test_tables_of_a_file_as_json(file: Path) -> None:
    told = answer(str(file), "--as-of", str(LAST))
    counts = {code: one["subscribers"] for code, one in told["segments"].items() if one["subscribers"]}
    assert counts == {"1": 2, "41": 7, "5": 1}
    assert (told["as_of"], told["against"], told["segments"]["41"]["share_pct"]) == (str(LAST), "own", 70.0)
    spend = {tier["label"]: tier["segments"]["total"]["subscribers"] for tier in told["dimensions"]["spend"]}
    assert {label: count for label, count in spend.items() if count} == {"20-30": 10}
    assert told["codes"]["203104"] == told["codes"]["603104"] == 7
    assert told["codes"]["203105"] == 1


def test_tables_of_a_file_for_people(file: Path) -> None:
    told = asked(str(file), "--as-of", str(LAST)).stdout.splitlines()
    assert told[0] == (f"10 subscribers in segments as of {LAST}, against their own usual month; 0 are not eligible.")
    assert "41 warned in spend                   7    70.00" in told
    heads = [line.split(",")[0] for line in told if "% of the" in line]
    assert heads == [
        *("bundle", "spend", "voice", "data", "tenure", "market", "device", "area"),
        "bundles held",
    ]
    [campus] = [line for line in told if line.startswith("campus")]
    by_segment = dict(zip(SEGMENTS, campus.split()[1:], strict=False))
    assert by_segment == {code: {1: "20.00", 41: "70.00", 5: "10.00"}.get(code, "0.00") for code in SEGMENTS}


def test_tables_of_snapshots_are_those_of_their_day(file: Path) -> None:
    assert CliRunner().invoke(app, ["bootstrap", str(file)]).exit_code == 0
    before = str(LAST - timedelta(days=1))
    told, of_file = answer(), answer(str(file), "--as-of", before)
    assert told.pop("closed_days") == {"0": before, "1": before}
    assert told == {name: of_file[name] for name in told}
    assert answer("--as-of", before)["segments"] == told["segments"]
    refused = asked("--as-of", str(LAST))
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert f"shard 0 is of {before}, not of {LAST}" in refused.stderr


def test_what_is_compared_with_may_be_chosen(file: Path) -> None:
    told = answer(str(file), "--as-of", str(LAST), "--against", "cohort")
    # Ten are too few to be compared with.
    assert (told["against"], told["segments"]["41"]["subscribers"]) == ("cohort", 7)
    assert (
        "against it as comparable subscribers moved"
        in asked(str(file), "--as-of", str(LAST), "--against", "cohort").stdout
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("FILE",), "name the last one that counts, with --as-of"),
        (("FILE", "--as-of", "2012-01-01"), "there are no events on or before 2012-01-01"),
        (("FILE", "--as-of", "2013-04-01", "--mapping", "nothing"), "nothing"),
        (("nowhere.ndjson", "--as-of", "2013-04-01"), "there is no file nowhere.ndjson"),
        ((), "there are no snapshots: name a file of events"),
    ],
)
def test_what_cannot_be_is_one_sentence(file: Path, words: tuple[str, ...], sentence: str) -> None:
    found = asked(*(str(file) if word == "FILE" else word for word in words))
    assert (found.exit_code, found.stdout, found.stderr.count("\n")) == (2, "", 1)
    assert sentence in found.stderr


def test_a_day_beyond_the_file_is_noted(file: Path) -> None:
    found = asked(str(file), "--as-of", str(LAST + timedelta(days=9)))
    assert found.exit_code == 0
    assert found.stderr.startswith(f"The file's last event is of {LAST}")
