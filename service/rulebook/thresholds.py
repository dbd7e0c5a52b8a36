"""Thresholds that can never be met, or always are: a rule that holds of nobody, or of everybody, is a slip."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, product
from math import ceil, floor, inf, isinf, isnan, nan
from operator import add, mul, sub
from typing import NamedTuple

import polars as pl
from sqlglot import exp

from service.core.signals import Terms, catalogue, windows_of
from service.rulebook.overrides import Params, values_of
from service.rulebook.walk import PARAMETER_MARK, column_name, show

Bounds = tuple[float | None, float | None]

_ANY_MONTH = 12
_SUMS: Mapping[type[exp.Expr], Callable[[float, float], float]] = {
    exp.Add: add,
    exp.Sub: sub,
    exp.Mul: mul,
    exp.Div: lambda above, below: above / below if below else nan,
}
_TURNED: Mapping[type[exp.Expr], type[exp.Expr]] = {exp.GT: exp.LT, exp.GTE: exp.LTE, exp.LT: exp.GT, exp.LTE: exp.GTE}
_ONE_SIDED = (exp.GT, exp.GTE, exp.LT, exp.LTE, exp.EQ, exp.NEQ)


class Span(NamedTuple):
    """Numbers from low to high; an end that is open does not belong to it."""

    low: float = -inf
    high: float = inf
    is_low_open: bool = False
    is_high_open: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether there is no number in it."""
        return self.low > self.high or (self.low == self.high and (self.is_low_open or self.is_high_open))

    def meet(self, other: "Span") -> "Span":
        """What lies in both."""
        low, is_low_open = max((self.low, self.is_low_open), (other.low, other.is_low_open))
        high, is_high_closed = min((self.high, not self.is_high_open), (other.high, not other.is_high_open))
        return Span(low, high, is_low_open, not is_high_closed)

    def whole(self) -> "Span":
        """The same whole numbers, with both ends in it."""
        low = self.low if isinf(self.low) else floor(self.low) + 1 if self.is_low_open else ceil(self.low)
        high = self.high if isinf(self.high) else ceil(self.high) - 1 if self.is_high_open else floor(self.high)
        return Span(low, high)


class Threshold(NamedTuple):
    """A comparison of one signal with values: it holds where the signal lies in one of the spans.

    `choices`: the spans for each value that overridden parameters can have, those of the defaults first.
    """

    node: exp.Expr
    name: str
    choices: tuple[tuple[Span, ...], ...]


@dataclass(frozen=True, slots=True)
class Known:
    """What thresholds are judged by: types of signals, values of parameters, and what values signals can have."""

    signals: Mapping[str, pl.DataType]
    params: Params
    bounds: Mapping[str, Bounds]

    def domain(self, name: str) -> Span:
        """Where the values of a signal lie."""
        least, most = self.bounds.get(name, (None, None))
        return Span(-inf if least is None else least, inf if most is None else most)

    def fitted(self, name: str, span: Span) -> Span:
        """A span of a signal's possible values."""
        dtype = self.signals.get(name)
        met = span.meet(self.domain(name))
        return met.whole() if dtype is not None and dtype.is_integer() else met


@lru_cache
def bounds_of(names: tuple[str, ...]) -> Mapping[str, Bounds]:
    """The least and the most that signals of these names can be; absent where neither is bounded."""
    known = catalogue(Terms(tuple(sorted(windows_of(names))), year_on_year=True, photo_month=_ANY_MONTH))
    bounds = {name: (known[name].least, known[name].most) for name in names if name in known}
    return {name: ends for name, ends in bounds.items() if ends != (None, None)}


def find_faults(tree: exp.Expr, known: Known) -> Iterator[str]:
    """Comparisons within an expression that never hold, always hold, or never hold together."""
    threshold = _threshold(tree, known)
    if threshold is not None:
        yield from _alone(threshold, known)
    if isinstance(tree, exp.And):
        yield from find_contradictions([tree], known)
    for part in _parts(tree, exp.And) if isinstance(tree, exp.And) else tree.iter_expressions():
        yield from find_faults(part, known)


def find_contradictions(trees: Iterable[exp.Expr], known: Known) -> Iterator[str]:
    """Bounds of one signal, all of which an expression asks for, that leave nothing between them."""
    for name, (span, nodes) in _asked(trees, known).items():
        if len(nodes) > 1 and known.fitted(name, span).is_empty:
            yield f"{' AND '.join(map(show, nodes))} can never hold together"


def find_overlaps(holds: Iterable[exp.Expr], clears: exp.Expr, known: Known) -> Iterator[str]:
    """Thresholds of `clears` on the wrong side of what `holds` ask of the same signal."""
    asked = _asked(holds, known)
    for threshold in _thresholds(_parts(clears, exp.Or), known):
        if threshold.name not in asked:
            continue
        span, nodes = asked[threshold.name]
        met = (known.fitted(threshold.name, span.meet(one)) for one in threshold.choices[0])
        if not all(one.is_empty for one in met):
            condition = " AND ".join(map(show, nodes))
            yield f"{show(threshold.node)} clears while {condition} holds; expected a threshold on its other side"


