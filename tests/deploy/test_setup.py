"""The scripts on a machine that lacks something: one sentence with the package, status 2, nothing half done."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(script: str, programs: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script where only `programs` are on the path."""
    for program in programs:
        found = shutil.which(program)
        assert found is not None
        (folder / program).symlink_to(found)
    return subprocess.run(  # noqa: S603 - our own arguments
        [str(ROOT / script)], cwd=folder, env={"PATH": str(folder)}, capture_output=True, text=True, check=False
    )


def test_tests_name_the_program_they_lack(tmp_path: Path) -> None:
    done = run("tests/run", ["bash", "dirname", "basename"], tmp_path)
    assert (done.returncode, done.stderr) == (2, "setup: java is missing: apt-get install default-jre-headless\n")


def test_the_demo_names_the_python_it_lacks(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    for name in ("deploy/setup", "deploy/demo", "requirements.lock", "pyproject.toml"):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, clone / name)
    done = run(str(clone / "deploy/demo"), ["bash", "dirname", "basename", "cat", "sha256sum"], tmp_path)
    assert done.returncode == 2
    assert done.stderr == "setup: Python 3.11 or later is missing: apt-get install python3 python3-venv\n"
    assert not (clone / ".venv").exists()


def test_where_all_is_required_a_missing_tool_fails(
    require_tool: Callable[[str, str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHURN_TEST_REQUIRE_ALL", "1")
    with pytest.raises(pytest.fail.Exception, match="no-such-tool: apt-get install no-such-package"):
        require_tool("no-such-tool", "no-such-package")
