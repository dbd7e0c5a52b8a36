"""The command `simulate`: a population's events as a file that can be replayed, and the truth beside it."""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, NoReturn

import polars as pl
import typer
from rich.console import Console
from rich.progress import track

from service.city.city import City, DayOfEvents
from service.city.profile import Outage, Profile, load_profile
from service.clock import SystemClock

_CANNOT = 2
_OUTAGE = re.compile(
    r"(?P<market>[^:]+):(?P<first>\d{4}-\d\d-\d\d):(?P<days>[1-9]\d{0,2})(?::(?P<late_days>[1-9]\d{0,2}))?"
)


def simulate(  # noqa: PLR0913 - the options of a command are its parameters
    *,
    profile: Annotated[str, typer.Option(help="Name of a profile in the rules folder's profiles/.")] = "demo",
    subscribers: Annotated[int, typer.Option(min=1, help="How many subscribers live in the city.")] = 20_000,
    days: Annotated[int | None, typer.Option(min=1, help="How many days to make; the profile's own if absent.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 1,
    start: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="First local day; the profile's own if absent.")
    ] = None,
    out: Annotated[Path, typer.Option(help="File of events, one JSON object a line.")] = Path("events.ndjson"),
    faults: Annotated[
        bool, typer.Option(help="Keep the profile's faults: repeated, late, broken, unknown records, and outages.")
    ] = False,
    outage: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MARKET:FIRST:DAYS[:LATE]",
            help="Usage of a market does not arrive on so many days from FIRST on, but as a file so many days after "
            "the last of them; without LATE never. May be given more than once.",
        ),
    ] = None,
    rules: Annotated[Path, typer.Option(envvar="CHURN_RULES__FOLDER", help="The rules folder.")] = Path("rules"),
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Make a simulated city's events as a file.

    The truth is in another file beside it: who was made to leave, when and why, and which segment and tiers were
    planned for whom; days of an outage are in a third.

    Examples: churn-warning simulate --profile demo --subscribers 2000 --days 120 --seed 7 --out events.ndjson;
    churn-warning simulate --profile city-2013 --subscribers 200000 --outage group:2013-01-20:2:3
    """
    if out.suffix != ".ndjson":
        _fail(f"{out}: events are written as lines of JSON, so name the file with the ending .ndjson")
    clock = SystemClock()
    begun = clock.elapsed_s()
    try:
        chosen = _chosen(rules / "profiles" / f"{profile}.yaml", outage or (), faults=faults)
        city = City(chosen, subscribers, seed, start and start.date(), days)
        _require_days(city)
    except ValueError as error:
        _fail(str(error))
    truth = city.truth()
    try:
        with out.open("wb") as file, _progress(city) as made:
            events = sum(file.write(b"\n".join([*day.values, b""])) and len(day.values) for day in made)
        written = _write_truth(city, truth, out)
    except OSError as error:
        _fail(f"{error.filename or out} cannot be written: {error.strerror or error}")
    answer: dict[str, int | float | str] = {
        "events": events,
        "subscribers": subscribers,
        "days": city.day_count,
        **({"judged_on": str(city.judged_on)} if city.judged_on else {}),
        "leaving": int(truth["leaves"].sum()),
        "out": str(out),
        **written,
        "wall_s": round(clock.elapsed_s() - begun, 3),
    }
    typer.echo(json.dumps(answer) if json_output else _sentence(answer))


def _chosen(file: Path, outages: Sequence[str], *, faults: bool) -> Profile:
    """The profile, with its own faults or without, and with outages as the option gives them. Raises ValueError."""
    profile = load_profile(file)
    return (profile if faults else profile.in_order()).with_outages([_read_outage(text) for text in outages])


def _read_outage(text: str) -> Outage:
    """An outage as the option gives it. Raises ValueError in one sentence."""
    told = _OUTAGE.fullmatch(text)
    if told is None:
        raise ValueError(f"--outage {text}: expected MARKET:FIRST:DAYS[:LATE] such as group:2013-01-20:2:3")
    late = told["late_days"]
    try:
        first = date.fromisoformat(told["first"])
    except ValueError as error:
        raise ValueError(f"--outage {text}: {told['first']} is no day of the calendar") from error
    return Outage(market=told["market"], first=first, days=int(told["days"]), late_days=int(late) if late else None)


def _require_days(city: City) -> None:
    """Refuse outages of which no day is in the run. Raises ValueError."""
    for outage in city.profile.outages:
        last = city.start + timedelta(days=city.day_count - 1)
        if not city.start - timedelta(days=outage.days) < outage.first <= last:
            raise ValueError(f"an outage of {outage.first} is outside the run, {city.start} to {last}")


def _write_truth(city: City, truth: pl.DataFrame, out: Path) -> dict[str, str]:
    """Write what was planned, and the outages if there are any, beside the events; returns the files by what they hold.

    The two are apart, for one is of subscribers and the other of days.
    """
    tables = {"truth": truth, "outages": city.outages()}
    files = {}
    for name, table in tables.items():
        if name == "truth" or table.height:
            file = out.with_name(f"{out.name}.{name}.parquet")
            table.write_parquet(file)
            files[name] = str(file)
    return files


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
