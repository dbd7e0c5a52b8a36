"""The command `run`: the service, until it is told to stop."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated

import typer

from service.app import Given, UnfitError, running
from service.commands.console import fail
from service.commands.context import read_mapping, read_rulebook, read_settings
from service.kafka.connection import BrokerMissing
from service.logs import configure
from service.ports import Lost
from service.settings import Settings, SettingsError


def run(
    *,
    settings_file: Annotated[
        Path | None, typer.Option("--settings", help="Settings file; CHURN_SETTINGS_FILE if absent.")
    ] = None,
) -> None:
    """Run the service until it is told to stop.

    Usage events in, warnings and orders out, HTTP beside; SIGTERM or Ctrl-C stops it in order.

    Example: CHURN_KAFKA__BOOTSTRAP_SERVERS=broker:9092 churn-warning run
    """
    settings = read_settings(settings_file)
    given = Given(settings, read_rulebook(settings), read_mapping(settings, settings.rules.mapping))
    configure_logs(settings)
    with faults_as_sentences():
        asyncio.run(_serve(given))


def configure_logs(settings: Settings) -> None:
    """Write the log as the settings say."""
    key = settings.log.id_key
    configure(settings.log.level, settings.log.format, key.get_secret_value() if key else "")


@contextlib.contextmanager
def faults_as_sentences() -> Iterator[None]:
    """A service that cannot start ends the command with a sentence."""
    try:
        yield
    except (BrokerMissing, UnfitError, SettingsError, Lost) as error:
        fail(str(error))


@contextlib.asynccontextmanager
async def until_told() -> AsyncIterator[asyncio.Event]:
    """An event that SIGTERM and Ctrl-C set."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    try:
        yield told
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _serve(given: Given) -> None:
    async with until_told() as told, running(given) as service:
        typer.echo(f"Listening on {service.address}", err=True)
        ending = asyncio.create_task(told.wait())
        await asyncio.wait((ending, service.task), return_when=asyncio.FIRST_COMPLETED)
        if service.task.done():
            await service.task
