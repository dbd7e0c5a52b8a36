"""Signals that the rulebook makes of the catalogue's, one file each."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from service.core.rules import Derived
from service.rulebook.building import reader_of
from service.rulebook.documents import Document
from service.rulebook.formats import SIGNAL
from service.rulebook.language import Part, words_in
from service.rulebook.overrides import Params
from service.rulebook.problems import Problem
from service.rulebook.reading import Reader

_NAME = "[a-z][a-z0-9_]*"


@dataclass(slots=True)
class Making:
    """Derived signals while they are made, each after those that it names."""

    catalogue: Mapping[str, pl.DataType]
    params: Params
    made: dict[str, Derived] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)

    @property
    def signals(self) -> dict[str, pl.DataType]:
        """All that can be named by now."""
        return {**self.catalogue, **{name: one.dtype for name, one in self.made.items()}}

    def make(self, documents: Sequence[Document]) -> None:
        """Make all that can be made, and keep what is wrong with the others."""
        left = {one.stem: one for one in documents if not self._misnamed(one)}
        names = {name: _named(document, left) for name, document in left.items()}
        while ready := [name for name in left if not names[name] & left.keys()]:
            for name in ready:
                document = left.pop(name)
                # What names a broken one is not judged: its fault is the other's.
                if names[name] & self.broken or not self._make(document):
                    self.broken.add(name)
        self.broken |= left.keys()
        for name in sorted(left):
            others = ", ".join(sorted(names[name] & left.keys()))
            said = (
                f"expression: {name} is made of {others}, which is made of it again; expected an end in the catalogue"
            )
            if _reaches(name, name, names):
                self.problems.append(left[name].problem(("expression",), said))

    def _misnamed(self, document: Document) -> bool:
        name = document.stem
        if name in self.catalogue:
            self.problems.append(
                Problem(document.file, 0, f"{name} is a signal of the catalogue; give it another name")
            )
        elif not re.fullmatch(_NAME, name):
            self.problems.append(Problem(document.file, 0, "a signal's file is its name: use a-z, 0-9 and _ only"))
        return name in self.catalogue or not re.fullmatch(_NAME, name)

    def _make(self, document: Document) -> bool:
        reader: Reader = reader_of(document, SIGNAL, self.signals, self.params)
        reader.derived = self.parts
        made = None if reader.problems else reader.expression("expression", wants=None)
        if made is None:
            self.problems.extend(reader.problems)
            return False
        dtype = made.dtype
        self.parts[document.stem] = made.part
        self.made[document.stem] = Derived(
            expression=made.expression,
            dtype=dtype,
            unit=reader.text("unit"),
            meaning=" ".join(reader.text("meaning").split()),
            names=frozenset(made.reads),
        )
        return True


def _named(document: Document, derived: Mapping[str, Document]) -> set[str]:
    """The derived signals that an expression names."""
    text = document.data.get("expression") if isinstance(document.data, dict) else None
    return words_in(text) & derived.keys() if isinstance(text, str) else set()


def _reaches(start: str, goal: str, names: Mapping[str, set[str]]) -> bool:
    ahead, seen = [start], {start}
    for one in ahead:
        if goal in names[one]:
            return True
        fresh = names[one] & names.keys() - seen
        seen |= fresh
        ahead.extend(fresh)
    return False
