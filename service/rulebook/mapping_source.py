"""Mapping files: from YAML to a checked mapping; every fault is told with its file and line."""

from collections.abc import Iterable
from datetime import time
from pathlib import Path
from typing import Any, get_args

import polars as pl
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from service.core.events import FIELDS
from service.rulebook.mapping_form import Column, ColumnType, Mapping, Spread, Take, Telling
from service.rulebook.mapping_sql import ExpressionError, compile_sql
from service.rulebook.problems import Problem, RulebookError, suggest
from service.settings.yaml_text import find_refusal
from service.settings.zones import is_zone

FOLDER = "mappings"
_KEYS = ("mapping", "why", "zone", "columns", "let", "reject", "subscriber", "key", "events")
_COLUMN_KEYS = ("type", "optional", "path", "take", "form")
_EVENT_KEYS = ("type", "name", "when", "at", "on", "spread", "time", "once", "fields", "constants")
_LIMIT = 2**63
_Node = CommentedMap | CommentedSeq
_MONTHS = frozenset(("bill_month",))  # numbers in the core, 2013-06 in an event


def load_mapping(rules: Path, name: str) -> Mapping:
    """The mapping `name` of a rules folder.

    Raises: RulebookError with all faults of the file.
    """
    folder = rules / FOLDER
    known = mapping_names(rules)
    file = f"{FOLDER}/{name}.yaml"
    if name not in known:
        there = f"there are {', '.join(known)}" if known else f"{folder} has none"
        raise RulebookError([Problem(file, 0, f"there is no mapping {name}{suggest(name, known)} ({there})")])
    try:
        text = (folder / f"{name}.yaml").read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RulebookError([Problem(file, 0, "it is not UTF-8 text")]) from error
    except OSError as error:
        raise RulebookError([Problem(file, 0, f"cannot be read: {error.strerror}")]) from error
    return read_mapping(text, name, file)


def mapping_names(rules: Path) -> list[str]:
    """The mappings of a rules folder."""
    return sorted(path.stem for path in (rules / FOLDER).glob("*.yaml"))


def read_mapping(text: str, name: str, file: str) -> Mapping:
    """A mapping from the text of its file; `file` is how faults name it.

    Raises: RulebookError with all faults.
    """
    if (refused := find_refusal(text)) is not None:
        raise RulebookError([Problem(file, *refused)])
    try:
        document = YAML(typ="rt").load(text)
    except YAMLError as error:
        mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
        what = (error.problem if isinstance(error, MarkedYAMLError) else None) or "it is not YAML"
        raise RulebookError([Problem(file, mark.line + 1 if mark else 0, what)]) from error
    sheet = _Sheet(file)
    if not isinstance(document, CommentedMap):
        raise RulebookError([Problem(file, 1, f"a mapping is a block of keys: {', '.join(_KEYS)}")])
    mapping = _mapping(sheet, document, name)
    if sheet.problems or mapping is None:
        raise RulebookError(sheet.problems)
    return mapping


