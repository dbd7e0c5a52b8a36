"""What a client asks of a running service over HTTP, and waiting until its answer is as it should be."""

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

from tests.e2e.running import Service

Found = TypeVar("Found")

_LOOK_S = 0.03
_ANSWER_WITHIN_S = 10.0
_LISTENING = "Listening on "


@dataclass(frozen=True)
class Front:
    """The HTTP side of a service that runs."""

    service: Service
    address: str

    def ask(self, path: str, method: str = "GET", **more: Any) -> httpx.Response:
        """One request."""
        return httpx.request(method, self.address + path, timeout=_ANSWER_WITHIN_S, **more)

    def until(self, holds: Callable[[], Found], within_s: float = 30.0) -> Found:
        """What `holds` gives, as soon as it is true."""
        return until(self.service, holds, within_s)

    def until_ready(self, within_s: float = 30.0) -> None:
        """Return when all shards answer."""
        self.until(lambda: self.ask("/readyz").status_code == 200, within_s)

    def total(self, metric: str) -> int:
        """A counter's sum over its labels."""
        lines = self.ask("/metrics").text.splitlines()
        mine = [line for line in lines if line.startswith((f"{metric}{{", f"{metric} "))]
        return round(sum(float(line.rsplit(" ", 1)[1]) for line in mine))


def front_of(service: Service) -> Front:
    """The HTTP side of a service, once it is ready."""
    front = Front(service, until(service, lambda: _address(service), 30.0) or "")
    front.until_ready()
    return front


def until(service: Service, holds: Callable[[], Found], within_s: float) -> Found:
    """What `holds` gives, as soon as it is true; the service must live so long."""
    deadline = time.monotonic() + within_s
    while not (found := holds()):
        with contextlib.suppress(subprocess.TimeoutExpired):
            service.process.wait(_LOOK_S)
        assert service.process.returncode is None, f"the service ended: {service.last_lines()}"
        assert time.monotonic() < deadline, f"not within {within_s} s: {service.last_lines()}"
    return found


def _address(service: Service) -> str | None:
    return next((found[0] for found in addresses(service)), None)


def addresses(service: Service) -> list[list[str]]:
    """Where each worker has said that it listens: the shared address, and its own where there is one."""
    lines = service.log.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line.removeprefix(_LISTENING).split(" and ") for line in lines if line.startswith(_LISTENING)]


@dataclass
class Follower:
    """A client of the live stream."""

    events: list[str] = field(default_factory=list)  # by name, in order
    ended: threading.Event = field(default_factory=threading.Event)
    cut: bool = False  # the connection broke, instead of ending

    def read(self, address: str) -> None:
        try:
            with httpx.stream("GET", f"{address}/v1/warnings/stream", timeout=60) as answer:
                for line in answer.iter_lines():
                    if line.startswith("event: "):
                        self.events.append(line.removeprefix("event: "))
        except httpx.HTTPError:
            self.cut = True
        self.ended.set()


@contextlib.contextmanager
def following(front: Front) -> Iterator[Follower]:
    """A client that follows the live stream until the service ends it."""
    follower = Follower()
    thread = threading.Thread(target=follower.read, args=(front.address,), daemon=True)
    thread.start()
    front.until(lambda: "live" in follower.events)
    yield follower
    thread.join(_ANSWER_WITHIN_S)
    assert not thread.is_alive(), "the stream did not end with the service"
