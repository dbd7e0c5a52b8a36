"""The service's own log: one line per happening, nobody's id in it, and no way to forge a line."""

import asyncio
import gc
import io
import json
import logging
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError

from service.logs import configure, hashed, safe_path

log = logging.getLogger("service.test")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    configure(stream=io.StringIO())
    logging.captureWarnings(capture=False)
    logging.getLogger("aiokafka").setLevel(logging.NOTSET)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def access(path: str, status: int = 200) -> None:
    logging.getLogger("uvicorn.access").info('%s - "%s %s HTTP/%s" %d', "10.0.0.1:1", "GET", path, "1.1", status)


def test_a_line_is_one_object_with_its_fields(stream: io.StringIO) -> None:
    configure(stream=stream)
    log.info("day %s closed", "2013-08-31", extra={"partition": 3})
    [line] = lines(stream)
    assert line.pop("time").endswith("Z")
    assert line == {"level": "info", "logger": "service.test", "message": "day 2013-08-31 closed", "partition": 3}


def test_an_exception_stays_within_its_line(stream: io.StringIO) -> None:
    configure(stream=stream)
    log.error("failed", exc_info=ValueError("broken\nin two"))
    [line] = lines(stream)
    assert "ValueError: broken\nin two" in line["exception"]


def test_text_is_for_terminals(stream: io.StringIO) -> None:
    terminal = Terminal()
    configure(stream=terminal)
    log.warning("slow", extra={"partition": 3})
    assert terminal.getvalue().endswith(" WARNING service.test: slow partition=3\n")
    configure(stream=stream)
    log.warning("slow")
    assert lines(stream)[0]["message"] == "slow"


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("id_", ["a\nb", "a\r\nb", "\x1b[31m", "\u2028", "\x85", "lone \ud800", "日本"])
def test_no_id_can_forge_a_line(stream: io.StringIO, form: Literal["json", "text"], id_: str) -> None:
    configure("debug", form, stream=stream)
    log.info("seen %s", hashed(id_))
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b" not in stream.getvalue()


def test_ids_are_hashed_with_the_key(stream: io.StringIO) -> None:
    configure(stream=stream, id_key="one")
    first = hashed("sub-1")
    assert first == hashed("sub-1") != hashed("sub-2")
    assert len(first) == 16
    assert "sub-1" not in first
    configure(stream=stream, id_key="two")
    assert hashed("sub-1") != first


def test_debug_shows_ids(stream: io.StringIO) -> None:
    configure("debug", stream=stream)
    assert hashed("sub-1") == "sub-1"


@pytest.mark.parametrize(
    ("path", "safe"),
    [
        ("/livez", "/livez"),
        ("/v1/warnings/stream", "/v1/warnings/stream"),
        ("/v1/subscribers/sub-1", "/v1/subscribers/{}"),
        ("/v1/subscribers?msisdn=8613800000000", "/v1/subscribers?..."),
        ("/v1/warnings/sub-1.drop-voice.15950/acknowledge", "/v1/warnings/{}/acknowledge"),
    ],
)
def test_paths_bear_no_id(stream: io.StringIO, path: str, safe: str) -> None:
    configure(stream=stream)
    secret = next((part for part in path.split("/") if part.startswith("sub-")), "")
    assert safe_path(path) == safe.format(hashed(secret))


def test_access_lines_bear_no_id(stream: io.StringIO) -> None:
    configure(stream=stream)
    access("/v1/subscribers/sub-1?msisdn=8613800000000")
    [line] = lines(stream)
    assert line["message"] == f'10.0.0.1:1 - "GET /v1/subscribers/{hashed("sub-1")}?... HTTP/1.1" 200'


def test_probes_are_written_only_when_they_fail(stream: io.StringIO) -> None:
    configure(stream=stream)
    access("/readyz")
    access("/metrics")
    access("/readyz", 503)
    assert ["503" in line["message"] for line in lines(stream)] == [True]


def test_configuring_again_replaces_what_was(stream: io.StringIO) -> None:
    configure(stream=io.StringIO())
    configure("warning", stream=stream)
    log.info("not written")
    log.warning("once")
    assert [line["message"] for line in lines(stream)] == ["once"]


def test_the_client_library_says_one_thing_once_a_minute(stream: io.StringIO) -> None:
    configure(stream=stream)
    library = logging.getLogger("aiokafka.consumer")
    for _ in range(3):
        library.error("no broker")
        log.error("ours")
    assert [line["message"] for line in lines(stream)].count("no broker") == 1
    assert [line["message"] for line in lines(stream)].count("ours") == 3


def test_an_error_of_kafkas_is_one_line_of_the_client_and_any_other_keeps_its_traceback(stream: io.StringIO) -> None:
    configure(stream=stream)
    sender, coordinator = logging.getLogger("aiokafka.producer.sender"), logging.getLogger("aiokafka.consumer")
    sender.error("Unexpected error in sender routine", exc_info=KafkaConnectionError("closed"))
    sender.error("Lost", exc_info=because(KafkaConnectionError("closed"), ConnectionResetError(104, "reset")))
    coordinator.error("Unexpected %s", "error", exc_info=ValueError("a fault"))
    coordinator.error("Wrapped", exc_info=because(KafkaError("of a worker"), ZeroDivisionError("a fault")))
    log.error("ours", exc_info=KafkaConnectionError("closed"))
    theirs, wire, *others = lines(stream)
    assert theirs["message"] == "Unexpected error in sender routine: KafkaConnectionError: closed"
    assert wire["message"] == "Lost: KafkaConnectionError: closed"
    assert not {"exception"} & {*theirs, *wire}
    assert all(told in line["exception"] for line, told in zip(others, ("a fault", "a fault", "closed"), strict=True))


async def test_what_the_client_leaves_behind_is_one_line(stream: io.StringIO) -> None:
    configure(stream=stream)
    for error in (KafkaConnectionError("closed"), KafkaConnectionError("closed"), ValueError("a fault")):
        asyncio.get_running_loop().create_future().set_exception(error)
        del error
        gc.collect()
    theirs, ours = lines(stream)
    assert theirs["message"] == "Future exception was never retrieved: KafkaConnectionError: closed"
    assert "exception" not in theirs
    assert "ValueError: a fault" in ours["exception"]


def because(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def test_a_message_that_cannot_be_made_does_not_fell_the_client(
    stream: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(stream=stream)
    logging.getLogger("aiokafka.consumer").error("bad %d", "x", exc_info=KafkaConnectionError("closed"))
    assert "Logging error" in capsys.readouterr().err
