"""What every command reads first: settings, rulebook, mapping; a fault in them ends it with sentences."""

import os
from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer

from service.app import domains, given_params
from service.commands.console import fail
from service.core.rules import Rulebook
from service.rulebook.loading import load
from service.rulebook.mapping_form import Mapping
from service.rulebook.mapping_source import load_mapping
from service.rulebook.problems import RulebookError
from service.settings import Settings, SettingsError
from service.settings import load as load_settings

SettingsFile = Annotated[Path | None, typer.Option("--settings", help="Settings file; CHURN_SETTINGS_FILE if absent.")]
OptionalFile = Annotated[Path | None, typer.Argument(help="Usage file; without one the store's snapshots are judged.")]
Aggregates = Annotated[Path | None, typer.Option(help="Daily aggregates (as for bootstrap) instead of the store.")]
AsOfDay = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The last day that counts, closed.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")]


def read_settings(file: Path | None = None) -> Settings:
    """The settings of this process, or the end of it with every fault named."""
    try:
        return load_settings(os.environ, file)
    except SettingsError as error:
        fail(str(error))


def read_rulebook(settings: Settings, other: Path | None = None) -> Rulebook:
    """The rulebook in the rules folder, or in another, or the end with every fault named by file and line."""
    folder = other or settings.rules.folder
    if not folder.is_dir() and other is not None:
        fail(f"{folder}: there is no such folder; name one that holds rules")
    if not folder.is_dir():
        fail(f"CHURN_RULES__FOLDER is '{folder}', where there is no folder: name the one that holds the rules")
    try:
        return load(folder, domains(settings), given_params(settings))
    except RulebookError as error:
        fail(str(error))


def read_mapping(settings: Settings, name: str | None) -> Mapping | None:
    """A mapping of the rules folder by its name, or the end with every fault named by file and line."""
    if name is None:
        return None
    try:
        return load_mapping(settings.rules.folder, name)
    except RulebookError as error:
        fail(str(error))


def unasked(settings: Settings, error: OSError) -> str:
    """That the place of the snapshots does not answer, or takes nothing."""
    folder = settings.snapshots.folder
    return f"CHURN_SNAPSHOTS__FOLDER is '{folder}', which cannot be asked ({error.strerror or error}): correct it"


def note_silence(until: date, last: date) -> None:
    """A day beyond a file makes everybody look silent; who asks for it should know."""
    if last < until:
        typer.echo(f"The file's last event is of {last}: until {until} everybody counts as silent.", err=True)
