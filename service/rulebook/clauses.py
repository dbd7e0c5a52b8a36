"""A condition taken apart at its ANDs and ORs, so that each part can be asked by itself."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sqlglot import exp

from service.rulebook.language import Compiled, LanguageError, Vocabulary, compile_expression, parse
from service.rulebook.walk import PARAMETER_MARK, column_name

AND, OR = "and", "or"
# A comparison holds where its sides differ this way: left above right, or below.
_ABOVE = (exp.GT, exp.GTE)
_BELOW = (exp.LT, exp.LTE)


@dataclass(frozen=True, slots=True)
class Bound:
    """A threshold: `left` has to be above `right` (`least`), or below it."""

    left: Compiled
    right: Compiled
    least: bool


@dataclass(frozen=True, slots=True)
class Clause:
    """A part of a condition as it is written.

    `joined` says how its parts hold together; without parts it is asked as a `whole`, None where it reads the record of
    an event. `bounds` are those of its thresholds, `params` the values (by :name) of its parameters.
    """

    text: str
    joined: str | None = None
    parts: tuple["Clause", ...] = ()
    whole: Compiled | None = None
    bounds: tuple[Bound, ...] = ()
    params: Mapping[str, Compiled] = field(default_factory=dict)

    @property
    def leaves(self) -> Iterator["Clause"]:
        """Its parts that have none themselves."""
        if not self.parts:
            yield self
        for part in self.parts:
            yield from part.leaves

    @property
    def names(self) -> tuple[str, ...]:
        """Signals that it reads, in the order they are written."""
        compiled = [one for leaf in self.leaves for one in (leaf.whole, *leaf.params.values()) if one is not None]
        return tuple(dict.fromkeys(name for one in compiled for name in (*one.names, *one.reads)))


def take_apart(text: str, words: Vocabulary) -> Clause:
    """The parts of a condition that has been found sound. Raises: LanguageError."""
    return _clause(parse(text), words)


def _clause(node: exp.Expr, words: Vocabulary) -> Clause:
    while isinstance(node, exp.Paren):
        node = node.this
    if isinstance(node, exp.And | exp.Or):
        kind = type(node)
        parts = tuple(_clause(part, words) for part in _joined(node, kind))
        return Clause(_text(node), AND if kind is exp.And else OR, parts)
    text = _text(node)
    if any(column_name(column).startswith("event.") for column in node.find_all(exp.Column)):
        return Clause(text)
    whole = compile_expression(text, words)
    params = {f":{name}": compile_expression(f":{name}", words, None) for name in whole.params}
    return Clause(text, whole=whole, bounds=tuple(_bounds(node, words)), params=params)


def _joined(node: exp.Expr, kind: type[exp.Expr]) -> Iterator[exp.Expr]:
    if isinstance(node, kind):
        yield from _joined(node.this, kind)
        yield from _joined(node.expression, kind)
    else:
        yield node


def _bounds(node: exp.Expr, words: Vocabulary) -> Iterator[Bound]:
    if type(node) in _ABOVE or type(node) in _BELOW:
        left, right = (_number(side, words) for side in (node.this, node.expression))
        if left is not None and right is not None:
            yield Bound(left, right, least=type(node) in _ABOVE)
    elif isinstance(node, exp.Between):
        value, low, high = (_number(node.args[name], words) for name in ("this", "low", "high"))
        if value is not None and low is not None and high is not None:
            yield Bound(value, low, least=True)
            yield Bound(value, high, least=False)


def _number(node: exp.Expr, words: Vocabulary) -> Compiled | None:
    try:
        return compile_expression(_text(node), words, "number")
    except LanguageError:
        return None


def _text(node: exp.Expr) -> str:
    return node.sql().replace(PARAMETER_MARK, "")
