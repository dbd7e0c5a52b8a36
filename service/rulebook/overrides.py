"""Parameters whose value depends on the subscriber: a default, and overrides for a market, a tier or an area."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import polars as pl

from service.rulebook.documents import Steps
from service.rulebook.problems import suggest

Kind = Literal["boolean", "number", "text", "date"]
Scalar = float | int | str | bool


@dataclass(frozen=True, slots=True)
class Overridden:
    """The value is that of the first override whose signals all have the values it names, else the default."""

    default: Scalar
    overrides: tuple[tuple[Mapping[str, Scalar], Scalar], ...]

    @property
    def values(self) -> tuple[Scalar, ...]:
        """All values there can be, the default first."""
        return self.default, *(value for _, value in self.overrides)

    @property
    def names(self) -> tuple[str, ...]:
        """The signals that decide."""
        return tuple(dict.fromkeys(name for where, _ in self.overrides for name in where))

    def __str__(self) -> str:
        """As people read it."""
        cases = (
            f"WHEN {' AND '.join(f'{name} = {written(one)}' for name, one in where.items())} THEN {written(value)}"
            for where, value in self.overrides
        )
        return f"CASE {' '.join(cases)} ELSE {written(self.default)} END"


Param = Scalar | Overridden
Params = Mapping[str, Param]


def kind_of(dtype: pl.DataType) -> Kind | None:
    """The kind of a column's values, None for what the language does not speak of."""
    if dtype.is_numeric():
        return "number"
    kinds: Mapping[type[pl.DataType], Kind] = {
        pl.Boolean: "boolean",
        pl.String: "text",
        pl.Enum: "text",
        pl.Date: "date",
    }
    return kinds.get(dtype.base_type())


def kind_of_value(value: Param) -> Kind:
    """The kind of a parameter's value."""
    if isinstance(value, Overridden):
        return kind_of_value(value.default)
    return "boolean" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"


def values_of(value: Param | None) -> tuple[Scalar, ...]:
    """All values that a parameter can have, the default first."""
    return () if value is None else value.values if isinstance(value, Overridden) else (value,)


def default_of(value: Param) -> Scalar:
    """The value that a parameter has where nothing overrides it."""
    return value.default if isinstance(value, Overridden) else value


def written(value: Scalar) -> str:
    """A value as conditions write it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value.replace(chr(39), chr(39) * 2)}'" if isinstance(value, str) else str(value)


def read_param(told: object, signals: Mapping[str, pl.DataType], fault: Callable[[Steps, str], None]) -> Param | None:
    """A parameter as its file gives it, None where it is none; `fault` takes what is wrong, by the steps to it.

    The shape of what is told has been checked; faults of it are told already.
    """
    if isinstance(told, str | int | float):
        return told
    if not isinstance(told, dict) or not isinstance(told.get("default"), str | int | float):
        return None
    default: Scalar = told["default"]
    overrides: list[tuple[Mapping[str, Scalar], Scalar]] = []
    faults: list[tuple[Steps, str]] = []
    for at, override in enumerate(told["overrides"] if isinstance(told.get("overrides"), list) else ()):
        if not isinstance(override, dict) or not all(isinstance(one, str | int | float) for one in override.values()):
            return None
        faults += [(("overrides", at, *step), said) for step, said in _faults(override, default, signals)]
        where = {name: value for name, value in override.items() if name != "value"}
        overrides.append((where, override.get("value", default)))
    for steps, said in faults:
        fault(steps, said)
    return None if faults or not overrides else Overridden(default, tuple(overrides))


def _faults(
    override: dict[str, Scalar], default: Scalar, signals: Mapping[str, pl.DataType]
) -> Iterator[tuple[tuple[str, ...], str]]:
    wanted = kind_of_value(default)
    if "value" in override and kind_of_value(override["value"]) != wanted:
        yield ("value",), f"{written(override['value'])} is no {wanted}, which the default is"
    if not override.keys() - {"value"}:
        yield (), "expected signals with the values they must have, like market: campus"
    for name, value in override.items():
        if name == "value":
            continue
        dtype = signals.get(name)
        if dtype is None:
            yield (name,), f"unknown signal {name}{suggest(name, signals)}"
        elif (kind := kind_of(dtype)) not in ("text", "number"):
            yield (name,), f"{name} is a {kind}, expected a signal that is a text or a number"
        elif kind_of_value(value) != kind:
            yield (name,), f"{name} is a {kind}, {written(value)} is none"
        elif isinstance(dtype, pl.Enum) and value not in (known := dtype.categories.to_list()):
            near = suggest(str(value), known) or f"; expected {' | '.join(known)}"
            yield (name,), f"{name} is never {written(value)}{near}"
