"""Calendars: runs of days in which habits change, and that no two of them speak of the same."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import combinations, pairwise

from service.core.calendar import to_day
from service.core.rules import Holiday
from service.rulebook.building import reader_of
from service.rulebook.crossing import Names
from service.rulebook.documents import Document
from service.rulebook.formats import CALENDAR
from service.rulebook.problems import Problem, RulebookError


def build_holidays(document: Document, names: Names) -> tuple[Holiday, ...]:
    """The holidays of a calendar; days of one file may not overlap. Raises: RulebookError."""
    reader = reader_of(document, CALENDAR, {}, {})
    if reader.problems:
        raise RulebookError(reader.problems)
    holidays = [
        Holiday(
            name=reader.text("holidays", at, "name"),
            first_day=to_day(date.fromisoformat(reader.text("holidays", at, "first"))),
            last_day=to_day(date.fromisoformat(reader.text("holidays", at, "last"))),
            markets=tuple(str(market) for market in reader.items("holidays", at, "markets")),
            shifts=dict(_shifts(reader.at("holidays", at, "shifts"))),
            mutes=names.resolve(reader, "holidays", at, "mutes"),
        )
        for at in range(len(reader.items("holidays")))
    ]
    in_order = sorted(enumerate(holidays), key=lambda entry: (entry[1].first_day, entry[0]))
    for (_, before), (at, after) in pairwise(in_order):
        if after.first_day <= before.last_day:
            reader.fault(("holidays", at), f"{after.name} overlaps {before.name}; expected each day once in a calendar")
    if reader.problems:
        raise RulebookError(reader.problems)
    return tuple(holidays)


def _shifts(told: object) -> Iterator[tuple[str, float]]:
    for measure, shift in told.items() if isinstance(told, Mapping) else ():
        yield str(measure), float(shift)


def find_clashes(calendars: Sequence[tuple[Document, tuple[Holiday, ...]]]) -> Iterator[Problem]:
    """Days of two calendars on which both shift the same measure of the same market: which one would count?"""
    for (first, theirs), (second, own) in combinations(calendars, 2):
        for at, holiday in enumerate(own):
            for other in theirs:
                if measures := _clash(holiday, other):
                    said = f"{holiday.name} overlaps {other.name} of {first.file}, and both shift {', '.join(measures)}"
                    yield second.problem(("holidays", at), f"{said}; expected a measure shifted once a day and market")


def _clash(one: Holiday, other: Holiday) -> Iterable[str]:
    overlap = one.first_day <= other.last_day and other.first_day <= one.last_day
    is_same_market = not one.markets or not other.markets or set(one.markets) & set(other.markets)
    return sorted(one.shifts.keys() & other.shifts.keys()) if overlap and is_same_market else ()