def _alone(threshold: Threshold, known: Known) -> Iterator[str]:
    domain = known.domain(threshold.name)
    said = f"{show(threshold.node)}{_values_in(threshold.node, known.params)}"
    for spans in threshold.choices:
        empty = [one for one in spans if known.fitted(threshold.name, one).is_empty]
        if isinstance(threshold.node, exp.Between) and spans[0].low > spans[0].high:
            yield f"{said} never holds; expected the lower bound first"
        elif len(empty) == len(spans) or (empty and isinstance(threshold.node, exp.In)):
            yield f"{said} never holds{_because(threshold.name, domain, known)}"
        elif domain != Span() and any(domain.meet(one) == domain for one in spans):
            yield f"{said} always holds where {threshold.name} is known{_because(threshold.name, domain, known)}"


def _because(name: str, domain: Span, known: Known) -> str:
    ends = [f"at {word} {end:g}" for word, end in (("least", domain.low), ("most", domain.high)) if not isinf(end)]
    if ends:
        return f": {name} is {' and '.join(ends)}"
    return f": {name} is a whole number" if known.signals[name].is_integer() else ""


def _values_in(node: exp.Expr, params: Params) -> str:
    """What the parameters in a comparison stand for, which the comparison does not show."""
    names = dict.fromkeys(one.name.removeprefix(PARAMETER_MARK) for one in node.find_all(exp.Placeholder))
    told = (f":{name} = {' | '.join(map(str, values_of(params.get(name))))}" for name in names)
    return f" ({', '.join(told)})" if names else ""


def _asked(trees: Iterable[exp.Expr], known: Known) -> dict[str, tuple[Span, list[exp.Expr]]]:
    """Per signal the span in which all of the trees' conditions put it, and the comparisons that do."""
    asked: dict[str, tuple[Span, list[exp.Expr]]] = {}
    for threshold in _thresholds((part for tree in trees for part in _parts(tree, exp.And)), known):
        first = threshold.choices[0]
        if len(first) == 1:
            span, nodes = asked.get(threshold.name, (Span(), []))
            asked[threshold.name] = (span.meet(first[0]), [*nodes, threshold.node])
    return asked


def _thresholds(nodes: Iterable[exp.Expr], known: Known) -> Iterator[Threshold]:
    return filter(None, (_threshold(node, known) for node in nodes))


def _parts(tree: exp.Expr, joined_by: type[exp.Expr]) -> Iterator[exp.Expr]:
    """What AND (or OR) joins, however it is nested or bracketed."""
    if isinstance(tree, exp.Paren):
        yield from _parts(tree.this, joined_by)
    elif isinstance(tree, joined_by):
        yield from _parts(tree.this, joined_by)
        yield from _parts(tree.expression, joined_by)
    else:
        yield tree


def _threshold(node: exp.Expr, known: Known) -> Threshold | None:
    """What a comparison of one signal with values asks for, None where it is none."""
    if not isinstance(node, (*_ONE_SIDED, exp.Between, exp.In)):
        return None
    kind: type[exp.Expr] = type(node)
    left, others = node.this, _others(node)
    if not isinstance(left, exp.Column) and isinstance(node, _ONE_SIDED):
        kind, left, others = _TURNED.get(kind, kind), node.expression, [node.this]
    choices = tuple(product(*(_values(other, known.params) for other in others)))
    if not isinstance(left, exp.Column) or not choices or any(map(isnan, chain(*choices))):
        return None
    return Threshold(node, column_name(left), tuple(_spans(kind, values) for values in choices))


def _others(node: exp.Expr) -> list[exp.Expr]:
    if isinstance(node, exp.In):
        return list(node.expressions)
    return [node.args["low"], node.args["high"]] if isinstance(node, exp.Between) else [node.expression]


def _spans(kind: type[exp.Expr], values: tuple[float, ...]) -> tuple[Span, ...]:
    if kind is exp.Between:
        return (Span(values[0], values[1]),)
    if kind is exp.In:
        return tuple(Span(value, value) for value in values)
    value = values[0]
    below, above = Span(high=value, is_high_open=True), Span(low=value, is_low_open=True)
    spans: Mapping[type[exp.Expr], tuple[Span, ...]] = {
        exp.GT: (above,),
        exp.GTE: (Span(low=value),),
        exp.LT: (below,),
        exp.LTE: (Span(high=value),),
        exp.EQ: (Span(value, value),),
        exp.NEQ: (below, above),
    }
    return spans[kind]


def _values(node: exp.Expr, params: Params) -> tuple[float, ...]:
    """The numbers that an expression of literals and parameters can be; none where it is anything else."""
    if isinstance(node, exp.Literal):
        return () if node.is_string else (float(node.this),)
    if isinstance(node, exp.Placeholder):
        values = values_of(params.get(node.name.removeprefix(PARAMETER_MARK)))
        return tuple(float(one) for one in values if isinstance(one, int | float) and not isinstance(one, bool))
    if isinstance(node, exp.Paren):
        return _values(node.this, params)
    if isinstance(node, exp.Neg):
        return tuple(-value for value in _values(node.this, params))
    if type(node) in _SUMS:
        pairs = product(_values(node.this, params), _values(node.expression, params))
        return tuple(_SUMS[type(node)](*pair) for pair in pairs)
    return ()
