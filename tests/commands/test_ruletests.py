"""The command `rules test`: status 0 and what was run, 1 and what differs, 2 and what cannot be read."""

import json
from pathlib import Path

from typer.testing import CliRunner, Result

from service.__main__ import app

RULES = Path(__file__).parents[2] / "rules"
BUNDLES = RULES / "tests" / "bundles.yaml"


def ran(*words: str) -> Result:
    return CliRunner().invoke(app, ["rules", "test", *words, "--rules", str(RULES)])


def test_shipped_tests_hold_with_status_0() -> None:
    found = ran(str(BUNDLES))
    assert (found.exit_code, found.stdout) == (0, "SUCCESS: 3 tests in 1 file.\n")


def test_what_differs_is_told_with_status_1(tmp_path: Path) -> None:
    spoiled = tmp_path / "bundles.yaml"
    text = BUNDLES.read_text(encoding="utf-8").replace("withheld: {call: porting}", "withheld: {call: no_consent}")
    spoiled.write_text(text, encoding="utf-8")
    found = ran(str(tmp_path))
    assert found.exit_code == 1
    assert found.stdout.splitlines()[-1] == "FAILED: 1 of 3 tests in 1 file."
    answer = json.loads(ran(str(tmp_path), "--json").stdout.splitlines()[-1])
    (failure,) = answer["failures"]
    assert failure["file"] == str(spoiled)
    assert (failure["subscriber"], failure["at"]) == ("cleo", "30d (2026-01-31)")
    assert failure["got"] == "bundle_cancelled orders [] withheld {call: porting} suppressed by rule:port_requested"


def test_what_cannot_be_read_is_told_with_status_2(tmp_path: Path) -> None:
    spoiled = tmp_path / "some.yaml"
    spoiled.write_text("tests: [{nam: x}]", encoding="utf-8")
    found = ran(str(spoiled))
    assert found.exit_code == 2
    assert f"{spoiled}:1: tests.0: unknown key nam; did you mean name?" in found.stderr
    near = ran(str(tmp_path / "some.yml"))
    assert (near.exit_code, near.stderr) == (
        2,
        f"there is no file or folder {tmp_path / 'some.yml'}; did you mean some.yaml?\n",
    )
    (tmp_path / "none").mkdir()
    assert "holds no tests" in ran(str(tmp_path / "none")).stderr
