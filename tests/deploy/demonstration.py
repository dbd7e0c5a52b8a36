"""The demo as people start it: a process of its own, a small city, a page to ask."""

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.scraping import free_port

PROGRAM = Path(sys.executable).with_name("churn-warning")
ROUTES = ("/v1/warnings", "/v1/rules", "/readyz", "/v1/subscribers/nobody")


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A running demo."""

    address: str  # host:port
    process: subprocess.Popen[str]
    log: Path

    def visit(self) -> None:
        """Ask what a front office asks; answers may be refusals while shards restore."""
        assert self.process.poll() is None, f"the demo ended: {self.log.read_text()[-2_000:]}"
        for route in ROUTES:
            try:
                with urllib.request.urlopen(f"http://{self.address}{route}", timeout=5) as answer:
                    answer.read()
            except urllib.error.HTTPError as refused:
                refused.close()
            except OSError:  # it does not listen yet
                return


@contextmanager
def demonstration(folder: Path) -> Iterator[Demonstration]:
    """Run `churn-warning demo` while inside."""
    port, log = free_port(), folder / "demo.log"
    command = [str(PROGRAM), "demo", "--subscribers", "1000", "--days", "120", "--pace-s", "20", "--port", str(port)]
    # A city so small would need no snapshot within the minutes of a test.
    environment = os.environ | {"CHURN_SNAPSHOTS__EVERY_RECORDS": "5000"}
    with log.open("w") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, text=True, env=environment)  # noqa: S603 - our own arguments
    try:
        yield Demonstration(f"127.0.0.1:{port}", process, log)
    finally:
        process.terminate()
        process.wait(timeout=20)
