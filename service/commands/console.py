"""How commands speak: one sentence on failure, a bar while a person watches, one JSON object as the last line."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn, TypeVar

import orjson
import typer
from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")

NO = 1  # the answer is no: a check or a test failed
CANNOT = 2  # bad input


def fail(sentence: str) -> NoReturn:
    """End with exit status 2 and a sentence on standard error."""
    typer.echo(sentence, err=True)
    raise typer.Exit(CANNOT)


def finish(answer: Mapping[str, Any], sentence: str, *, as_json: bool) -> None:
    """Print the outcome: a sentence for people, or one JSON object."""
    typer.echo(orjson.dumps(answer).decode() if as_json else sentence)


def printable(told: bytes | str) -> str:
    """What strangers say as text that does nothing to a terminal; what is no text, or not to be seen, is escaped."""
    data = told.encode(errors="surrogateescape") if isinstance(told, str) else told
    text = data.decode(errors="backslashreplace")
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def watched(items: Iterable[Item], doing: str, total: int | None = None) -> Iterator[Item]:
    """The items, with a progress bar on standard error while a person watches."""
    yield from track(
        items, doing, total=total, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True
    )
