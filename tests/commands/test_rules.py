"""The command `rules check` reads the whole rules folder; status 2 says that something in it is wrong."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from service.__main__ import app

RULES = Path(__file__).parents[2] / "rules"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The shipped rules folder, to be spoiled."""
    return Path(shutil.copytree(RULES, tmp_path / "rules"))


def checked(*words: str) -> Result:
    return CliRunner().invoke(app, ["rules", "check", *words])


def spoil(path: Path, old: str, new: str) -> int:
    """Replace a text in a file; returns its line."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return text[: text.index(old)].count("\n") + 1


def test_the_shipped_folder_is_good() -> None:
    found = checked(str(RULES), "--json")
    answer = json.loads(found.stdout.splitlines()[-1])
    assert (found.exit_code, answer["problems"]) == (0, [])
    assert answer["mappings"] == ["cdr_3gpp", "postpaid_daily", "prepaid_monthly"]
    assert answer["profiles"] == ["city-2013", "demo"]
    assert f"{len(answer['rules'])} rules, 3 mappings and 2 profiles are good" in checked(str(RULES)).stdout


def test_what_is_wrong_in_any_file_is_told_by_line_with_status_1(folder: Path) -> None:
    within = spoil(folder / "drops" / "spend_drop.yaml", "status = 'normal'", "status = 'nromal'")
    mapping = spoil(folder / "mappings" / "postpaid_daily.yaml", "calls: integer", "calls: intger")
    profile = spoil(folder / "profiles" / "demo.yaml", "zone: Asia/Shanghai", "zone: Asia/Atlantis")
    (folder / "mappings" / "odd.yaml").write_bytes(b"\xff")
    found = checked(str(folder))
    lines = found.stdout.splitlines()
    assert found.exit_code == 2
    # A folded text is known by the line of its key, one above its first.
    assert lines[0] == f"drops/spend_drop.yaml:{within - 1}: when: status is never 'nromal'; did you mean normal?"
    assert lines[1] == "mappings/odd.yaml: it is not UTF-8 text"
    assert lines[2].startswith(f"mappings/postpaid_daily.yaml:{mapping}: column calls: type intger; did you mean int")
    assert lines[-1].startswith(f"profiles/demo.yaml:{profile}: zone: ")


def test_without_a_folder_nothing_can_be_checked() -> None:
    found = checked("/nowhere")
    assert (found.exit_code, found.stderr) == (
        2,
        "/nowhere: there is no such folder; name the one that holds the rules\n",
    )
