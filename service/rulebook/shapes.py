"""A small language for the shape of data files: checked with every fault named, and told to editors as JSON Schema."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from math import isfinite

from service.rulebook.documents import Steps
from service.rulebook.problems import suggest

Fault = tuple[Steps, str]


@dataclass(frozen=True, slots=True)
class Text:
    """A non-empty text; one of `among` where given, matching `pattern` where given (`hint` says it in words)."""

    about: str
    among: tuple[str, ...] = ()
    pattern: str = ""
    hint: str = ""

    def faults(self, value: object, steps: Steps) -> Iterator[Fault]:
        """What is wrong with a value."""
        if not isinstance(value, str) or not value.strip():
            yield steps, f"{_at(steps)}expected {self.hint or 'a text'}, found {_name(value)}"
        elif self.among and value not in self.among:
            yield (
                steps,
                f"{_at(steps)}{value} is unknown, expected {' | '.join(self.among)}{suggest(value, self.among)}",
            )
        elif self.pattern and not re.fullmatch(self.pattern, value):
            yield steps, f"{_at(steps)}expected {self.hint}, found {value}"

    def schema(self) -> dict[str, object]:
        """Its JSON Schema."""
        made: dict[str, object] = {"type": "string", "minLength": 1, "description": self.about}
        if self.among:
            made["enum"] = list(self.among)
        if self.pattern:
            made["pattern"] = f"^(?:{self.pattern})$"
        return made


@dataclass(frozen=True, slots=True)
class Number:
    """A number between two bounds, both included."""

    about: str
    least: float = 0
    most: float | None = None
    is_whole: bool = False

    def faults(self, value: object, steps: Steps) -> Iterator[Fault]:
        """What is wrong with a value."""
        kind = "a whole number" if self.is_whole else "a number"
        allowed: type | tuple[type, ...] = int if self.is_whole else (int, float)
        is_in = (
            isinstance(value, allowed)
            and not isinstance(value, bool)
            and self.least <= float(str(value)) <= (float("inf") if self.most is None else self.most)
        )
        if not is_in:
            upto = "" if self.most is None else f" to {self.most:g}"
            yield steps, f"{_at(steps)}expected {kind} from {self.least:g}{upto}, found {_name(value)}"

    def schema(self) -> dict[str, object]:
        """Its JSON Schema."""
        made: dict[str, object] = {
            "type": "integer" if self.is_whole else "number",
            "minimum": self.least,
            "description": self.about,
        }
        return made if self.most is None else {**made, "maximum": self.most}


def day_of(value: object) -> date | None:
    """The date that a text says, None where it says none."""
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Day:
    """A calendar date."""

    about: str

    def faults(self, value: object, steps: Steps) -> Iterator[Fault]:
        """What is wrong with a value."""
        if not isinstance(value, str) or day_of(value) is None:
            yield steps, f"{_at(steps)}expected a date like 2026-02-15, found {_name(value)}"

    def schema(self) -> dict[str, object]:
        """Its JSON Schema."""
        return {"type": "string", "format": "date", "description": self.about}


@dataclass(frozen=True, slots=True)
class Value:
    """A number, a text, true or false."""

    about: str

    def faults(self, value: object, steps: Steps) -> Iterator[Fault]:
        """What is wrong with a value."""
        if not isinstance(value, str | int | float) or (isinstance(value, float) and not isfinite(value)):
            yield steps, f"{_at(steps)}expected a number, a text, true or false, found {_name(value)}"

    def schema(self) -> dict[str, object]:
        """Its JSON Schema."""
        return {"type": ["number", "string", "boolean"], "description": self.about}


@dataclass(frozen=True, slots=True)
class Each:
    """A list of at least `least` things of a shape."""

    about: str
    of: "Shape"
    least: int = 1

    def faults(self, value: object, steps: Steps) -> Iterator[Fault]:
        """What is wrong with a value."""
        if not isinstance(value, list) or len(value) < self.least:
            wanted = "a list with something in it" if self.least else "a list"
            yield steps, f"{_at(steps)}expected {wanted}, found {_name(value)}"
            return
        for at, inner in enumerate(value):
            yield from self.of.faults(inner, (*steps, at))

    def schema(self) -> dict[str, object]:
        """Its JSON Schema."""
        return {"type": "array", "minItems": self.least, "items": self.of.schema(), "description": self.about}


@dataclass(frozen=True, slots=True)
class Named:
    """Things of one shape by names of their own."""

    about: str
    of: "Shape"
    names: str = "[a-z][a-z0-9_]*"
    required: tuple[str, ...] = ()

    def faults(self, value: object, steps: Steps) -> Iterator[Fault]:
        """What is wrong with a value."""
        if not isinstance(value, dict):
            yield steps, f"{_at(steps)}expected names with values, found {_name(value)}"
            return
        for name, inner in value.items():
            if not re.fullmatch(self.names, name):
                yield (*steps, name), f"{_at(steps)}{name} is no name; use a-z, 0-9 and _"
            yield from self.of.faults(inner, (*steps, name))
        for name in self.required:
            if name not in value:
                yield steps, f"{_at(steps)}{name} is missing"

    def schema(self) -> dict[str, object]:
        """Its JSON Schema."""
        made: dict[str, object] = {
            "type": "object",
            "propertyNames": {"pattern": f"^(?:{self.names})$"},
            "additionalProperties": self.of.schema(),
            "description": self.about,
        }
        return {**made, "required": list(self.required)} if self.required else made


@dataclass(frozen=True, slots=True)
class Fields:
    """A table of known fields; those in `required` must stand in it."""

    about: str
    of: Mapping[str, "Shape"]
    required: tuple[str, ...] = ()
    also: Callable[[dict[str, object], Steps], Iterator[Fault]] = field(default=lambda _value, _steps: iter(()))

    def faults(self, value: object, steps: Steps) -> Iterator[Fault]:
        """What is wrong with a value."""
        if not isinstance(value, dict):
            yield steps, f"{_at(steps)}expected fields {', '.join(self.of)}, found {_name(value)}"
            return
        for name, inner in value.items():
            if name in self.of:
                yield from self.of[name].faults(inner, (*steps, name))
            else:
                known = suggest(name, self.of) or f"; known are {', '.join(self.of)}"
                yield (*steps, name), f"{_at(steps)}unknown key {name}{known}"
        for name in self.required:
            if name not in value:
                yield steps, f"{_at(steps)}{name} is missing: {self.of[name].about}"
        yield from self.also(value, steps)

    def schema(self) -> dict[str, object]:
        """Its JSON Schema."""
        return {
            "type": "object",
            "properties": {name: shape.schema() for name, shape in self.of.items()},
            "required": list(self.required),
            "additionalProperties": False,
            "description": self.about,
        }


@dataclass(frozen=True, slots=True)
class Either:
    """Something plain, or a table that says more."""

    about: str
    plain: "Shape"
    table: "Shape"

    def faults(self, value: object, steps: Steps) -> Iterator[Fault]:
        """What is wrong with a value."""
        return (self.table if isinstance(value, dict) else self.plain).faults(value, steps)

    def schema(self) -> dict[str, object]:
        """Its JSON Schema."""
        return {"anyOf": [self.plain.schema(), self.table.schema()], "description": self.about}


Shape = Text | Number | Day | Value | Each | Named | Fields | Either


def _at(steps: Steps) -> str:
    return ".".join(map(str, steps)) + ": " if steps else ""


def _name(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    if isinstance(value, str):
        return f"the text {value}" if value.strip() else "an empty text"
    return str(value).lower() if isinstance(value, bool) else str(value)
