"""The command `simulate` writes events and truth, says what it made, and refuses in one sentence."""

import json
from pathlib import Path

import polars as pl
import typer
from typer.testing import CliRunner

from service.commands.simulate import simulate

RULES = str(Path(__file__).parents[2] / "rules")


def run(*arguments: str) -> tuple[int, str, str]:
    app = typer.Typer()
    app.command()(simulate)
    result = CliRunner().invoke(app, ["--rules", RULES, *arguments])
    return result.exit_code, result.stdout, result.stderr


def small(out: Path, *more: str) -> tuple[int, str, str]:
    return run("--subscribers", "50", "--days", "20", "--seed", "4", "--out", str(out), *more)


def test_events_and_truth_are_written_and_counted(tmp_path: Path) -> None:
    out = tmp_path / "events.ndjson"
    status, told, _ = small(out, "--json")
    answer = json.loads(told.splitlines()[-1])
    lines = out.read_bytes().splitlines()
    assert status == 0
    assert answer["events"] == len(lines)
    assert answer["subscribers"] == 50
    assert all("subscriber_id" in json.loads(line) for line in lines)
    assert pl.read_parquet(answer["truth"]).height == 50


def test_same_seed_same_file_and_faults_only_when_asked_for(tmp_path: Path) -> None:
    first, again, faulty = (tmp_path / f"{name}.ndjson" for name in ("first", "again", "faulty"))
    assert [small(first)[0], small(again)[0], small(faulty, "--faults")[0]] == [0, 0, 0]
    assert first.read_bytes() == again.read_bytes() != faulty.read_bytes()


def test_a_profile_says_how_long_it_is_and_which_day_it_is_to_be_judged_on(tmp_path: Path) -> None:
    out = str(tmp_path / "events.ndjson")
    status, told, _ = run("--profile", "city-2013", "--subscribers", "40", "--out", out, "--json")
    answer = json.loads(told.splitlines()[-1])
    assert (status, answer["days"], answer["judged_on"]) == (0, 92, "2013-01-31")
    truth = pl.read_parquet(answer["truth"])
    assert set(truth["code"]) <= {1, 21, 22, 23, 3, 41, 42, 43, 5}
    assert truth["spend_tier"].is_between(0, 10).all()
    assert "outages" not in answer


def test_outages_are_options_and_stand_beside_the_events(tmp_path: Path) -> None:
    plain, silent = tmp_path / "plain.ndjson", tmp_path / "silent.ndjson"
    assert small(plain)[0] == 0
    outages = ("--outage", "public:2026-07-25:2", "--outage", "group:2026-07-28:1:3", "--json")
    status, told, _ = small(silent, *outages)
    assert status == 0
    answer = json.loads(told.splitlines()[-1])
    assert pl.read_parquet(answer["outages"])["market"].to_list() == ["public", "public", "group"]
    missing = set(plain.read_bytes().splitlines()) - set(silent.read_bytes().splitlines())
    assert missing
    assert all(b"usage." in line or b'"charge"' in line for line in missing)


def test_what_cannot_be_done_ends_with_status_two_and_a_sentence(tmp_path: Path) -> None:
    for arguments, said in (
        (("--out", str(tmp_path / "events.csv")), "name the file with the ending .ndjson"),
        (("--outage", "group:soon:2", "--out", str(tmp_path / "e.ndjson")), "expected MARKET:FIRST:DAYS[:LATE]"),
        (("--outage", "group:2026-13-01:2", "--out", str(tmp_path / "e.ndjson")), "2026-13-01 is no day"),
        (("--outage", "moon:2026-08-01:2", "--out", str(tmp_path / "e.ndjson")), "unknown markets ['moon']"),
        (("--outage", "group:2020-08-01:2", "--out", str(tmp_path / "e.ndjson")), "is outside the run"),
        (("--profile", "atlantis", "--out", str(tmp_path / "e.ndjson")), "there is no such profile"),
        (("--subscribers", "9", "--days", "1", "--out", str(tmp_path / "no" / "e.ndjson")), "cannot be written"),
    ):
        status, _, error = run(*arguments)
        assert status == 2
        assert said in error
        assert "Traceback" not in error
