"""The command `rules diff`: who would be warned by a new rulebook, who no longer, on the same past."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from service.app import config_of
from service.commands.console import fail, finish, watched
from service.commands.context import (
    Aggregates,
    AsJson,
    AsOfDay,
    OptionalFile,
    SettingsFile,
    read_mapping,
    read_rulebook,
    read_settings,
)
from service.commands.past import MappingName
from service.commands.sealed import Asked, judge_days
from service.core.calendar import to_day
from service.core.panes import DamagedError
from service.history.diff import ANY, Change, Difference, diff_file, diff_sealed
from service.history.files import FileError, Source
from service.history.sealed import Sealed
from service.settings import SettingsError

Folder = Annotated[Path, typer.Argument(help="Rules folder.")]


def diff(  # noqa: PLR0913 - the options of a command are its parameters
    old: Folder,
    new: Folder,
    file: OptionalFile = None,
    *,
    mapping: MappingName = None,
    aggregates: Aggregates = None,
    as_of: AsOfDay = None,
    days: Annotated[int, typer.Option(min=1, max=400, help="How many days are judged, without a usage file.")] = 90,
    out: Annotated[Path | None, typer.Option(help="Parquet file for who is won and lost, by rule.")] = None,
    settings_file: SettingsFile = None,
    json_output: AsJson = False,
) -> None:
    """Compare two rulebooks on the same past.

    Who is won and lost, by rule, segment and channel. Judged is a usage file, or the usage of the last days that lies
    in the store (there or in --aggregates by the rules of each close only: of single events nothing is stored).

    Example: churn-warning rules diff rules/ draft/ --days 90
    """
    settings = read_settings(settings_file)
    before, after = read_rulebook(settings, old), read_rulebook(settings, new)
    try:
        config = config_of(settings, after)
        if file is not None:
            if as_of is None:
                fail("A usage file is judged as of a day: --as-of YYYY-MM-DD")
            source = Source(file, read_mapping(settings, mapping))
            day = to_day(as_of.date())
            found = diff_file(source, (before, after), config, day, lambda pieces: watched(pieces, "Judging"))
        else:
            asked = None if as_of is None else to_day(as_of.date())

            def judge(shards: Iterator[Sealed], judged: range, step: Callable[[], object]) -> Difference:
                return diff_sealed(shards, before, after, judged, step)

            _, found = judge_days(settings, after, aggregates, Asked(asked, days), judge)
        if out is not None:
            found.ids.write_parquet(out)
    except (FileError, SettingsError, DamagedError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"The past cannot be read, or {out} not be written: {error.strerror or error}")
    answer = {"old": before.hash, "new": after.hash, **found.plain()}
    finish(answer, "\n".join(_table(found)), as_json=json_output)


def _table(found: Difference) -> Iterator[str]:
    yield f"{found.subscribers:,} subscribers"
    yield ""
    yield f"{'':28}{'old':>10}{'new':>10}{'won':>10}{'lost':>10}"
    for name, change in found.rules.items():
        if name != ANY and (change.won or change.lost):
            yield _line(name, change)
    yield _line("any rule", found.rules[ANY])
    for code, change in sorted(found.segments.items()):
        yield _line(f"in segment {code}", change)
    for channel, change in found.orders.items():
        yield _line("any order" if channel == ANY else f"outbound.{channel}", change)
    same = sum(1 for name, change in found.rules.items() if name != ANY and not (change.won or change.lost))
    yield ""
    yield f"{same} rules name the same subscribers as before."


def _line(name: str, change: Change) -> str:
    return f"{name:28}{change.old:>10,}{change.new:>10,}{change.won:>10,}{change.lost:>10,}"
