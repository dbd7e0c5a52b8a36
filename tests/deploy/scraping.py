"""A real Prometheus with the shipped configuration, pointed at one service and made to look often."""

import asyncio
import json
import math
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

CONFIGURATION = Path(__file__).parents[2] / "deploy/prometheus"
_LOOK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running Prometheus."""

    address: str

    def query(self, expression: str) -> list[float]:
        """The values of an instant query, one per series."""
        asked = urllib.parse.urlencode({"query": expression})
        found = self._get(f"/api/v1/query?{asked}")
        assert found["status"] == "success", (expression, found)
        if found["data"]["resultType"] == "scalar":
            return [float(found["data"]["result"][1])]
        return [float(series["value"][1]) for series in found["data"]["result"]]

    def has_numbers(self, expression: str) -> bool:
        """Whether a query gives a series with a number."""
        return any(math.isfinite(value) for value in self.query(expression))

    def is_ready(self) -> bool:
        """Whether it answers questions."""
        try:
            with urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _get(self, path: str) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"http://{self.address}{path}", timeout=5) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            with error:
                return dict(json.load(error))


@contextmanager
def scraping(program: str, target: str, folder: Path) -> Iterator[Prometheus]:
    """Run Prometheus on a free port while inside, scraping `target` (host:port) every second."""
    configuration = YAML(typ="safe").load((CONFIGURATION / "prometheus.yml").read_text())
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    configuration["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "prometheus.yml").open("w") as file:
        YAML(typ="safe").dump(configuration, file)
    shutil.copy(CONFIGURATION / "rules.yml", folder)
    address = f"127.0.0.1:{free_port()}"
    command = [
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
    ]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)  # noqa: S603 - our own arguments
    try:
        yield Prometheus(address)
    finally:
        process.terminate()
        process.wait(timeout=20)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


async def until(condition: Callable[[], bool], what: str, within_s: float) -> None:
    """Wait for a condition; fails with `what` when it does not come true in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"after {within_s} s: {what}"
        await asyncio.sleep(_LOOK_EVERY_S)
