"""The command `settings`: every setting, the variable that sets it, its value and meaning."""

import shutil
import sys
import textwrap
from pathlib import Path
from typing import Annotated

import typer

from service.commands.console import finish
from service.commands.context import read_settings
from service.settings import Entry, entries

_INDENT = "    "


def settings(
    *,
    settings_file: Annotated[
        Path | None, typer.Option("--settings", help="Settings file; CHURN_SETTINGS_FILE if absent.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """List every setting with its variable and meaning.

    Its value here and its default are shown too; piped, each is one line to search in.

    Example: CHURN_HTTP__PORT=9000 churn-warning settings
    """
    listed = entries(read_settings(settings_file))
    plain = {one.variable: {"value": one.given, "default": one.unset, "meaning": one.meaning} for one in listed}
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    finish(plain, "\n".join(_told(one, width) for one in listed), as_json=json_output)


def _told(entry: Entry, width: int | None) -> str:
    """One line, or wrapped below the variable to a terminal's width; names and values are never cut."""
    setting = f"{entry.variable}={entry.value}"
    default = "" if entry.value == entry.default else f" (default: {entry.default or 'nothing'})"
    meaning = f"{entry.meaning}{default}"
    if width is None:
        return f"{setting}  # {meaning}"
    return "\n".join([setting, textwrap.fill(meaning, width, initial_indent=_INDENT, subsequent_indent=_INDENT)])
