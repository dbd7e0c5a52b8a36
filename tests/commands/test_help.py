"""The program tells its version, and what each command does in a line that a terminal does not cut."""

from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from service.__main__ import app


def told(*words: str) -> str:
    found = CliRunner().invoke(app, words, terminal_width=80)
    assert found.exit_code == 0
    return found.stdout


def test_the_version_is_that_of_the_package() -> None:
    assert told("--version") == f"churn-warning {version('churn-warning')}\n"


@pytest.mark.parametrize("words", [(), ("rules",), ("topics",), ("dead-letters",)])
def test_no_line_of_the_list_of_commands_is_cut(words: tuple[str, ...]) -> None:
    commands = told(*words, "--help").partition("Commands:")[2]
    assert len(commands.splitlines()) > 2
    assert "..." not in commands
