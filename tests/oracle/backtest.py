"""How well the warnings open at the close of a day name those who left."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from tests.oracle.episodes import Warned


@dataclass(frozen=True, slots=True)
class Score:
    """Of one group of warnings; what has no denominator is None."""

    warned: int
    precision: float | None
    recall: float | None
    lift: float | None


def score(warned: set[str], left: Mapping[str, bool]) -> Score:
    """Against every labelled subscriber."""
    named = warned & left.keys()
    leavers = {subscriber for subscriber, flag in left.items() if flag}
    hits = len(named & leavers)
    precision = hits / len(named) if named else None
    recall = hits / len(leavers) if leavers else None
    rate = len(leavers) / len(left)
    return Score(len(named), precision, recall, precision / rate if precision is not None and rate else None)


def groups(warnings: Iterable[Warned], day: date) -> dict[str, set[str]]:
    """Subscribers with a warning open at the close of `day`: by rule, severity, outbound topic, and `any`."""
    found: dict[str, set[str]] = {"any": set(), "outbound.call": set()}
    for warning in warnings:
        if not warning.is_open_on(day):
            continue
        names = ["any", warning.rule, warning.severity]
        if warning.asks_for_call:
            names.append("outbound.call")
        for name in names:
            found.setdefault(name, set()).add(warning.subscriber)
    return found
