"""The command `settings`: every setting, the variable that sets it, its value and meaning."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from service.commands.console import finish
from service.commands.context import read_settings
from service.settings import entries


def settings(
    *,
    settings_file: Annotated[
        Path | None, typer.Option("--settings", help="Settings file; CHURN_SETTINGS_FILE if absent.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """List every setting: its environment variable, its value here, its default and what it means.

    Example: CHURN_HTTP__PORT=9000 churn-warning settings
    """
    listed = entries(read_settings(settings_file))
    if json_output:
        finish({entry.variable: entry.value for entry in listed}, "", as_json=True)
        return
    table = Table("variable", "value", "default", "meaning")
    for entry in listed:
        table.add_row(entry.variable, entry.value, "" if entry.value == entry.default else entry.default, entry.meaning)
    Console().print(table)
