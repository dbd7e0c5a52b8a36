"""Tests of rules as their authors write them: named subscribers, their events in short, who is warned when.

0d usage.voice seconds=600 x60 every 1d     day 0 at noon, and on 59 days after it
90d8h np.queried                            day 90 at eight
"""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from service.core.events import CHANNELS, CLOSED, FIELDS
from service.core.rules import SEVERITIES
from service.rulebook.documents import Document, Steps, read_document
from service.rulebook.problems import Problem, RulebookError, suggest
from service.rulebook.shapes import Day, Each, Fields, Named, Number, Shape, Text

STARTS = date(2026, 1, 1)  # a Thursday; of no meaning but that every run sees the same
NOON_H, DAY_H = 12, 24
_OFFSET = r"([0-9]+)d(?:([0-9]+)h)?"
_STEP = re.compile(r"([1-9][0-9]*)([dh])")
_TIMES = re.compile(r"x([1-9][0-9]*)")
_MOST = 10_000  # events of one line: more is a slip
_PROFILE = FIELDS["subscriber.profile"]
_SHAPES: Mapping[type[pl.DataType], Shape] = {
    pl.String: Text("as the customer system has it"),
    pl.Int64: Number("as the customer system has it", is_whole=True),
    pl.Date: Day("as the customer system has it"),
}

_EXPECTED = Fields(
    "a warning; only what is named of it is compared",
    {
        "subscriber": Text("whose; may be left out where the test has one subscriber"),
        "rule": Text("a rule's id"),
        "severity": Text("its urgency", among=SEVERITIES),
        "why": Text("its sentence in English"),
        "orders": Each("the channels that are ordered; [] for none", Text("a channel", among=CHANNELS), least=0),
        "withheld": Named("the channels that are not, each with the reason", Text("such as no_consent, porting")),
        "suppressed_by": Text("why it is not published: such as experimental, rule:<id>; without it, it is published"),
    },
    ("rule",),
)
_SUBSCRIBER = Fields(
    "a subscriber: what the customer system says, and what they do",
    {
        **{name: _SHAPES[dtype.base_type()] for name, dtype in _PROFILE.items()},
        "tenure": Text("how long a subscriber on day 0", pattern="[0-9]+d", hint="a number of days like 900d"),
        "consent": Each("the channels they agreed to", Text("a channel", among=CHANNELS)),
        "events": Each("<day> <type> <field>=<value> ... x<times> every <step>", Text("one line", pattern=r"\S.*")),
    },
)
_CASE = Fields(
    "one test",
    {
        "name": Text("what is shown, in a sentence"),
        "starts": Day(f"day 0; without it {STARTS}"),
        "rules": Each("only warnings of these rules are looked at; without it of all", Text("a rule's id")),
        "subscribers": Named("by a name each", _SUBSCRIBER),
        "expect": Each(
            "what is true at the close of a day",
            Fields(
                "one look",
                {
                    "at": Text("the day that has just closed", pattern="[0-9]+d", hint="a day of the test like 90d"),
                    "open": Each("all published warnings that are open then; [] for none", _EXPECTED, least=0),
                },
                ("at", "open"),
            ),
        ),
    },
    ("name", "subscribers", "expect"),
)
TEST = Fields("tests of rules", {"tests": Each("one after another", _CASE)}, ("tests",))


@dataclass(frozen=True, slots=True)
class Series:
    """The same event once or several times: first so many hours after day 0 began, then every `step_h` hours."""

    line: int
    first_h: int
    type: str
    fields: Mapping[str, Any]
    times: int
    step_h: int


@dataclass(frozen=True, slots=True)
class Person:
    """A subscriber of a test: fields of the profile as events have them, consents, and what happens."""

    name: str
    profile: Mapping[str, Any]
    consent: tuple[str, ...]
    series: tuple[Series, ...]


