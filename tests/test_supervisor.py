"""Workers are started again when they end, and all end together when they are told to, or cannot begin."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from service.supervisor import Supervisor
from tests.doubles.broker import until
from tests.doubles.clock import ManualClock

# Notes each start, and ends with the status that stands for it; without one it lives until it is told to end.
WORKER = """
import os, pathlib, sys
starts = pathlib.Path(os.environ["STARTS"])
number = len(starts.read_text().split()) if starts.exists() else 0
with starts.open("a") as file:
    file.write("x ")
statuses = os.environ["STATUSES"].split(",")
if number < len(statuses) and statuses[number]:
    sys.exit(int(statuses[number]))
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.supervisor._FIRST_S", 0.01)
    monkeypatch.setattr("service.supervisor._MOST_S", 0.02)


def environs(folder: Path, *statuses: str) -> list[dict[str, str]]:
    return [{"STARTS": str(folder / str(number)), "STATUSES": one} for number, one in enumerate(statuses)]


def starts(folder: Path, number: int) -> int:
    noted = folder / str(number)
    return len(noted.read_text().split()) if noted.exists() else 0


async def lived_through(folder: Path, statuses: Sequence[str], wanted: Sequence[int]) -> int:
    """The supervisor's status when it was told to end after so many starts of each."""
    told = asyncio.Event()
    supervisor = Supervisor([sys.executable, "-c", WORKER], environs(folder, *statuses), ManualClock())
    running = asyncio.create_task(supervisor.run(told))
    await until(lambda: [starts(folder, number) for number in range(len(wanted))] == list(wanted), 30)
    assert not running.done()
    told.set()
    return await running


async def test_who_ends_is_started_again_also_while_it_cannot_start(tmp_path: Path) -> None:
    assert await lived_through(tmp_path, ["1,2,2,0", ""], [5, 1]) == 0


async def test_who_cannot_begin_ends_all(tmp_path: Path) -> None:
    supervisor = Supervisor([sys.executable, "-c", WORKER], environs(tmp_path, "", "2"), ManualClock())
    async with asyncio.timeout(30):
        assert await supervisor.run(asyncio.Event()) == 2
    assert starts(tmp_path, 1) == 1
