"""The service's own log: one line per happening, without personal data."""

import asyncio
import contextlib
import hashlib
import json
import logging
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

# Words of our own in paths; whatever else stands in a path may be somebody's id.
_PATH_WORDS = frozenset(
    (
        "v1",
        "subscribers",
        "warnings",
        "stream",
        "acknowledge",
        "rules",
        "lists",
        "page",
        "segments",
        "rolls",
        "schemas",
        "livez",
        "readyz",
        "metrics",
        "docs",
        "redoc",
        "openapi.json",
        "asyncapi.json",
        "console",
        "static",
        "internal",
        "ask",
        "favicon.ico",
    )
)
_REPEATED_S = 60.0
_CLIENT = "aiokafka"
_OF_THE_WIRE = (OSError, EOFError, asyncio.CancelledError)  # what a lost broker gives
_PROBES = ("/livez", "/readyz", "/metrics")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {10: "\\n", 13: "\\r", 9: "\\t"}
_CONTROLS |= {0x2028: "\\u2028", 0x2029: "\\u2029"}


class _Ids:
    """How ids are shown; see `show_ids`."""

    plain = False
    key = b""


def show_ids(*, plain: bool, id_key: str = "") -> None:
    """Whether ids are shown as they are from now on, and the secret that is mixed into their hashes else."""
    _Ids.plain = plain
    _Ids.key = hashlib.blake2b(id_key.encode(), digest_size=32).digest()


def hashed(subscriber_id: str) -> str:
    """What the log shows for a subscriber's id: 16 hexadecimal digits of a keyed hash, or at level debug the id."""
    if _Ids.plain:
        return subscriber_id
    return hashlib.blake2b(subscriber_id.encode("utf-8", "replace"), key=_Ids.key, digest_size=8).hexdigest()


def safe_path(path: str) -> str:
    """A request's path without its query and with a hash for every segment that is no word of our own."""
    path, question, _ = path.partition("?")
    segments = [part if part in _PATH_WORDS or not part else hashed(part) for part in path.split("/")]
    return "/".join(segments) + ("?..." if question else "")


def configure(
    level: Literal["debug", "info", "warning", "error"] = "info",
    form: Literal["auto", "json", "text"] = "auto",
    id_key: str = "",
    stream: TextIO | None = None,
) -> None:
    """Send every log record of the process to `stream` (standard error) in `form`; auto is text for a terminal.

    `id_key` is mixed into the hashes of ids, so that who knows an id cannot find it in the log.
    """
    stream = stream or sys.stderr
    show_ids(plain=level == "debug", id_key=id_key)
    handler = logging.StreamHandler(stream)
    as_text = form == "text" or (form == "auto" and stream.isatty())
    handler.setFormatter(_TextFormatter() if as_text else _JsonFormatter())
    handler.addFilter(_AccessFilter())
    if level != "debug":
        handler.addFilter(_BrieferClient())
    root = logging.getLogger()
    for former in root.handlers[:]:
        root.removeHandler(former)
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)
    # A client library's every rejoin is of use to who debugs, and to nobody else.
    for library in (_CLIENT, "httpx"):
        logging.getLogger(library).setLevel(logging.DEBUG if level == "debug" else logging.WARNING)


class _AccessFilter(logging.Filter):
    """Takes ids out of uvicorn's access lines, and leaves out probes that were answered well."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name != "uvicorn.access" or not isinstance(record.args, tuple) or len(record.args) != 5:  # noqa: PLR2004 - uvicorn's line has five parts
            return True
        client, method, path, version, status = record.args
        if str(path).startswith(_PROBES) and isinstance(status, int) and status < 400:  # noqa: PLR2004 - HTTP's errors begin there
            return False
        record.args = (client, method, safe_path(str(path)), version, status)
        return True


class _BrieferClient(logging.Filter):
    """Lets the client library say one thing once a minute, and an error of Kafka's in one line.

    Without its broker it tries a hundred times a second, and tells some of it as if it were a fault of the program.
    Where a producer is fenced it leaves behind futures that nobody has, of which asyncio tells when they are collected.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said_s: dict[tuple[str, int], float] = {}  # by logger and line

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        is_left_behind = record.name == "asyncio" and error is not None and _is_kafkas(error)
        if not (record.name.startswith(_CLIENT) or is_left_behind):
            return True
        said = record.name, record.lineno
        if record.created - self._said_s.get(said, -_REPEATED_S) < _REPEATED_S:
            return False
        self._said_s[said] = record.created
        if error is not None and _is_kafkas(error) and all(map(_is_of_a_lost_broker, _causes(error))):
            # A message that cannot be made is the handler's affair, and does not reach who logs.
            with contextlib.suppress(TypeError, ValueError, KeyError):
                first_line = record.getMessage().partition("\n")[0]
                record.msg, record.args, record.exc_info = f"{first_line}: {error}", None, None
        return True


def _is_kafkas(error: BaseException) -> bool:
    return type(error).__module__.startswith(_CLIENT)


def _is_of_a_lost_broker(error: BaseException) -> bool:
    return _is_kafkas(error) or isinstance(error, _OF_THE_WIRE)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """What an error came from, the nearest first."""
    cause = error.__cause__ or error.__context__
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


class _JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _instant(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class _TextFormatter(logging.Formatter):
    """A line for a person; what a stranger sent cannot break out of it."""

    def format(self, record: logging.LogRecord) -> str:
        parts = [record.getMessage(), *(f"{name}={value}" for name, value in _extra(record).items())]
        line = f"{_instant(record)} {record.levelname:<7} {record.name}: " + " ".join(parts).translate(_CONTROLS)
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line.encode("utf-8", "backslashreplace").decode()  # no stream can write a lone surrogate


def _instant(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _extra(record: logging.LogRecord) -> Mapping[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}