@dataclass(frozen=True, slots=True)
class Expected:
    """A warning that must be open; None is not compared, but that without `suppressed_by` it is published."""

    subscriber: str
    rule: str
    severity: str | None = None
    why: str | None = None
    orders: tuple[str, ...] | None = None
    withheld: Mapping[str, str] | None = None
    suppressed_by: str | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What must be open at the close of a day of the test."""

    line: int
    at: int
    open: tuple[Expected, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """One test; `rules` empty means that all are looked at. `looks` are in order of days."""

    file: str
    line: int
    name: str
    starts: date
    rules: frozenset[str]
    people: tuple[Person, ...]
    looks: tuple[Look, ...]


def read_cases(files: Sequence[Path], rule_ids: Iterable[str]) -> tuple[Case, ...]:
    """The tests of YAML files, of rules of these ids. Raises: RulebookError with every problem of every file."""
    known = frozenset(rule_ids)
    cases: list[Case] = []
    problems: list[Problem] = []
    for file in files:
        document = read_document(file.parent, file.name)
        if isinstance(document, Problem):
            problems.append(document._replace(file=str(file)))
            continue
        reading = _Reading(Document(str(file), document.data, document.lines), known)
        cases += reading.cases()
        problems += reading.problems
    if problems:
        raise RulebookError(problems)
    return tuple(cases)


@dataclass(slots=True)
class _Reading:
    """One file being read."""

    document: Document
    rule_ids: frozenset[str]
    problems: list[Problem] = field(default_factory=list)

    def cases(self) -> Iterator[Case]:
        """Its tests, as far as they are sound."""
        self.problems += [self.document.problem(steps, said) for steps, said in TEST.faults(self.document.data, ())]
        if self.problems:
            return
        data: Any = self.document.data
        for at, told in enumerate(data["tests"]):
            yield self._case(("tests", at), told)

    def _case(self, steps: Steps, told: Mapping[str, Any]) -> Case:
        starts = date.fromisoformat(told.get("starts", str(STARTS)))
        rules = [self._rule((*steps, "rules", at), rule) for at, rule in enumerate(told.get("rules", ()))]
        if not told["subscribers"]:
            self._fault((*steps, "subscribers"), "subscribers: expected one at least")
        people = tuple(
            self._person((*steps, "subscribers", name), name, one or {}, starts)
            for name, one in told["subscribers"].items()
        )
        looks = tuple(
            self._look((*steps, "expect", at), look, told["subscribers"], frozenset(rules))
            for at, look in enumerate(told["expect"])
        )
        return Case(
            file=self.document.file,
            line=self._line(steps),
            name=told["name"],
            starts=starts,
            rules=frozenset(rules),
            people=people,
            looks=tuple(sorted(looks, key=lambda look: look.at)),
        )

    def _person(self, steps: Steps, name: str, told: Mapping[str, Any], starts: date) -> Person:
        profile = {key: told[key] for key in _PROFILE if key in told}
        if "tenure" in told:
            if "activated_on" in told:
                self._fault((*steps, "tenure"), f"{name}: tenure and activated_on say the same; remove one")
            profile["activated_on"] = str(starts - timedelta(days=int(told["tenure"].removesuffix("d"))))
        lines = [self._series((*steps, "events", at), line, starts) for at, line in enumerate(told.get("events", ()))]
        return Person(name, profile, tuple(told.get("consent", ())), tuple(line for line in lines if line is not None))

    def _look(self, steps: Steps, told: Mapping[str, Any], names: Mapping[str, Any], rules: frozenset[str]) -> Look:
        expected = []
        for at, one in enumerate(told["open"]):
            where = (*steps, "open", at)
            rule = self._rule((*where, "rule"), one["rule"])
            if rules and rule in self.rule_ids and rule not in rules:
                self._fault((*where, "rule"), f"{rule} is not among the rules of this test: {', '.join(sorted(rules))}")
            subscriber = one.get("subscriber", next(iter(names)) if len(names) == 1 else "")
            if not subscriber:
                self._fault(where, f"whose warning? name the subscriber: {' | '.join(names)}")
            elif subscriber not in names:
                near = suggest(subscriber, names) or f", expected {' | '.join(names)}"
                self._fault((*where, "subscriber"), f"there is no subscriber {subscriber}{near}")
            expected.append(
                Expected(
                    subscriber=subscriber,
                    rule=rule,
                    severity=one.get("severity"),
                    why=" ".join(one["why"].split()) if "why" in one else None,
                    orders=tuple(one["orders"]) if "orders" in one else None,
                    withheld=one.get("withheld"),
                    suppressed_by=one.get("suppressed_by"),
                )
            )
        return Look(self._line(steps), int(told["at"].removesuffix("d")), tuple(expected))

    def _rule(self, steps: Steps, rule: str) -> str:
        if rule not in self.rule_ids:
            self._fault(steps, f"there is no rule {rule}{suggest(rule, self.rule_ids)}")
        return rule

    def _series(self, steps: Steps, line: str, starts: date) -> Series | None:
        try:
            return parse_series(line, starts, self._line(steps))
        except ValueError as error:
            self._fault(steps, str(error))
            return None

    def _fault(self, steps: Steps, message: str) -> None:
        self.problems.append(self.document.problem(steps, message))

    def _line(self, steps: Steps) -> int:
        return self.document.problem(steps, "").line


def parse_series(text: str, starts: date, line: int = 0) -> Series:
    """A line of events, see the module. Raises: ValueError, in a sentence."""
    first, *words = shlex.split(text)
    if (offset := re.fullmatch(_OFFSET, first)) is None:
        raise ValueError(f"{first} is no time, expected a day of the test like 0d, or with an hour like 90d8h")
    hour = NOON_H if offset[2] is None else int(offset[2])
    if hour >= DAY_H:
        raise ValueError(f"{first}: a day has the hours 0 to 23")
    if not words:
        raise ValueError(f"{text}: expected a type after the time, such as usage.voice")
    event_type, *words = words
    if event_type not in FIELDS:
        raise ValueError(f"there is no event type {event_type}{suggest(event_type, FIELDS)}")
    fields = dict(_field(event_type, word, starts) for word in words if "=" in word)
    times, step_h = _repetition([word for word in words if "=" not in word])
    return Series(line, int(offset[1]) * DAY_H + hour, event_type, fields, times, step_h)


def _repetition(words: list[str]) -> tuple[int, int]:
    if not words:
        return 1, DAY_H
    times, *rest = words
    if (found := _TIMES.fullmatch(times)) is None or (rest and rest[0] != "every") or len(rest) not in (0, 2):
        raise ValueError(f"{' '.join(words)}: expected <field>=<value> ..., then x<times>, then every <step>")
    if int(found[1]) > _MOST:
        raise ValueError(f"{times}: at most x{_MOST}")
    step = _STEP.fullmatch(rest[1]) if rest else _STEP.fullmatch("1d")
    if step is None:
        raise ValueError(f"every {rest[1]}: expected a step like 1d or 6h")
    return int(found[1]), int(step[1]) * (DAY_H if step[2] == "d" else 1)


def _field(event_type: str, word: str, starts: date) -> tuple[str, Any]:
    name, _, text = word.partition("=")
    known = FIELDS[event_type]
    if name not in known:
        near = suggest(name, known) or (f", expected {', '.join(known)}" if known else ", it has none")
        raise ValueError(f"{event_type} has no field {name}{near}")
    among = CLOSED.get((event_type, name))
    if among and text not in among:
        raise ValueError(f"{name}: {text} is unknown, expected {' | '.join(among)}{suggest(text, among)}")
    return name, _value(name, known[name], text, starts)


def _value(name: str, dtype: pl.DataType, text: str, starts: date) -> Any:  # noqa: ANN401 - what JSON can hold
    if dtype == pl.Int64:
        if not re.fullmatch("-?[0-9]+", text):
            raise ValueError(f"{name}: expected a whole number, found {text}")
        return int(text)
    if dtype == pl.Boolean:
        if text not in ("true", "false"):
            raise ValueError(f"{name}: expected true or false, found {text}")
        return text == "true"
    if dtype == pl.Date and re.fullmatch("[0-9]+d", text):
        return str(starts + timedelta(days=int(text.removesuffix("d"))))
    return text
