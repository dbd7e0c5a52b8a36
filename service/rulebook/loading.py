"""A rules folder becomes a rulebook, or the list of all that is wrong with it."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import polars as pl

from service.core.rules import CallOrder, Derived, Holiday, Limits, Roll, Rule, Rulebook
from service.rulebook.building import Shared, build_params, build_roll, build_rule
from service.rulebook.calendars import build_holidays, find_clashes
from service.rulebook.call_order import build_call_order
from service.rulebook.crossing import Names, find_circles
from service.rulebook.derived import Making
from service.rulebook.documents import Document, read_document
from service.rulebook.limits import build_limits
from service.rulebook.overrides import Params, Scalar
from service.rulebook.problems import Problem, RulebookError
from service.rulebook.segments import Segments, build_segments

LISTS, CALENDARS, SIGNALS = "lists", "calendars", "signals"
SEGMENTS_FILE, PARAMS_FILE, LIMITS_FILE = "segments.yaml", "params.yaml", "limits.yaml"
CALL_ORDER_FILE = "call_order.yaml"
OWN_FILES = (SEGMENTS_FILE, PARAMS_FILE, LIMITS_FILE, CALL_ORDER_FILE)
_OWN_FILES = f"{', '.join(OWN_FILES[:-1])} or {OWN_FILES[-1]}"
# Folders beside the rules that others read: usage mappings, simulated cities, tests of the rules.
ELSEWHERE = ("mappings", "profiles", "tests")

# What conditions and sentences may name without any file that gives it; a folder's own parameters go before it.
GIVEN: Mapping[str, Scalar] = MappingProxyType({"currency": "CNY"})

_HASH_DIGITS = 16
_ID = "[a-z][a-z0-9_]*"


def default_folder() -> Path:
    """The shipped rules: beside the package in a checkout, else in the working directory, as in the image."""
    beside = Path(__file__).resolve().parents[2] / "rules"
    return beside if beside.is_dir() else Path.cwd() / "rules"


def load(folder: Path, catalogue: Mapping[str, pl.DataType], given: Mapping[str, Scalar] = GIVEN) -> Rulebook:
    """Read a rules folder whose conditions are over the signals of `catalogue` (name -> dtype).

    `given` are the parameters that the settings bring.

    Raises: RulebookError with every problem of every file.
    """
    rulebook, problems = check(folder, catalogue, given)
    if rulebook is None:
        raise RulebookError(problems)
    return rulebook


def check(
    folder: Path, catalogue: Mapping[str, pl.DataType], given: Mapping[str, Scalar] = GIVEN
) -> tuple[Rulebook | None, tuple[Problem, ...]]:
    """The rulebook of a folder, or None and all its problems in order of file and line."""
    reading = _Reading(catalogue, given)
    if not folder.is_dir():
        reading.problems.append(Problem(str(folder), 0, "no such folder; name the one that holds the rules"))
    else:
        reading.read(folder)
    if reading.problems:
        return None, RulebookError(reading.problems).problems
    return reading.rulebook(), ()


def build(
    contents: Mapping[str, object], catalogue: Mapping[str, pl.DataType], given: Mapping[str, Scalar] = GIVEN
) -> Rulebook:
    """The rulebook whose files say this (see Rulebook.contents); problems name no lines, for those are not kept.

    Raises: RulebookError with every problem of every file.
    """
    reading = _Reading(catalogue, given)
    reading.take([Document(file, data, None) for file, data in contents.items()], "the rulebook")
    if reading.problems:
        raise RulebookError(reading.problems)
    return reading.rulebook()


@dataclass(slots=True)
class _Reading:
    """What has been read so far."""

    catalogue: Mapping[str, pl.DataType]
    params: Params
    problems: list[Problem] = field(default_factory=list)
    contents: dict[str, object] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)  # rule id -> file
    rules: list[Rule] = field(default_factory=list)
    rolls: list[Roll] = field(default_factory=list)
    segments: Segments = field(default_factory=Segments)
    calendars: list[tuple[Document, tuple[Holiday, ...]]] = field(default_factory=list)
    limits: Limits = field(default_factory=Limits)
    call_order: CallOrder = field(default_factory=CallOrder)
    derived: Mapping[str, Derived] = field(default_factory=dict)
    shared: Shared = field(default_factory=lambda: Shared({}, {}))

    def read(self, folder: Path) -> None:
        """Read every file of a folder."""
        read = [read_document(folder, file) for file in self._files(folder)]
        self.problems += [one for one in read if isinstance(one, Problem)]
        self.take([one for one in read if isinstance(one, Document)], str(folder))

    def take(self, documents: Sequence[Document], place: str) -> None:
        """Build what documents say, the shared parameters first."""
        self.contents |= {one.file: one.data for one in documents}
        files = [*self.contents, *(problem.file for problem in self.problems)]
        names = Names({Path(file).stem: file.partition("/")[0] for file in files if _is_rule(file)})
        of_file = {one.file: one for one in documents}
        if PARAMS_FILE in of_file:
            self._take(of_file.pop(PARAMS_FILE))
        making = Making(self.catalogue, self.params)
        making.make([of_file.pop(file) for file in sorted(of_file) if file.startswith(f"{SIGNALS}/")])
        self.problems += making.problems
        self.derived = making.made
        self.shared = Shared(making.signals, self.params, making.parts, frozenset(making.broken), names)
        for _, document in sorted(of_file.items()):
            self._take(document)
        self.problems += find_clashes(self.calendars)
        self.problems += find_circles([one for one in documents if _is_rule(one.file)], names)
        if not self.rules and not self.problems:
            self.problems.append(Problem(place, 0, "no rules in it; expected <family>/<rule id>.yaml"))

    def rulebook(self) -> Rulebook:
        """The rulebook of a folder without problems. Its hash is of what files say, not of how they are laid out."""
        canonical = json.dumps(self.contents, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return Rulebook(
            hash=hashlib.sha256(canonical.encode()).hexdigest()[:_HASH_DIGITS],
            rules=tuple(sorted(self.rules, key=lambda rule: rule.id)),
            rolls=tuple(self.rolls),
            **self.segments._asdict(),
            holidays=tuple(
                sorted((run for _, runs in self.calendars for run in runs), key=lambda run: (run.first_day, run.name))
            ),
            derived=self.derived,
            limits=self.limits,
            contents=self.contents,
            call_order=self.call_order,
        )

    def _files(self, folder: Path) -> Iterator[str]:
        for path in sorted(folder.rglob("*")):
            parts = path.relative_to(folder).parts
            file = "/".join(parts)
            if parts[0] in ELSEWHERE or any(part.startswith(".") for part in parts) or path.is_dir():
                continue
            if path.suffix == ".yml":
                self.problems.append(Problem(file, 0, f"rename it to {path.stem}.yaml, else it is not read"))
            elif path.suffix == ".yaml" and len(parts) == 1 and file not in OWN_FILES:
                self.problems.append(Problem(file, 0, f"expected <family>/{file}, {_OWN_FILES}"))
            elif path.suffix == ".yaml" and len(parts) > 2:  # noqa: PLR2004 - a family and a file
                self.problems.append(Problem(file, 0, "lies too deep; expected <family>/<rule id>.yaml"))
            elif path.suffix == ".yaml":
                yield file

    def _take(self, document: Document) -> None:
        family = document.file.partition("/")[0]
        try:
            if document.file == PARAMS_FILE:
                self.params = {**self.params, **build_params(document, self.catalogue)}
            elif document.file == SEGMENTS_FILE:
                self.segments = build_segments(document, self.catalogue)
            elif document.file == LIMITS_FILE:
                self.limits = build_limits(document)
            elif document.file == CALL_ORDER_FILE:
                self.call_order = build_call_order(document, self.shared)
            elif family == CALENDARS:
                self.calendars.append((document, build_holidays(document, self.shared.names)))
            elif family == LISTS:
                self.rolls.append(build_roll(document, self.shared))
            else:
                self._take_rule(document, family)
        except RulebookError as error:
            self.problems.extend(error.problems)

    def _take_rule(self, document: Document, family: str) -> None:
        first = self.named.setdefault(document.stem, document.file)
        if first != document.file:
            self.problems.append(
                Problem(document.file, 0, f"two rules are called {document.stem}; the other is {first}")
            )
        if not re.fullmatch(_ID, document.stem):
            self.problems.append(Problem(document.file, 0, "a rule's file is its id: use a-z, 0-9 and _ only"))
        self.rules.append(build_rule(document, family, self.shared))


def _is_rule(file: str) -> bool:
    """Whether a file is in the folder of a family of rules."""
    family, _, name = file.partition("/")
    return bool(name) and family not in (LISTS, CALENDARS, SIGNALS, *ELSEWHERE)
