"""The command `rules test`: subscribers in YAML live their days, and who is warned must be who is named."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from service.app import config_of
from service.commands.console import NO, fail, finish, watched
from service.commands.context import AsJson, SettingsFile, read_rulebook, read_settings
from service.history.ruletests import Tried, try_cases
from service.rulebook.cases import read_cases
from service.rulebook.problems import RulebookError, suggest
from service.settings import SettingsError

OtherRules = Annotated[Path | None, typer.Option("--rules", help="Rules folder; the settings' if absent.")]


def run_tests(
    places: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE|FOLDER]...", help="Tests; the rules folder's tests/ if absent."),
    ] = None,
    *,
    rules_folder: OtherRules = None,
    settings_file: SettingsFile = None,
    json_output: AsJson = False,
) -> None:
    """Run tests of rules.

    Subscribers and their events stand in YAML, in short and at relative times, and beside them who must be warned at
    which time, by which rule, how urgently, in which words, with which orders. Status 1 if anybody else is.

    Example: churn-warning rules test rules/tests/drops.yaml
    """
    settings = read_settings(settings_file)
    rulebook = read_rulebook(settings, rules_folder)
    files = list(_files(places or [(rules_folder or settings.rules.folder) / "tests"]))
    try:
        config = config_of(settings, rulebook)
        cases = read_cases(files, (rule.id for rule in rulebook.rules))
        tried = try_cases(cases, rulebook, config, lambda lives: watched(lives, "Testing"))
    except (RulebookError, SettingsError) as error:
        fail(str(error))
    lacking = {} if places else tried.lacking(rulebook)  # some tests cannot show everything
    answer = {
        "tests": len(cases),
        "files": len(files),
        "rulebook": rulebook.hash,
        "failures": [asdict(failure) for failure in tried.failures],
        "not_shown": lacking,
    }
    finish(answer, "\n".join(_sentences(tried, len(cases), len(files), lacking)), as_json=json_output)
    if tried.failures:
        raise typer.Exit(NO)


def _sentences(tried: Tried, cases: int, files: int, lacking: dict[str, list[str]]) -> Iterator[str]:
    yield from map(str, tried.failures)
    if tried.failures:
        failed = len({(failure.file, failure.test) for failure in tried.failures})
        yield f"FAILED: {failed} of {cases} tests in {_count(files)}."
    else:
        yield f"SUCCESS: {cases} tests in {_count(files)}."
    yield from (f"No test shows of {rule}: {', '.join(shown)}" for rule, shown in lacking.items())


def _count(files: int) -> str:
    return f"{files} file" if files == 1 else f"{files} files"


def _files(places: list[Path]) -> Iterator[Path]:
    for place in places:
        if place.is_dir():
            found = sorted(place.rglob("*.yaml"))
            if not found:
                fail(f"{place} holds no tests: expected files like {place / 'drops.yaml'}")
            yield from found
        elif place.is_file():
            yield place
        else:
            near = suggest(place.name, (path.name for path in place.parent.glob("*"))) if place.parent.is_dir() else ""
            fail(f"there is no file or folder {place}{near}")
