"""Sentences about a warning, with its numbers filled in."""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

UNKNOWN = "–"  # noqa: RUF001 - an en dash, which is read as "nothing known" in every language

_PLACE = re.compile(r"\{([^{}]*)\}")
_NAMED = re.compile(r"([a-z_][a-z0-9_.]*)(?::([a-z]+))?")
_BYTE_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_THOUSAND = 1000
_FEW = 10


def render(template: str, numbers: Mapping[str, object], currency_minor_digits: int = 2) -> str:
    """Fill `{signal}` and `{signal:format}` of a template; what is null or absent reads as a dash.

    `numbers` maps names to plain values in their catalogue's units (money in minor units, data in bytes). Formats are
    the keys of FORMATS; without one the value is written plainly.
    """
    return "".join(
        part if isinstance(part, str) else part.filled(numbers.get(part.name), currency_minor_digits)
        for part in _parts(template)
    )


class _Place(NamedTuple):
    """Where a number goes."""

    name: str
    write: Callable[[object], str] | None  # None: money, whose digits the operator sets

    def filled(self, value: object, minor_digits: int) -> str:
        if value is None:
            return UNKNOWN
        return _money(value, minor_digits) if self.write is None else self.write(value)


@lru_cache(maxsize=4096)
def _parts(template: str) -> tuple[str | _Place, ...]:
    """What a template is made of: words, and places for numbers."""
    parts: list[str | _Place] = []
    for at, text in enumerate(_PLACE.split(template)):
        if at % 2 == 0:
            parts.append(text)
        elif (named := _NAMED.fullmatch(text)) is None:
            parts.append(UNKNOWN)
        else:
            form = named[2] or "plain"
            parts.append(_Place(named[1], None if form == "money" else FORMATS.get(form, _plain)))
    return tuple(parts)


def placeholders(template: str) -> list[tuple[str, str]]:
    """The (name, format) pairs that a template names, in its order; the format is `plain` where none is given.

    Raises: ValueError, saying what is not a placeholder.
    """
    found = []
    for place in _PLACE.finditer(template):
        named = _NAMED.fullmatch(place[1])
        if named is None:
            raise ValueError(f"{place[0]} is not a placeholder: write {{signal}} or {{signal:format}}")
        found.append((named[1], named[2] or "plain"))
    if re.search(r"[{}]", _PLACE.sub("", template)):
        raise ValueError("a brace stands alone: write {signal} or {signal:format}")
    return found


def _number(value: object) -> float | int | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _plain(value: object) -> str:
    return f"{value:,.4g}" if isinstance(value, float) and not value.is_integer() else _whole(value)


def _whole(value: object) -> str:
    number = _number(value)
    return str(value) if number is None else f"{round(number):,}"


def _percent(value: object) -> str:
    number = _number(value)
    return str(value) if number is None else f"{round(number * 100)}%"


def _money(value: object, minor_digits: int = 2) -> str:
    number = _number(value)
    return str(value) if number is None else f"{number / 10**minor_digits:,.{minor_digits}f}"


def _days(value: object) -> str:
    number = _number(value)
    return str(value) if number is None else f"{round(number, 1):,g}"


def _bytes(value: object) -> str:
    number = _number(value)
    if number is None:
        return str(value)
    size, unit = float(number), 0
    while abs(size) >= _THOUSAND and unit < len(_BYTE_UNITS) - 1:
        size, unit = size / _THOUSAND, unit + 1
    digits = 1 if unit and abs(size) < _FEW else 0
    return f"{size:.{digits}f} {_BYTE_UNITS[unit]}"


FORMATS: Mapping[str, Callable[[object], str]] = {
    "percent": _percent,
    "money": _money,
    "minutes": _whole,
    "bytes": _bytes,
    "days": _days,
    "plain": _plain,
}
