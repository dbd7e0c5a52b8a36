"""Why a rule holds of a subscriber and why it does not: each condition with its values, and how much is missing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from service.core.rules import Rule, Rulebook
from service.core.signals import Signal, View, catalogue, columns
from service.core.state import State
from service.history.warned import Warned, warned
from service.rulebook.clauses import AND, Bound, Clause, take_apart
from service.rulebook.language import Vocabulary
from service.rulebook.overrides import Param, read_param

ON_ARRIVAL = "asked of the record that arrives"
_PARAMS = "params.yaml"


@dataclass(frozen=True, slots=True)
class Answer:
    """A condition asked of one subscriber. `is_true` None: unknown, for want of a value or of a record.

    `missing` says what is missing to make it true, as people read it, empty where it is true.
    """

    text: str
    is_true: bool | None
    values: Mapping[str, Any]
    missing: str
    joined: str | None
    parts: tuple["Answer", ...]

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        told: dict[str, Any] = {"condition": self.text, "true": self.is_true}
        if self.parts:
            return told | {"joined": self.joined, "parts": [part.plain() for part in self.parts]}
        return told | {"values": dict(self.values), "missing": self.missing}


@dataclass(frozen=True, slots=True)
class Explanation:
    """One rule and one subscriber: its conditions, and the warning there is, where that is known."""

    rule: str
    status: str
    on: tuple[str, ...]
    when: Answer
    warning: Warned | None

    @property
    def holds(self) -> bool | None:
        """Whether the condition is true; None for want of a value or of a record."""
        return self.when.is_true

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        warning = self.warning
        known = None if warning is None else {
            "severity": warning.severity,
            "raised_on": warning.raised_on,
            "suppressed_by": warning.suppressed_by,
            "orders": dict(warning.orders),
        }  # fmt: skip
        return {
            "rule": self.rule,
            "status": self.status,
            "on": list(self.on),
            "holds": self.holds,
            "when": self.when.plain(),
            "warning": known,
        }


def explain(state: State, rulebook: Rulebook, row: int) -> list[Explanation]:
    """Ask each rule that is not deprecated of one row of a shard, as of its last closed day."""
    view = View.under(rulebook, state, np.array([row], np.int32))
    signals = {**catalogue(view.terms), **_derived(rulebook)}
    who = str(state.roster.take(view.rows)[0])
    open_now = {one.rule: one for one in warned(state, who)}
    return [
        Explanation(
            rule.id, rule.status, rule.on, _ask(_clause(rulebook, rule, signals), view, signals), open_now.get(rule.id)
        )
        for rule in rulebook.rules
        if rule.status != "deprecated"
    ]


def _derived(rulebook: Rulebook) -> dict[str, Signal]:
    return {
        name: Signal(one.dtype, one.unit, one.meaning, "a signal that it is made of is not known")
        for name, one in rulebook.derived.items()
    }


def clause_of(rulebook: Rulebook, rule: Rule, view: View) -> Clause:
    """The conditions of a rule: its scope, and `when`."""
    return _clause(rulebook, rule, {**catalogue(view.terms), **_derived(rulebook)})


def _clause(rulebook: Rulebook, rule: Rule, signals: Mapping[str, Signal]) -> Clause:
    types = {name: signal.domain for name, signal in signals.items()}
    words = Vocabulary(types, {**rule.params, **_overridden(rulebook, rule, types)})
    texts = [rule.source[part] for part in ("scope", "when") if part in rule.source]
    clauses = [take_apart(text, words) for text in texts]
    if len(clauses) == 1:
        return clauses[0]
    parts = tuple(part for one in clauses for part in (one.parts if one.joined == AND else (one,)))
    return Clause(" AND ".join(texts), AND, parts)


def _overridden(rulebook: Rulebook, rule: Rule, types: Mapping[str, pl.DataType]) -> dict[str, Param]:
    """Parameters as the files tell them, as a rule keeps only what they are by default."""
    told: dict[str, object] = {}
    for file in (_PARAMS, f"{rule.family}/{rule.id}.yaml"):
        said = rulebook.contents.get(file)
        params = said if file == _PARAMS else said.get("params") if isinstance(said, dict) else None
        if isinstance(params, dict):
            told |= params
    read = {
        name: read_param(one, types, lambda _steps, _said: None) for name, one in told.items() if name in rule.params
    }
    return {name: one for name, one in read.items() if one is not None}


def _ask(clause: Clause, view: View, signals: Mapping[str, Signal]) -> Answer:
    frame = columns(view, sorted(name for name in clause.names if name in signals))
    return _answer(clause, frame, signals)


def _answer(clause: Clause, frame: pl.DataFrame, signals: Mapping[str, Signal]) -> Answer:
    if clause.parts:
        parts = tuple(_answer(part, frame, signals) for part in clause.parts)
        return Answer(clause.text, _together(clause.joined, parts), {}, "", clause.joined, parts)
    if clause.whole is None:
        return Answer(clause.text, None, {}, ON_ARRIVAL, None, ())
    is_true = _value(frame, clause.whole.expression)
    values = {name: frame[name][0] for name in clause.whole.names}
    missing = "" if is_true else "; ".join(_missing(clause, frame, signals, values))
    values |= {name: _value(frame, param.expression) for name, param in clause.params.items()}
    return Answer(clause.text, is_true, values, missing, None, ())


def _together(joined: str | None, parts: Sequence[Answer]) -> bool | None:
    """What SQL makes of parts of which some may be unknown."""
    told = [part.is_true for part in parts]
    deciding = joined != AND  # one true part decides an OR, one false one an AND
    if deciding in told:
        return deciding
    return None if None in told else not deciding


def _value(frame: pl.DataFrame, expression: pl.Expr) -> Any:  # noqa: ANN401 - whatever the expression says
    # A line is there even where the expression reads no column.
    return (frame if frame.width else pl.DataFrame({"": [0]})).select(it=expression)["it"][0]


def _missing(
    clause: Clause, frame: pl.DataFrame, signals: Mapping[str, Signal], values: Mapping[str, Any]
) -> Iterator[str]:
    unknown = [name for name, value in values.items() if value is None]
    for name in unknown:
        reason = signals[name].null_when
        yield f"{name} is not known" + (f": {reason}" if reason != "never" else "")
    if not unknown:
        for bound in clause.bounds:
            left, right = (_value(frame, side.expression) for side in (bound.left, bound.right))
            yield from _difference(bound, left, right)


def _difference(bound: Bound, left: float | None, right: float | None) -> Iterator[str]:
    if left is None or right is None:
        return
    if bound.least and left <= right:
        yield f"{number(right - left)} short" if left < right else "not above it"
    elif not bound.least and left >= right:
        yield f"{number(left - right)} over" if left > right else "not below it"


def number(value: Any) -> str:  # noqa: ANN401 - a signal's value of any type
    """A value as an explanation writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"  # noqa: PLR2004 - where fractions say nothing
    return f"{value:,}" if isinstance(value, int) else "unknown" if value is None else str(value)
