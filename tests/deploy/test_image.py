"""The image's recipe, held to its word as far as that goes without a container: files, user, health check."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

ROOT = Path(__file__).parents[2]
RECIPE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


@contextmanager
def answering(status: int) -> Iterator[int]:
    """A server that answers everything with `status`; yields its port."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/livez" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_says_what_the_service_says(status: int, code: int) -> None:
    found = re.search(r"HEALTHCHECK .*\\\n *CMD (\[.*\])", RECIPE)
    assert found is not None
    [program, *arguments] = json.loads(found[1])
    assert program == "python"
    with answering(status) as port:
        done = subprocess.run(  # noqa: S603 - our own arguments
            [sys.executable, *arguments], env={"CHURN_HTTP__PORT": str(port)}, capture_output=True, check=False
        )
    assert done.returncode == code


def test_the_image_is_made_in_two_stages_and_runs_as_nobody() -> None:
    [_build, run] = RECIPE.split("\nFROM ")[1:]
    assert re.findall(r"^USER (\S+)$", run, re.MULTILINE) == ["churn"]
    assert "--require-hashes" in RECIPE


def test_all_that_is_copied_is_let_through() -> None:
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {name for line in re.findall(r"^COPY (?!--from)(.+)$", RECIPE, re.MULTILINE) for name in line.split()[:-1]}
    assert copied == let_through
    assert [name for name in copied if not (ROOT / name).exists()] == []
