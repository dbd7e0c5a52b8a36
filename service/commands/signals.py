"""The command `rules signals`: what rules may name, with unit, meaning, when it is null and what it can be."""

import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, NamedTuple

import polars as pl
import typer

from service.app import domains, given_params, terms_of
from service.commands.console import fail, finish
from service.commands.context import AsJson, read_settings
from service.core.rules import Rulebook
from service.core.signals import Signal, topics, windows_of
from service.rulebook.loading import check
from service.rulebook.problems import suggest
from service.settings import Settings

_DERIVED = "made by the rulebook"
_INDENT = "    "
_SHOWN_DAYS = 30


class _Entry(NamedTuple):
    """One signal of the list."""

    topic: str
    signal: Signal
    expression: str | None = None  # as written, where the rulebook makes it


def signals(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Signals, or patterns of them such as 'quota_*'.")
    ] = None,
    *,
    json_output: AsJson = False,
) -> None:
    """List the signals that rules may name.

    Each has its unit or type, its meaning, when it is null (nothing else is ever null) and, where that is a closed
    set, all that it can be. Without names those by window are shown for one of the windows.

    Example: churn-warning rules signals spend_30d_drop 'quota_*'
    """
    settings = read_settings()
    known = dict(_entries(settings))
    chosen = _chosen(known, names) if names else known
    answer = {"signals": {name: _plain(entry) for name, entry in chosen.items()}}
    shown = chosen if names else _of_one_window(chosen)
    finish(answer, "\n".join(_told(shown, settings, whole=not names)), as_json=json_output)


def _entries(settings: Settings) -> Iterator[tuple[str, _Entry]]:
    for topic, known in topics(terms_of(settings)).items():
        for name, signal in known.items():
            yield name, _Entry(topic, signal)
    rulebook, problems = check(settings.rules.folder, domains(settings), given_params(settings))
    if rulebook is None:
        said = f"The rulebook has {len(problems)} problems, so its own signals are left out; `rules check` names them."
        typer.echo(said, err=True)
        return
    for name, derived in sorted(rulebook.derived.items()):
        signal = Signal(derived.dtype, derived.unit, derived.meaning, "anything that it is made of is null")
        yield name, _Entry(_DERIVED, signal, _written(rulebook, name) or str(derived.expression))


def _written(rulebook: Rulebook, name: str) -> str | None:
    """A derived signal's expression as its file has it."""
    said = rulebook.contents.get(f"signals/{name}.yaml")
    text = said.get("expression") if isinstance(said, dict) else None
    return " ".join(text.split()) if isinstance(text, str) else None


def _chosen(known: Mapping[str, _Entry], names: list[str]) -> dict[str, _Entry]:
    """The named ones in their order, or the end with what is wrong with each name."""
    found: dict[str, _Entry] = {}
    faults = []
    for name in names:
        met = {one: known[one] for one in known if fnmatchcase(one, name)}
        if not met:
            faults.append(f"there is no signal {name}{suggest(name, known)}")
        found |= met
    if faults:
        fail("\n".join(faults))
    return found


def _of_one_window(known: Mapping[str, _Entry]) -> dict[str, _Entry]:
    windows = windows_of(known)
    shown = min(windows, key=lambda days: (abs(days - _SHOWN_DAYS), days))
    return {name: entry for name, entry in known.items() if windows_of([name]) in (set(), {shown})}


def _told(shown: Mapping[str, _Entry], settings: Settings, *, whole: bool) -> Iterator[str]:
    """Topic by topic; piped each signal is one line, else its text is wrapped below its name."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    topic = None
    for name, entry in shown.items():
        if entry.topic != topic:
            if topic is not None:
                yield ""
            topic = entry.topic
            others = windows_of([name]) if whole else set()
            yield f"{topic[0].upper()}{topic[1:]}{_others(others, settings)}"
        kind = entry.signal.unit or _type(entry.signal.dtype)
        if width is None:
            yield f"  {name} [{kind}] {_meaning(entry)}"
        else:
            yield f"  {name} [{kind}]"
            yield textwrap.fill(_meaning(entry), width, initial_indent=_INDENT, subsequent_indent=_INDENT)


def _others(shown: set[int], settings: Settings) -> str:
    others = [f"{days}d" for days in settings.time.windows_days if days not in shown] if shown else []
    return f" (the same for {', '.join(others)})" if others else ""


def _meaning(entry: _Entry) -> str:
    signal = entry.signal
    parts = [signal.meaning]
    if entry.expression is not None:
        parts.append(f"= {entry.expression}")
    if signal.among:
        parts.append(f"one of: {', '.join(signal.among)}")
    if signal.null_when != "never":
        parts.append(f"null: {signal.null_when}")
    return "; ".join(parts)


def _type(dtype: pl.DataType) -> str:
    if dtype == pl.Boolean:
        return "boolean"
    if dtype.is_numeric():
        return "integer" if dtype.is_integer() else "number"
    return "text"


def _plain(entry: _Entry) -> dict[str, Any]:
    signal = entry.signal
    told = {
        "topic": entry.topic,
        "type": _type(signal.dtype),
        "unit": signal.unit or None,
        "meaning": signal.meaning,
        "null_when": None if signal.null_when == "never" else signal.null_when,
        "among": list(signal.among) or None,
        "least": signal.least,
        "most": signal.most,
    }
    return told if entry.expression is None else told | {"expression": entry.expression}
