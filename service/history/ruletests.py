"""Tests of rules, run: each test's subscribers live their days in the core, and who is warned is compared.

Tests live together as long as they begin on one day and are few: who is judged with whom changes nothing for so few.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import polars as pl

from service.core.calendar import day_end_us, to_date, to_day
from service.core.rules import Rulebook
from service.core.state import Config, State, new_state
from service.core.step import close_through
from service.history.past import Lot, Past, live_on
from service.history.warned import ORDERED, Warned, warned
from service.rulebook.cases import DAY_H, Case, Expected, Look, Person, Series
from service.rulebook.mapping import EVENTS
from service.rulebook.problems import Problem, RulebookError
from service.wire.decode import Intake, decode
from service.wire.records import Record

# Fewer than the core compares anybody with, or takes for a feed of their own.
_TOGETHER = 90
_HOUR_US = 3_600_000_000
_PUBLISHED = "published"
NOTHING = "nothing"

Watch = Callable[[Iterable["Life"]], Iterable["Life"]]


@dataclass(frozen=True, slots=True)
class Failure:
    """A look that found something else than was expected of a subscriber."""

    file: str
    line: int
    test: str
    subscriber: str
    at: str
    expected: str
    got: str

    def __str__(self) -> str:
        """In the manner of promtool."""
        place = f"{self.file}:{self.line}: {self.test}"
        return f"{place}\n  {self.subscriber} at {self.at}\n    expected: {self.expected}\n    got:      {self.got}"


@dataclass(slots=True)
class Tried:
    """What came of tests: the failures, and what each rule was seen to do: fires | stays | clears."""

    failures: list[Failure] = field(default_factory=list)
    seen: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def lacking(self, rulebook: Rulebook) -> dict[str, list[str]]:
        """What no test shows of each rule that is not deprecated."""
        wanted = {rule.id: SHOWN - self.seen[rule.id] for rule in rulebook.rules if rule.status != "deprecated"}
        return {rule: sorted(one) for rule, one in wanted.items() if one}


SHOWN = frozenset({"fires", "stays", "clears"})


@dataclass(frozen=True, slots=True)
class Life:
    """Tests whose subscribers live in one shard."""

    cases: tuple[Case, ...]


def try_cases(cases: Sequence[Case], rulebook: Rulebook, config: Config, watch: Watch = iter) -> Tried:
    """Run tests. Raises: RulebookError where an event of one is none."""
    check_events(cases)
    tried = Tried()
    for life in watch(lives(cases)):
        tried.failures += _live(life, rulebook, config)
    for case in cases:
        for rule, shown in _shown(case):
            tried.seen[rule].add(shown)
    tried.failures.sort(key=lambda one: (one.file, one.line, one.subscriber))
    return tried


def check_events(cases: Sequence[Case]) -> None:
    """Whether every event is as the contract has it. Raises: RulebookError."""
    lines = [(case, person, line) for case in cases for person in case.people for line in person.series]
    records = [
        Record("", 0, at, -1, b"who", _event("who", replace(line, times=1), case, at)[0][1])
        for at, (case, _, line) in enumerate(lines)
    ]
    problems = []
    for reject in decode(records, Intake(1, "any")).rejects:
        case, _, line = lines[reject.record.offset]
        problems.append(Problem(case.file, line.line, f"{line.type}: {reject.reason}"))
    if problems:
        raise RulebookError(problems)


def lives(cases: Sequence[Case]) -> list[Life]:
    """Which tests live together."""
    found: list[Life] = []
    room: dict[Any, int] = {}
    for case in cases:
        place = room.get(case.starts)
        if place is not None and sum(len(one.people) for one in found[place].cases) + len(case.people) <= _TOGETHER:
            found[place] = Life((*found[place].cases, case))
        else:
            room[case.starts] = len(found)
            found.append(Life((case,)))
    return found


def _live(life: Life, rulebook: Rulebook, config: Config) -> Iterator[Failure]:
    """Live day after day, and look where a test asks."""
    starts = to_day(life.cases[0].starts)
    config = replace(config, zone="UTC")
    lot, past = Lot(config, rulebook), Past(new_state(config))
    by_day = _by_day(life)
    for day in range(-1, max((look.at for case in life.cases for look in case.looks), default=-1) + 1):
        if day in by_day:
            past.state.judged = True  # nothing is standing: these rules are not new
            live_on(past, by_day[day], lot)
        close_through(past.state, rulebook, starts + day, "clock")
        looks = [(case, look) for case in life.cases for look in case.looks if look.at == day]
        if looks:
            yield from _look(life, looks, past.state)


def _by_day(life: Life) -> dict[int, pl.DataFrame]:
    """Events (columns of EVENTS) by day of the test; profiles are told the day before it begins."""
    starts_us = day_end_us(to_day(life.cases[0].starts) - 1, "UTC")
    told: dict[int, list[tuple[str, str, int, bytes]]] = defaultdict(list)
    for number, case in enumerate(life.cases):
        for person in case.people:
            who = _id(number, person.name)
            for place, line in enumerate((*_profile(person), *person.series)):
                for hours, value in _event(who, line, case, place):
                    told[hours // DAY_H].append((who, line.type, starts_us + hours * _HOUR_US, value))
    return {day: _frame(lines) for day, lines in told.items()}


def _profile(person: Person) -> Iterator[Series]:
    yield Series(0, -DAY_H, "subscriber.profile", person.profile, 1, DAY_H)
    for channel in person.consent:
        yield Series(0, -DAY_H, "consent.changed", {"channel": channel, "granted": True}, 1, DAY_H)


def _event(who: str, line: Series, case: Case, place: int) -> list[tuple[int, bytes]]:
    """The hour since day 0 and the JSON of each event of a line."""
    found = []
    for nth in range(line.times):
        hours = line.first_h + nth * line.step_h
        at = case.starts + timedelta(days=hours // DAY_H)
        event = {
            "id": f"{place}-{nth}",
            "type": line.type,
            "subscriber_id": who,
            "occurred_at": f"{at}T{hours % DAY_H:02d}:00:00Z",
        }
        found.append((hours, json.dumps({**event, **line.fields}).encode()))
    return found


def _frame(lines: list[tuple[str, str, int, bytes]]) -> pl.DataFrame:
    names = ("subscriber_id", "type", "occurred_us", "value")
    return pl.DataFrame(lines, schema={name: EVENTS[name] for name in names}, orient="row").select(list(EVENTS))


def _id(number: int, name: str) -> str:
    return f"{number}/{name}"


def _look(life: Life, looks: Sequence[tuple[Case, Look]], state: State) -> Iterator[Failure]:
    found: dict[str, list[Warned]] = defaultdict(list)
    for one in warned(state):
        found[one.subscriber].append(one)
    for case, look in looks:
        number = next(at for at, one in enumerate(life.cases) if one is case)
        for person in case.people:
            expected = [one for one in look.open if one.subscriber == person.name]
            got = [one for one in found[_id(number, person.name)] if not case.rules or one.rule in case.rules]
            said, heard = compare(expected, got)
            if said != heard:
                day = f"{look.at}d ({to_date(to_day(case.starts) + look.at)})"
                yield Failure(case.file, look.line, case.name, person.name, day, said, heard)


def compare(expected: Sequence[Expected], got: Sequence[Warned]) -> tuple[str, str]:
    """What was expected and what was found in words that are equal where it is the same.

    What is not published counts only where it is expected to be withheld.
    """
    wanted = {one.rule: one for one in expected}
    said = [_wanted(one) for one in sorted(expected, key=lambda one: one.rule)]
    heard = [
        _heard(one, wanted.get(one.rule))
        for one in sorted(got, key=lambda one: one.rule)
        if one.suppressed_by is None or one.rule in wanted
    ]
    return ", ".join(said) or NOTHING, ", ".join(heard) or NOTHING


def _wanted(one: Expected) -> str:
    told = [one.rule]
    if one.severity is not None:
        told.append(one.severity)
    if one.orders is not None:
        told.append(f"orders {_list(one.orders)}")
    if one.withheld is not None:
        told.append(f"withheld {_table(one.withheld)}")
    if one.why is not None:
        told.append(f"because '{one.why}'")
    if one.suppressed_by is not None:
        told.append(f"suppressed by {one.suppressed_by}")
    return " ".join(told)


def _heard(one: Warned, wanted: Expected | None) -> str:
    """A warning in the words of what was expected of it; all that matters where nothing was."""
    told = [one.rule]
    if wanted is None or wanted.severity is not None:
        told.append(one.severity)
    if wanted is not None and wanted.orders is not None:
        told.append(f"orders {_list(channel for channel, said in one.orders.items() if said == ORDERED)}")
    if wanted is not None and wanted.withheld is not None:
        told.append(f"withheld {_table({channel: said for channel, said in one.orders.items() if said != ORDERED})}")
    if wanted is not None and wanted.why is not None:
        told.append(f"because '{one.why['en']}'")
    if one.suppressed_by is not None:
        told.append(f"suppressed by {one.suppressed_by}")
    return " ".join(told)


def _list(channels: Iterable[str]) -> str:
    return f"[{', '.join(sorted(channels))}]"


def _table(reasons: Any) -> str:  # noqa: ANN401 - any mapping of texts
    return f"{{{', '.join(f'{channel}: {said}' for channel, said in sorted(reasons.items()))}}}"


def _shown(case: Case) -> Iterator[tuple[str, str]]:
    """What a test shows of rules: that one fires, that one it looks at never does, that one is open and then not."""
    open_at = [{(one.subscriber, one.rule) for one in look.open} for look in case.looks]
    for rule in {rule for look in open_at for _, rule in look}:
        yield rule, "fires"
    for person in case.people:
        for rule in case.rules:
            days = [(person.name, rule) in look for look in open_at]
            if not any(days):
                yield rule, "stays"
    for before, after in pairwise(open_at):
        for _, rule in before - after:
            yield rule, "clears"
