"""The command `replay`: a usage file as events onto the topic, at any speed, and then the end of the feed."""

import asyncio
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl
import typer

from service.app import UnfitError
from service.clock import Clock, SystemClock
from service.commands.broker import require_topics
from service.commands.console import fail, finish, watched
from service.commands.context import note_silence, read_mapping, read_settings
from service.core.calendar import day_at, local_days, to_date
from service.history.files import FileError, Source, read_usage
from service.history.pace import Portion, portions
from service.kafka.connection import BrokerMissing
from service.kafka.feeder import KafkaFeeder
from service.ports import Lost
from service.settings import Settings
from service.wire.topics import Topics


def replay(  # noqa: PLR0913 - the options of a command are its parameters
    file: Annotated[Path, typer.Argument(help="Parquet, CSV or NDJSON; NDJSON of our own events needs no mapping.")],
    *,
    mapping: Annotated[str | None, typer.Option(help="Mapping in the rules folder's mappings/.")] = None,
    speed: Annotated[
        float | None, typer.Option(min=0.001, help="Times as fast as it happened; as fast as can be if absent.")
    ] = None,
    close: Annotated[
        bool, typer.Option(help="At the end close the days up to the file's last (for a service with clock: log).")
    ] = True,
    through: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Close up to this day instead.")
    ] = None,
    settings_file: Annotated[
        Path | None, typer.Option("--settings", help="Settings file; CHURN_SETTINGS_FILE if absent.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Send a usage file's events to the usage topic.

    They are sent in order of time, and then the feed is ended, so that a service with clock: log closes the days.

    Example: churn-warning replay usage.parquet --mapping prepaid_monthly
    """
    if through is not None and not close:
        fail("--through and --no-close exclude each other: a day to close up to, or none")
    settings = read_settings(settings_file)
    clock = SystemClock()
    begun_s = clock.elapsed_s()
    try:
        usage = read_usage(Source(file, read_mapping(settings, mapping)))
        latest_us = clock.now_us() + settings.time.future_tolerance_s * 1_000_000
        days = _days(usage.events, settings.time.zone, latest_us)
        last = through.date() if through else days[1]
        if last > to_date(day_at(latest_us, settings.time.zone)):
            fail(f"--through {last} is yet to come, and no day is closed before its time: name an earlier one")
        _note_odd_day(last, days)
        _note_late(settings, days[1], clock)
        asyncio.run(_send(settings, portions(usage.events, speed), last if close else None, clock))
    except (FileError, BrokerMissing, UnfitError, Lost) as error:
        fail(str(error))
    answer: dict[str, Any] = {
        "events": usage.events.height,
        "rows_rejected": usage.rejects.height,
        "first_day": str(days[0]),
        "last_day": str(days[1]),
        "closed_through": str(last) if close else None,
        "wall_s": round(clock.elapsed_s() - begun_s, 3),
    }
    sentence = f"Sent {answer['events']:,} events of {days[0]} to {days[1]}; {usage.rejects.height} rows told none."
    finish(answer, sentence, as_json=json_output)


def _days(events: pl.DataFrame, zone: str, latest_us: int) -> tuple[date, date]:
    """First and last local day of the events that can count: one that is dated later is no reason to close days."""
    times = events["occurred_us"].drop_nulls()
    times = times.filter(times.is_between(0, latest_us))
    if times.is_empty():
        raise FileError("the file tells no event with a time, from 1970 to now")
    first, last = local_days(np.array([times.min(), times.max()]), zone).tolist()
    return to_date(first), to_date(last)


def _note_odd_day(through: date, days: tuple[date, date]) -> None:
    """Closing before the file begins closes nothing of it, after its end makes everybody silent."""
    first, last = days
    if through < first:
        typer.echo(
            f"--through {through} lies before the file's first event of {first}: no day of it is closed.", err=True
        )
    note_silence(through, last)


def _note_late(settings: Settings, last: date, clock: Clock) -> None:
    """Under `wall` the days of an old file are closed already; that is said beforehand."""
    time = settings.time
    horizon = max(time.late_days, time.late_days_roaming, *time.late_days_by_type.values())
    today = to_date(day_at(clock.now_us(), time.zone))
    if time.clock == "wall" and (today - last).days > horizon:
        typer.echo(
            f"The file ends on {last}, beyond every late horizon: under CHURN_TIME__CLOCK=wall all of it "
            "comes too late. For days of the past set log, for the service as well.",
            err=True,
        )


async def _send(settings: Settings, paced: Iterator[Portion], through: date | None, clock: Clock) -> None:
    topics = Topics(settings.topics.prefix)
    await require_topics(settings, topics.usage, topics.feedback)
    feeder = KafkaFeeder(settings.kafka, topics, settings.topics.partitions)
    await feeder.start()
    begun_s = clock.elapsed_s()
    try:
        for portion in watched(paced, "Replaying"):
            await asyncio.sleep(max(0.0, portion.due_s - (clock.elapsed_s() - begun_s)))
            keys = portion.events["subscriber_id"].cast(pl.Binary).to_list()
            await feeder.send(keys, portion.events["value"].to_list())
        if through is not None:
            await feeder.finish(through)
    finally:
        await feeder.stop()
