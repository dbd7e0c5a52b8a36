"""Reading the parts of one document that mean something: its expressions, its sentences, its evidence."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import polars as pl

from service.core.sentences import FORMATS, placeholders
from service.rulebook.documents import Document, Steps
from service.rulebook.language import (
    Compiled,
    LanguageError,
    Part,
    Vocabulary,
    compile_expression,
    parameters_in,
    words_in,
)
from service.rulebook.overrides import Kind, Overridden, Param, Params, read_param
from service.rulebook.problems import Problem, suggest
from service.rulebook.thresholds import bounds_of

# The core computes it for every warning, so that a sentence may name it without any rule having read it.
ALWAYS_KNOWN = frozenset({"money_at_risk"})


@dataclass(slots=True)
class Reader:
    """Reads expressions and sentences of one document, and gathers what is wrong and which parameters were read."""

    document: Document
    signals: Mapping[str, pl.DataType]
    params: Params
    derived: Mapping[str, Part] = field(default_factory=dict)
    broken_signals: frozenset[str] = frozenset()  # told of already, as what is wrong with broken parameters
    problems: list[Problem] = field(default_factory=list)
    params_read: set[str] = field(default_factory=set)
    broken_params: set[str] = field(default_factory=set)  # told of already: what reads them is not judged

    def __post_init__(self) -> None:
        """Take the document's own parameters before the shared ones."""
        own = self.read_params("params")
        self.broken_params = {name for name, value in own.items() if value is None}
        self.params = {**self.params, **{name: value for name, value in own.items() if value is not None}}

    def read_params(self, *steps: str) -> dict[str, Param | None]:
        """The parameters at some steps, None where one is broken."""
        told = self.at(*steps)
        return {name: self._param((*steps, name), one) for name, one in told.items()} if isinstance(told, dict) else {}

    def _param(self, steps: Steps, told: object) -> Param | None:
        def fault(inner: Steps, said: str) -> None:
            self.fault((*steps, *inner), f"{_name((*steps, *inner))}: {said}")

        return read_param(told, self.signals, fault)

    @property
    def words(self) -> Vocabulary:
        """What expressions may name."""
        return Vocabulary(self.signals, self.params, self.derived, bounds_of(tuple(self.signals)))

    def fault(self, steps: Steps, message: str) -> None:
        """Keep a problem."""
        self.problems.append(self.document.problem(steps, message))

    def at(self, *steps: str | int) -> object:
        """The value at some steps from the root, None where there is none."""
        value = self.document.data
        for step in steps:
            inside = (isinstance(value, dict) and step in value) or (
                isinstance(value, list) and isinstance(step, int) and step < len(value)
            )
            if not inside:
                return None
            value = value[step]  # type: ignore[index] # just seen to be a table or a list that has it
        return value

    def text(self, *steps: str | int) -> str:
        """The text at some steps, empty where there is none."""
        value = self.at(*steps)
        return value if isinstance(value, str) else ""

    def items(self, *steps: str | int) -> list[object]:
        """The list at some steps, empty where there is none."""
        value = self.at(*steps)
        return value if isinstance(value, list) else []

    def texts(self, *steps: str | int) -> dict[str, str]:
        """Texts by language at some steps."""
        value = self.at(*steps)
        return {key: " ".join(str(text).split()) for key, text in value.items()} if isinstance(value, dict) else {}

    def expression(
        self, *steps: str | int, beside: Mapping[str, pl.DataType] | None = None, wants: Kind | None = "boolean"
    ) -> Compiled | None:
        """Compile the SQL at some steps; None where there is none or it has faults. `beside`: further names."""
        text = self.text(*steps)
        named = parameters_in(text)
        self.params_read |= named
        if not text.strip() or named & self.broken_params or self.broken_signals & set(words_in(text)):
            return None
        try:
            words = replace(self.words, signals={**self.signals, **beside}) if beside else self.words
            return compile_expression(text, words, wants)
        except LanguageError as error:
            for message in error.messages:
                self.fault(steps, f"{_name(steps)}: {message}")
            return None

    def sentence_names(self, *steps: str | int) -> list[str]:
        """The signals that the sentences at some steps name, all languages together."""
        named: dict[str, None] = {}
        for language, template in self.texts(*steps).items():
            where = (*steps, language)
            try:
                places = placeholders(template)
            except ValueError as error:
                self.fault(where, f"{_name(where)}: {error}")
                continue
            for name, form in places:
                if form not in FORMATS:
                    self.fault(where, f"{_name(where)}: unknown format {form}, expected {' | '.join(FORMATS)}")
                if name in self.params:
                    self.params_read.add(name)
                    if isinstance(self.params[name], Overridden):
                        self.fault(where, f"{_name(where)}: {name} differs by subscriber; name a signal instead")
                elif self.is_known(name, where):
                    named[name] = None
        return list(named)

    def is_known(self, name: str, steps: Steps) -> bool:
        """Whether a signal of that name exists; if not, that is a problem."""
        if name not in self.signals and name not in self.broken_signals:
            self.fault(steps, f"{_name(steps)}: unknown signal {name}{suggest(name, self.signals)}")
        return name in self.signals

    def numbers(self, default: Iterable[str]) -> tuple[str, ...]:
        """The evidence named under `numbers`, else the default."""
        named = [(at, name) for at, name in enumerate(self.items("numbers")) if isinstance(name, str)]
        known = [name for at, name in named if self.is_known(name, ("numbers", at))]
        return tuple(dict.fromkeys(known if named else default))

    def stands_for(self, names: Iterable[str]) -> set[str]:
        """The names, and the catalogue's signals that derived ones among them are made of."""
        return {*(names := list(names)), *(read for name in names for read in self.words.reads(name))}

    def check_params_are_read(self) -> None:
        """A parameter that nothing reads is a mistake: somebody believes that it changes something."""
        for name in own if isinstance(own := self.at("params"), dict) else ():
            if name not in self.params_read:
                self.fault(("params", name), f"params.{name} is read by nothing; name it as :{name} or remove it")


def _name(steps: Steps) -> str:
    return ".".join(map(str, steps))