class _Sheet:
    """The file being read: its problems, and the columns and names known so far."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.known: dict[str, pl.DataType] = {}

    def fault(self, line: int, message: str) -> None:
        self.problems.append(Problem(self.file, line, message))

    def keys(self, node: CommentedMap, allowed: Iterable[str], what: str) -> None:
        for key in node:
            if key not in allowed:
                self.fault(_line(node, key), f"{what} has no key {key}{suggest(str(key), allowed)}")

    def sql(self, node: _Node, key: str | int, wants: str | None = None) -> pl.Expr | None:
        """The expression under a key; `wants` is the kind of value that is expected there."""
        text = node[key]
        if isinstance(text, bool | int | float):
            text = str(text)
        if not isinstance(text, str):
            self.fault(_line(node, key), f"{key}: expected an SQL expression")
            return None
        try:
            expression, dtype = compile_sql(text, self.known)
        except ExpressionError as error:
            self.fault(_line(node, key), f"{key}: {error}")
            return None
        made = _as(expression, dtype, wants)
        if made is None:
            self.fault(_line(node, key), f"{key}: `{text}` is {_plain(dtype)}, expected {wants}")
        elif isinstance(key, str) and wants is None:
            self.known[key] = dtype
        return made


def _line(node: _Node, key: str | int | None = None) -> int:
    """The line of a key of a block, or of an item of a list, or of the whole, from 1 on."""
    if key is None:
        return int(node.lc.line) + 1
    position = node.lc.item(key) if isinstance(node, CommentedSeq) else node.lc.key(key)
    return int(position[0]) + 1


def _plain(dtype: pl.DataType) -> str:
    kinds = {"Boolean": "a flag", "String": "text", "Date": "a day", "Datetime": "an instant", "Null": "always null"}
    return "a number" if dtype.is_numeric() else kinds.get(dtype.base_type().__name__, str(dtype))


def _as(expression: pl.Expr, dtype: pl.DataType, wants: str | None) -> pl.Expr | None:
    """The expression as the wanted kind of value, None where it is of another kind."""
    if wants is None:
        return expression
    if wants == "a whole number":
        if dtype.is_integer():
            return expression.cast(pl.Int64)
        # A fraction is rounded half to even, as money and seconds are.
        return expression.cast(pl.Float64).round(0, mode="half_to_even").cast(pl.Int64) if dtype.is_numeric() else None
    if wants == "an instant":
        return expression if isinstance(dtype, pl.Datetime) else None
    kinds = {"a flag": pl.Boolean(), "text": pl.String(), "a day": pl.Date()}
    return expression if dtype == kinds[wants] else None


def _mapping(sheet: _Sheet, document: CommentedMap, name: str) -> Mapping | None:
    sheet.keys(document, _KEYS, "a mapping")
    missing = [key for key in ("mapping", "why", "columns", "subscriber", "key", "events") if key not in document]
    for key in missing:
        sheet.fault(1, f"{key} is missing")
    if missing:
        return None
    if document["mapping"] != name:
        sheet.fault(_line(document, "mapping"), f"mapping: expected {name}, the name of the file")
    zone = _zone(sheet, document)
    columns = tuple(_columns(sheet, document))
    rejects = tuple(_rejects(sheet, document))
    lets = tuple(_lets(sheet, document))
    subscriber = sheet.sql(document, "subscriber", "text")
    keys = tuple(_key(sheet, document))
    tellings = tuple(_tellings(sheet, document))
    if sheet.problems or subscriber is None:
        return None
    return Mapping(name, zone, columns, lets, rejects, subscriber, keys, tellings)


def _zone(sheet: _Sheet, document: CommentedMap) -> str:
    zone = str(document.get("zone", "UTC"))
    if not is_zone(zone):
        sheet.fault(_line(document, "zone"), f"zone: there is no time zone {zone}; write one such as Asia/Shanghai")
    return zone


def _columns(sheet: _Sheet, document: CommentedMap) -> Iterable[Column]:
    told = document["columns"]
    if not isinstance(told, CommentedMap):
        sheet.fault(_line(document, "columns"), "columns: expected a block of names and types")
        return
    types = get_args(ColumnType)
    for name, form in told.items():
        line = _line(told, name)
        if isinstance(form, CommentedMap):
            sheet.keys(form, _COLUMN_KEYS, f"column {name}")
        given: dict[str, Any] = dict(form) if isinstance(form, CommentedMap) else {"type": form}
        kind: Any = given.get("type")
        take = given.get("take")
        path = tuple(str(given.get("path", name)).split("."))
        if kind not in types:
            sheet.fault(line, f"column {name}: type {kind}{suggest(str(kind), types)} (there are {', '.join(types)})")
        elif take is not None and take not in get_args(Take):
            sheet.fault(line, f"column {name}: take {take} (there are {', '.join(get_args(Take))})")
        elif (take is not None) != any(step.endswith("[]") for step in path):
            sheet.fault(line, f"column {name}: a path through a list (step[]) and `take` go together")
        elif not isinstance(given.get("form", ""), str):
            sheet.fault(line, f'column {name}: form is how times are written, such as "%d.%m.%Y", in quotes')
        elif str(name).startswith("_"):
            sheet.fault(line, f"column {name}: a name must not begin with _; choose another, and `path` leads to it")
        else:
            column = Column(str(name), kind, bool(given.get("optional", False)), path, take, given.get("form"))
            sheet.known[column.name] = column.dtype
            yield column


def _rejects(sheet: _Sheet, document: CommentedMap) -> Iterable[tuple[str, pl.Expr]]:
    for node in _blocks(sheet, document, "reject"):
        sheet.keys(node, ("when", "reason"), "a reject")
        if not ({"when", "reason"} <= node.keys()):
            sheet.fault(_line(node), "a reject has `when` and `reason`")
        elif (when := sheet.sql(node, "when", "a flag")) is not None:
            yield str(node["reason"]), when


def _lets(sheet: _Sheet, document: CommentedMap) -> Iterable[tuple[str, pl.Expr]]:
    told = document.get("let")
    if told is None:
        return
    if not isinstance(told, CommentedMap):
        sheet.fault(_line(document, "let"), "let: expected a block of names and SQL expressions")
        return
    for name in told:
        if str(name).startswith("_"):
            sheet.fault(_line(told, name), f"let: {name} must not begin with _; choose another name")
        elif name in sheet.known:
            sheet.fault(_line(told, name), f"let: there is a column {name} already; choose another name")
        elif (made := sheet.sql(told, name)) is not None:
            yield str(name), made


def _key(sheet: _Sheet, document: CommentedMap) -> Iterable[pl.Expr]:
    told = document["key"]
    if not isinstance(told, CommentedSeq) or not told:
        sheet.fault(_line(document, "key"), "key: expected a list of SQL expressions that together name a row")
        return
    for at in range(len(told)):
        # Whatever it is becomes text: an id is made of it.
        known = dict(sheet.known)
        made = sheet.sql(told, at)
        sheet.known = known
        if made is not None:
            yield made.cast(pl.String)


def _tellings(sheet: _Sheet, document: CommentedMap) -> Iterable[Telling]:
    names: set[str] = set()
    for node in _blocks(sheet, document, "events"):
        sheet.keys(node, _EVENT_KEYS, "an event")
        kind = node.get("type")
        if not isinstance(kind, str) or kind not in FIELDS:
            sheet.fault(_line(node), f"there is no event type {kind}{suggest(str(kind), FIELDS)}")
            continue
        name = str(node.get("name", kind))
        if name in names:
            sheet.fault(_line(node), f"two events are called {name}: give one a `name` of its own")
        names.add(name)
        yield from _telling(sheet, node, kind, name)


def _telling(sheet: _Sheet, node: CommentedMap, kind: str, name: str) -> Iterable[Telling]:
    times = [key for key in ("at", "on", "spread") if key in node]
    if len(times) != 1:
        sheet.fault(_line(node), f"event {name}: exactly one of at, on and spread says when it happens")
        return
    fields = tuple(_fields(sheet, node, kind))
    spread = _spread(sheet, node, kind) if "spread" in node else None
    made = Telling(
        name=name,
        type=kind,
        fields=fields,
        when=sheet.sql(node, "when", "a flag") if "when" in node else None,
        at=sheet.sql(node, "at", "an instant") if "at" in node else None,
        on=sheet.sql(node, "on", "a day") if "on" in node else None,
        spread=spread,
        time_s=_time_s(sheet, node),
        once=node.get("once", False) is True,
    )
    if spread is not None and spread.field not in dict(fields):
        sheet.fault(_line(node, "spread"), f"spread: field {spread.field} is not among the event's fields")
    yield made


def _spread(sheet: _Sheet, node: CommentedMap, kind: str) -> Spread | None:
    told = node["spread"]
    if not isinstance(told, CommentedMap) or set(told) != {"field", "from", "to"}:
        sheet.fault(_line(node, "spread"), "spread: expected field, from and to")
        return None
    first, last = sheet.sql(told, "from", "a day"), sheet.sql(told, "to", "a day")
    field = str(told["field"])
    if not FIELDS[kind].get(field, pl.String()).is_integer():
        sheet.fault(_line(told, "field"), f"spread: {field} is no number of {kind}")
        return None
    return None if first is None or last is None else Spread(field, first, last)


def _time_s(sheet: _Sheet, node: CommentedMap) -> int:
    told = node.get("time", "00:00")
    try:
        moment = time.fromisoformat(str(told))
    except ValueError:
        sheet.fault(_line(node, "time"), f'time: {told} is no time of day; write "12:00", in quotes')
        return 0
    return moment.hour * 3600 + moment.minute * 60 + moment.second


def _fields(sheet: _Sheet, node: CommentedMap, kind: str) -> Iterable[tuple[str, pl.Expr]]:
    for block in ("fields", "constants"):
        told = node.get(block) or CommentedMap()
        if not isinstance(told, CommentedMap):
            sheet.fault(_line(node, block), f"{block}: expected a block of the event's fields")
            continue
        for field in told:
            if field not in FIELDS[kind]:
                sheet.fault(_line(told, field), f"{kind} has no field {field}{suggest(str(field), FIELDS[kind])}")
                continue
            wants = _wanted(field, FIELDS[kind][field])
            made = sheet.sql(told, field, wants) if block == "fields" else _constant(sheet, told, field, wants)
            if made is not None:
                yield str(field), made


def _wanted(field: str, dtype: pl.DataType) -> str:
    if dtype.is_integer() and field not in _MONTHS:
        return "a whole number"
    return {"Boolean": "a flag", "Date": "a day"}.get(dtype.base_type().__name__, "text")


def _constant(sheet: _Sheet, told: CommentedMap, field: str, wants: str) -> pl.Expr | None:
    value = told[field]
    if wants == "text" and isinstance(value, str):
        return pl.lit(str(value))
    if wants == "a flag" and isinstance(value, bool):
        return pl.lit(value)
    if wants == "a whole number" and type(value) is not bool and isinstance(value, int) and abs(value) < _LIMIT:
        return pl.lit(int(value), pl.Int64)
    sheet.fault(_line(told, field), f"{field}: {value!r} is no constant for {wants}")
    return None


def _blocks(sheet: _Sheet, document: CommentedMap, key: str) -> Iterable[CommentedMap]:
    told = document.get(key) or CommentedSeq()
    if not isinstance(told, CommentedSeq):
        sheet.fault(_line(document, key), f"{key}: expected a list")
        return
    for at, node in enumerate(told):
        if isinstance(node, CommentedMap):
            yield node
        else:
            sheet.fault(_line(told, at), f"{key}: expected a block of keys")
