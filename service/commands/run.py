"""The command `run`: the service, until it is told to stop."""

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated

import typer

from service.app import Given, UnfitError, running
from service.clock import SystemClock
from service.commands.console import fail
from service.commands.context import read_mapping, read_rulebook, read_settings
from service.kafka.connection import BrokerMissing
from service.logs import configure
from service.ports import Lost
from service.settings import Settings, SettingsError
from service.supervisor import Supervisor, settings_of_workers, shared_port


def run(
    *,
    workers: Annotated[
        int,
        typer.Option(
            min=1,
            help="Processes that share the partitions and the port; each has a port of its own after that one, "
            "for its metrics.",
        ),
    ] = 1,
    settings_file: Annotated[
        Path | None, typer.Option("--settings", help="Settings file; CHURN_SETTINGS_FILE if absent.")
    ] = None,
    attended: Annotated[bool, typer.Option(hidden=True, help="Stop when standard input ends.")] = False,
) -> None:
    """Run the service until it is told to stop.

    Usage events in, warnings and orders out, HTTP beside; SIGTERM or Ctrl-C stops it in order.

    Example: CHURN_KAFKA__BOOTSTRAP_SERVERS=broker:9092 churn-warning run --workers 4
    """
    settings = read_settings(settings_file)
    given = Given(settings, read_rulebook(settings), read_mapping(settings, settings.rules.mapping))
    configure_logs(settings)
    with faults_as_sentences():
        if workers == 1:
            asyncio.run(_serve(given, attended=attended))
        else:
            raise typer.Exit(asyncio.run(_supervise(settings, workers, settings_file)))


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


async def _supervise(settings: Settings, workers: int, settings_file: Path | None) -> int:
    command = [sys.executable, "-P", "-m", "service", "run", "--attended"]  # not what a folder here is called
    if settings_file is not None:
        command += ["--settings", str(settings_file)]
    with shared_port(settings.http) as port:
        environs = [{**os.environ, **own} for own in settings_of_workers(settings, workers, port)]
        async with until_told() as told:
            return await Supervisor(command, environs, SystemClock()).run(told)


def _stop_at_end_of_input(told: asyncio.Event) -> None:
    """Whoever started us has ended, however that came."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        while os.read(sys.stdin.fileno(), 1024):  # past Python's own buffer, whose lock would outlive its end
            pass
        with contextlib.suppress(RuntimeError):  # the loop has ended before
            loop.call_soon_threadsafe(told.set)

    threading.Thread(target=read, daemon=True).start()


async def _serve(given: Given, *, attended: bool) -> None:
    async with until_told() as told, running(given) as service:
        if attended:
            _stop_at_end_of_input(told)
        typer.echo(f"Listening on {' and '.join(service.addresses)}", err=True)
        ending = asyncio.create_task(told.wait())
        await asyncio.wait((ending, service.task), return_when=asyncio.FIRST_COMPLETED)
        if service.task.done():
            await service.task
