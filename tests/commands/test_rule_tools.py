"""The rulebook's tools over a store and over files: what they answer, and one sentence where they cannot."""

import json
import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from service.__main__ import app

RULES = Path(__file__).parents[2] / "rules"
FIRST = date(2024, 1, 1)
DAYS = 150  # the last is still open


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["rules", *words])


def answer(*words: str) -> dict[str, Any]:
    found = run(*words, "--json")
    assert found.exit_code == 0, found.stderr
    return dict(json.loads(found.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Snapshots of twenty who talk every day: the n-th falls by n twentieths after day 110."""
    where = tmp_path_factory.mktemp("store")
    lines = [
        {"subscriber_id": f"s{who:02d}", "day": FIRST + timedelta(days=day), "voice": minutes, "outgoing": 1}
        for who in range(20)
        for day in range(DAYS)
        if (minutes := 20 if day < 110 else 20 - who) > 0
    ]
    pl.DataFrame(lines).write_parquet(where / "days.parquet")
    environ = {"CHURN_RULES__FOLDER": str(RULES), "CHURN_SNAPSHOTS__FOLDER": str(where / "snapshots")}
    made = CliRunner().invoke(app, ["bootstrap", str(where / "days.parquet"), "--aggregates"], env=environ)
    assert made.exit_code == 0, made.stderr
    return where


@pytest.fixture(autouse=True)
def settings(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_RULES__FOLDER", str(RULES))
    monkeypatch.setenv("CHURN_SNAPSHOTS__FOLDER", str(store / "snapshots"))


@pytest.fixture
def stricter(tmp_path: Path) -> Path:
    """The shipped rules, but that voice has to fall by more than half."""
    folder = Path(shutil.copytree(RULES, tmp_path / "rules"))
    rule = folder / "drops" / "voice_drop.yaml"
    text = rule.read_text(encoding="utf-8")
    assert "drop: 0.4 " in text
    rule.write_text(text.replace("drop: 0.4 ", "drop: 0.55 "), encoding="utf-8")
    return folder


def test_a_stricter_rule_loses_who_fell_less(store: Path, stricter: Path, tmp_path: Path) -> None:
    out = tmp_path / "ids.parquet"
    found = answer("diff", str(RULES), str(stricter), "--days", "40", "--out", str(out))
    assert found["subscribers"] == 20
    assert found["rules"]["voice_drop"] == {"old": 12, "new": 9, "won": 0, "lost": 3}
    told = pl.read_parquet(out).filter(pl.col("rule") == "voice_drop")
    assert told["subscriber_id"].to_list() == ["s08", "s09", "s10"]
    of_aggregates = answer(
        "diff", str(RULES), str(stricter), "--days", "40", "--aggregates", str(store / "days.parquet")
    )
    assert of_aggregates == found
    assert "voice_drop" in run("diff", str(RULES), str(stricter), "--days", "40").stdout


def test_an_explanation_of_today_and_of_an_earlier_day(store: Path) -> None:
    today = answer("explain", "s10", "--rule", "voice_drop")
    assert (today["as_of"], today["rules"][0]["holds"]) == (str(FIRST + timedelta(days=DAYS - 2)), True)
    earlier = answer("explain", "s10", "--rule", "voice_drop", "--as-of", str(FIRST + timedelta(days=119)))
    parts = earlier["rules"][0]["when"]["parts"]
    (drop,) = (part for part in parts if part["condition"].startswith("voice_30d_drop_vs_cohort"))
    assert drop["values"]["voice_30d_drop_vs_cohort"] == pytest.approx(1 / 6)
    assert drop["missing"] == "0.2333 short"
    assert (store / "snapshots").is_dir()


def test_ratios_that_warn_a_wanted_share() -> None:
    found = answer("calibrate", "--rate", "voice=0.25")["ratios"]
    rule = next(one for one in found if one["name"] == "voice_drop")
    assert rule["can_be_warned"] == 19  # one has not fallen at all
    # Nine days of the baseline are of the lesser use already, so who fell by eight twentieths fell by less than 0.4.
    assert rule["rate"] == pytest.approx(11 / 19)
    assert rule["reached_rate"] == pytest.approx(5 / 19)
    assert rule["wanted_ratio"] == pytest.approx(1 - 5 / ((51 * 20 + 9 * 5) / 60))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("explain", "s1"), "there is no subscriber s1 in the snapshot of shard"),
        (("explain", "s01", "--rule", "voice_drp"), "there is no rule voice_drp; did you mean voice_drop?"),
        (
            ("explain", "s01", "--as-of", "2031-01-01"),
            "2031-01-01 is not closed yet: the snapshots' last closed day is",
        ),
        (
            ("explain", "s01", "--as-of", "2023-01-01"),
            "2023-01-01 cannot be judged: usage is stored from 2024-01-01 on",
        ),
        (("explain", "s01", "no.parquet"), "A usage file is judged as of a day: --as-of YYYY-MM-DD"),
        (("calibrate", "--rate", "voise=0.1"), "--rate voise=0.1: there is no measure voise; did you mean voice?"),
        (("calibrate", "--rate", "voice=10"), "--rate voice=10: expected a share between 0 and 1, such as voice=0.1"),
        (("diff", str(RULES), "/nowhere"), "/nowhere: there is no such folder; name one that holds rules"),
        (("diff", str(RULES), str(RULES), "--days", "300"), "cannot be judged: usage is stored from 2024-01-01 on"),
    ],
)
def test_what_cannot_be_is_one_sentence(words: tuple[str, ...], sentence: str) -> None:
    found = run(*words)
    assert (found.exit_code, found.stderr.count("\n")) == (2, 1), found.stderr
    assert sentence in found.stderr


def test_an_empty_store_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_SNAPSHOTS__FOLDER", str(tmp_path / "none"))
    found = run("calibrate")
    assert found.exit_code == 2
    assert "where no shard has a snapshot" in found.stderr


def test_a_backtest_without_a_file_judges_the_days_of_the_store(store: Path) -> None:
    found = answer("backtest", "--days", "40")
    assert found["subscribers"] == 20
    drop = found["rules"]["voice_drop"]
    assert drop["warned"] == 12  # as `diff` counts them
    assert (found["leavers"], drop["precision"], drop["recall"]) == (0, 0, None)
    assert answer("backtest", "--days", "40", "--aggregates", str(store / "days.parquet")) == found
    assert "voice_drop" in run("backtest", "--days", "40").stdout
