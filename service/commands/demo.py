"""The command `demo`: a simulated city through an embedded broker and the whole service, with a page to look at."""

import asyncio
import socket
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from service.app import Given, Running, running, specs_of
from service.city.city import City, DayOfEvents
from service.city.profile import Profile, ProfileError, load_profile
from service.clock import Clock
from service.commands.console import NO, fail, finish
from service.commands.context import read_rulebook, read_settings
from service.commands.run import configure_logs, faults_as_sentences, until_told
from service.core.calendar import to_day
from service.kafka.feeder import KafkaFeeder
from service.kafka.mock import PARTITIONS, MockMissingError, mock_cluster
from service.kafka.topics import create_topics
from service.settings import Settings
from service.wire.topics import Topics

_MOST_AHEAD = 40_000  # records the feed may be ahead of the service: the embedded broker forgets old ones
_EMBEDDED = "embedded broker: nothing is kept, nothing is proved"
_PER_MINUTE = 1_500_000  # days of subscribers, on two cores
_LIVE_DAYS = 14  # shown at a pace that a person can follow


def demo(  # noqa: PLR0913 - the options of a command are its parameters
    *,
    subscribers: Annotated[int, typer.Option(min=1, help="How many subscribers live in the city.")] = 20_000,
    days: Annotated[int, typer.Option(min=1, help="How many days are simulated.")] = 120,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same city.")] = 1,
    profile: Annotated[str, typer.Option(help="Profile in the rules folder's profiles/.")] = "demo",
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="Port of the page; 0 for any free one.")] = None,
    pace_s: Annotated[float, typer.Option(min=0.0, help="Seconds a day takes at the end, for who watches.")] = 4.0,
    exit_: Annotated[bool, typer.Option("--exit", help="End when all is done, at full speed.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Watch a simulated city's subscribers being warned.

    An embedded broker, simulated events, the whole service and a page; 20,000 subscribers and 120 days take about
    two minutes on two cores.

    Example: churn-warning demo --subscribers 5000
    """
    read = read_settings()
    rulebook = read_rulebook(read)
    _require_port(read.http.host, read.http.port if port is None else port)
    if not sys.stderr.isatty():
        minutes = round(subscribers * days / _PER_MINUTE + (0 if exit_ else min(days, _LIVE_DAYS) * pace_s / 60))
        takes = "about a minute" if minutes <= 1 else f"about {minutes} minutes"
        typer.echo(f"Living through {days} days of {subscribers:,} subscribers; this usually takes {takes}.", err=True)
    try:
        chosen = load_profile(read.rules.folder / "profiles" / f"{profile}.yaml")
        city = City(chosen, subscribers, seed, days=days)
        with mock_cluster() as address, tempfile.TemporaryDirectory() as folder:
            settings = _embedded(read, address, Path(folder), chosen, port)
            configure_logs(settings)
            given = Given(settings, rulebook)
            with faults_as_sentences():
                shown = asyncio.run(_show(given, city, None if exit_ else pace_s))
    except (ProfileError, MockMissingError) as error:
        fail(str(error))
    if shown is None:
        return
    answer, met = shown
    silent = [rule.id for rule in given.rulebook.rules if rule.id not in met]
    finish(answer, _sentence(answer), as_json=json_output)
    if silent:
        typer.echo(f"No subscriber met {', '.join(silent)}.", err=True)
        raise typer.Exit(NO)


def _require_port(host: str, port: int) -> None:
    """End at once, before a city is made, where the page cannot be served."""
    try:
        with socket.create_server((host, port)):
            return
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while")[0]  # Python's addition repeats the address
        fail(f"The page cannot be at {host}:{port} ({reason}): name another --port, or 0 for any free one")


def _embedded(settings: Settings, address: str, folder: Path, profile: Profile, port: int | None) -> Settings:
    """The settings of this process, but for what the demo has to decide itself."""
    return settings.model_copy(
        update={
            "kafka": settings.kafka.model_copy(
                update={"bootstrap_servers": address, "partitioner": "murmur2", "check_crcs": False}
            ),
            "topics": settings.topics.model_copy(update={"partitions": PARTITIONS, "prefix": ""}),
            "time": settings.time.model_copy(update={"clock": "log", "zone": profile.zone}),
            "snapshots": settings.snapshots.model_copy(update={"folder": str(folder)}),
            "http": settings.http if port is None else settings.http.model_copy(update={"port": port}),
            # Who watches the page wants no log, but for who asks for one.
            "log": settings.log.model_copy(
                update={} if "level" in settings.log.model_fields_set else {"level": "warning"}
            ),
        }
    )


async def _show(given: Given, city: City, pace_s: float | None) -> tuple[dict[str, Any], set[str]] | None:
    """Run the service and feed it the city; what came of it and the rules met, published or not.

    None where a person ended it before its time.
    """
    clock = given.clock
    begun_s = clock.elapsed_s()
    await create_topics(given.settings.kafka, specs_of(given.settings), 1)
    async with until_told() as told, running(given) as service:
        if pace_s is not None:
            typer.echo(f"The page is at {service.address} ({_EMBEDDED})", err=True)
        feeding = asyncio.create_task(_feed(given, city, service, pace_s))
        ending = asyncio.create_task(told.wait())
        await asyncio.wait((feeding, ending, service.task), return_when=asyncio.FIRST_COMPLETED)
        if service.task.done():
            await service.task
        if not feeding.done():
            feeding.cancel()
            return None
        await feeding
        answer = _answer(service, city, clock.elapsed_s() - begun_s)
        if pace_s is not None:
            typer.echo(f"{_sentence(answer)} The page stays until Ctrl-C.", err=True)
            await ending
            return None
        return answer, service.summary.met


async def _feed(given: Given, city: City, service: Running, pace_s: float | None) -> None:
    settings = given.settings
    feeder = KafkaFeeder(settings.kafka, Topics(), settings.topics.partitions)
    await feeder.start()
    sent, paced_from = 0, city.day_count - _LIVE_DAYS
    try:
        with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
            bar = progress.add_task("Living through the days", total=city.day_count)
            days = city.days()
            for number in range(city.day_count):
                day = await asyncio.to_thread(next, days)
                if pace_s and number >= paced_from:
                    await _send_slowly(feeder, day, pace_s, given.clock)
                else:
                    await feeder.send(day.keys, day.values, day.timestamps_us)
                sent += len(day.values)
                progress.advance(bar)
                last = day.day
                await service.until(partial(_has_taken, service, sent - _MOST_AHEAD))
            await feeder.finish(last)
            await service.until(lambda: service.summary.days[to_day(last)] == settings.topics.partitions)
    finally:
        await feeder.stop()


def _has_taken(service: Running, records: int) -> bool:
    return service.summary.events_in >= records


async def _send_slowly(feeder: KafkaFeeder, day: DayOfEvents, pace_s: float, clock: Clock) -> None:
    """A day in as many seconds, spread as its events are."""
    if not day.values:
        return
    begun_s, parts = clock.elapsed_s(), max(1, round(pace_s * 10))
    size = -(-len(day.values) // parts)
    for part in range(parts):
        span = slice(part * size, (part + 1) * size)
        if day.values[span]:
            await feeder.send(day.keys[span], day.values[span], day.timestamps_us[span])
        await asyncio.sleep(max(0.0, begun_s + (part + 1) * pace_s / parts - clock.elapsed_s()))


def _answer(service: Running, city: City, wall_s: float) -> dict[str, Any]:
    counted = service.summary.as_json()
    names = ("events_in", "rejected", "repeated", "late", "ignored", "warnings", "outbound", "withheld")
    return {
        "subscribers": city.population.height,
        **{name: counted[name] for name in names},
        "wall_s": round(wall_s, 1),
    }


def _sentence(answer: dict[str, Any]) -> str:
    warned, ordered = sum(answer["warnings"].values()), sum(answer["outbound"].values())
    return (
        f"{answer['events_in']:,} events of {answer['subscribers']:,} subscribers in {answer['wall_s']} s: "
        f"{warned:,} warnings, {ordered:,} outbound orders; {answer['rejected']:,} records rejected, "
        f"{answer['repeated']:,} repeated, {answer['late']:,} too late."
    )
