"""The command `simulate`: a population's events as a file that can be replayed, and the truth beside it."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import track

from service.city.city import City, DayOfEvents
from service.city.profile import ProfileError, load_profile
from service.clock import SystemClock

_CANNOT = 2


def simulate(  # noqa: PLR0913 - the options of a command are its parameters
    *,
    profile: Annotated[str, typer.Option(help="Name of a profile in the rules folder's profiles/.")] = "demo",
    subscribers: Annotated[int, typer.Option(min=1, help="How many subscribers live in the city.")] = 20_000,
    days: Annotated[int, typer.Option(min=1, help="How many days to make.")] = 120,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 1,
    start: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="First local day; the profile's own if absent.")
    ] = None,
    out: Annotated[Path, typer.Option(help="File of events, one JSON object a line.")] = Path("events.ndjson"),
    faults: Annotated[
        bool, typer.Option(help="Keep the profile's faults: repeated, late, broken and unknown records.")
    ] = False,
    rules: Annotated[Path, typer.Option(envvar="CHURN_RULES__FOLDER", help="The rules folder.")] = Path("rules"),
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Make a simulated city's events as a file.

    Who was made to leave, when and why, is in another file beside it.

    Example: churn-warning simulate --profile demo --subscribers 2000 --days 120 --seed 7 --out events.ndjson
    """
    if out.suffix != ".ndjson":
        _fail(f"{out}: events are written as lines of JSON, so name the file with the ending .ndjson")
    try:
        chosen = load_profile(rules / "profiles" / f"{profile}.yaml")
    except ProfileError as error:
        _fail(str(error))
    clock = SystemClock()
    begun = clock.elapsed_s()
    city = City(chosen if faults else chosen.in_order(), subscribers, seed, start and start.date(), days)
    truth_file = out.with_name(out.name + ".truth.parquet")
    truth = city.truth()
    try:
        with out.open("wb") as file, _progress(city) as made:
            events = sum(file.write(b"\n".join([*day.values, b""])) and len(day.values) for day in made)
        truth.write_parquet(truth_file)
    except OSError as error:
        _fail(f"{error.filename or out} cannot be written: {error.strerror or error}")
    answer: dict[str, int | float | str] = {
        "events": events,
        "subscribers": subscribers,
        "days": days,
        "leaving": int(truth["leaves"].sum()),
        "out": str(out),
        "truth": str(truth_file),
        "wall_s": round(clock.elapsed_s() - begun, 3),
    }
    typer.echo(json.dumps(answer) if json_output else _sentence(answer))


@contextmanager
def _progress(city: City) -> Iterator[Iterator[DayOfEvents]]:
    """The city's days, with a bar while a person watches."""
    console = Console(stderr=True)
    bar = track(city.days(), "Simulating days", total=city.day_count, console=console, disable=not sys.stderr.isatty())
    yield iter(bar)


def _sentence(answer: dict[str, int | float | str]) -> str:
    return (
        f"{answer['events']:,} events of {answer['subscribers']:,} subscribers over {answer['days']} days are in "
        f"{answer['out']}; who is made to leave ({answer['leaving']:,}), when and why is in {answer['truth']}."
    )


def _fail(sentence: str) -> NoReturn:
    typer.echo(sentence, err=True)
    raise typer.Exit(_CANNOT)
