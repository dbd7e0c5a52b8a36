"""The commands `rules check` and `rules backtest`: the rulebook's tools."""

from pathlib import Path
from typing import Annotated

import typer

from service.app import terms_of
from service.commands.console import CANNOT, finish
from service.commands.context import read_settings
from service.core.signals import catalogue
from service.rulebook.loading import check as check_rules

rules = typer.Typer(help="Check the rulebook and try it on the past.", no_args_is_help=True)


@rules.command()
def check(
    folder: Annotated[Path | None, typer.Argument(help="Rules folder; the settings' if absent.")] = None,
    *,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Read every file of the rules folder and report all that is wrong, by file and line.

    Example: churn-warning rules check rules/
    """
    settings = read_settings()
    dtypes = {name: signal.dtype for name, signal in catalogue(terms_of(settings)).items()}
    rulebook, problems = check_rules(folder or settings.rules.folder, dtypes)
    answer = {
        "rules": [] if rulebook is None else [rule.id for rule in rulebook.rules],
        "hash": None if rulebook is None else rulebook.hash,
        "problems": [problem._asdict() for problem in problems],
    }
    good = "" if rulebook is None else f"{len(rulebook.rules)} rules are good; rulebook {rulebook.hash}."
    finish(answer, "\n".join(map(str, problems)) or good, as_json=json_output)
    if problems:
        raise typer.Exit(CANNOT)
