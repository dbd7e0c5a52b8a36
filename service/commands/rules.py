"""The commands `rules check` and `rules backtest`: the rulebook's tools."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from service.app import domains, given_params
from service.city.profile import ProfileError, load_profile
from service.commands.console import CANNOT, fail, finish
from service.commands.context import read_settings
from service.rulebook.loading import check as check_rules
from service.rulebook.mapping_source import load_mapping, mapping_names
from service.rulebook.problems import Problem, RulebookError

rules = typer.Typer(help="Check the rulebook and try it on the past.", no_args_is_help=True)


@rules.command()
def check(
    folder: Annotated[Path | None, typer.Argument(help="Rules folder; the settings' if absent.")] = None,
    *,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Report all that is wrong with the rules folder.

    Rules, signals, lists, limits, segments, calendars, mappings and profiles are read, and every error told by file and
    line, with what was expected; status 2 if there is any.

    Example: churn-warning rules check rules/
    """
    settings = read_settings()
    where = folder or settings.rules.folder
    if not where.is_dir():
        fail(f"{where}: there is no such folder; name the one that holds the rules")
    rulebook, of_rules = check_rules(where, domains(settings), given_params(settings))
    problems = sorted({*of_rules, *_of_mappings(where), *_of_profiles(where)})
    rule_ids = [] if rulebook is None else [rule.id for rule in rulebook.rules]
    mappings, profiles = mapping_names(where), [path.stem for path in _profiles(where)]
    answer = {
        "rules": rule_ids,
        "hash": None if rulebook is None else rulebook.hash,
        "mappings": mappings,
        "profiles": profiles,
        "problems": [problem._asdict() for problem in problems],
    }
    good = (
        f"{len(rule_ids)} rules, {len(mappings)} mappings and {len(profiles)} profiles are good; "
        f"rulebook {answer['hash']}."
    )
    finish(answer, "\n".join(map(str, problems)) or good, as_json=json_output)
    if problems:
        raise typer.Exit(CANNOT)


def _of_mappings(rules_folder: Path) -> Iterator[Problem]:
    for name in mapping_names(rules_folder):
        try:
            load_mapping(rules_folder, name)
        except RulebookError as error:
            yield from error.problems


def _profiles(rules_folder: Path) -> list[Path]:
    return sorted((rules_folder / "profiles").glob("*.yaml"))


def _of_profiles(rules_folder: Path) -> Iterator[Problem]:
    for path in _profiles(rules_folder):
        try:
            load_profile(path)
        except ProfileError as error:
            yield from (Problem(f"profiles/{path.name}", line, said) for line, said in error.faults)
