"""The walk over a parsed expression: which constructs are allowed, which names exist, which kinds go together."""

from collections.abc import Callable, Mapping

import polars as pl
from sqlglot import exp

from service.rulebook.overrides import Kind, Params, kind_of, kind_of_value, values_of
from service.rulebook.problems import suggest

PARAMETER_MARK = "given__"

# What may stand in an expression, and with which parts. All else is refused: aggregates and OVER would make a verdict
# depend on who else is judged with it, subqueries and unknown functions have no meaning here.
_ALLOWED: Mapping[type[exp.Expr], tuple[str, ...]] = {
    exp.And: ("this", "expression"),
    exp.Or: ("this", "expression"),
    exp.Not: ("this",),
    exp.Paren: ("this",),
    exp.EQ: ("this", "expression"),
    exp.NEQ: ("this", "expression"),
    exp.GT: ("this", "expression"),
    exp.GTE: ("this", "expression"),
    exp.LT: ("this", "expression"),
    exp.LTE: ("this", "expression"),
    exp.Add: ("this", "expression"),
    exp.Sub: ("this", "expression"),
    exp.Mul: ("this", "expression"),
    exp.Div: ("this", "expression", "typed", "safe"),
    exp.Neg: ("this",),
    exp.Between: ("this", "low", "high"),
    exp.In: ("this", "expressions"),
    exp.Is: ("this", "expression"),
    exp.Like: ("this", "expression", "negate"),
    exp.Case: ("ifs", "default"),
    exp.If: ("this", "true"),
    exp.Coalesce: ("this", "expressions"),
    exp.Nullif: ("this", "expression"),
    exp.Abs: ("this",),
    exp.Least: ("this", "expressions", "ignore_nulls"),
    exp.Greatest: ("this", "expressions", "ignore_nulls"),
    exp.Column: ("this", "table"),
    exp.Placeholder: ("this",),
    exp.Literal: ("this", "is_string"),
    exp.Boolean: ("this",),
}
_LANGUAGE = (
    "AND, OR, NOT, = <> < <= > >=, + - * /, BETWEEN, IN (...), IS [NOT] NULL, LIKE, CASE WHEN, COALESCE, NULLIF, ABS, "
    "LEAST, GREATEST"
)


def column_name(column: exp.Column) -> str:
    """The signal or field of an event that a column names: status, event.status."""
    return f"{column.table}.{column.name}" if column.table else column.name


class Walk:
    """One walk: gathers all faults, and the names of signals and parameters in the order they are read."""

    def __init__(self, signals: Mapping[str, pl.DataType], params: Params) -> None:
        self.signals = signals
        self.params = params
        self.faults: list[str] = []
        self.names: dict[str, None] = {}
        self.params_read: dict[str, None] = {}
        self._visitors: Mapping[type[exp.Expr], Callable[[exp.Expr], Kind | None]] = {
            **dict.fromkeys((exp.And, exp.Or, exp.Not), self._logic),
            **dict.fromkeys((exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Between), self._comparison),
            **dict.fromkeys((exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Neg, exp.Abs), self._arithmetic),
            **dict.fromkeys((exp.Coalesce, exp.Least, exp.Greatest, exp.Nullif, exp.Paren), self._same),
            exp.In: self._comparison,
            exp.Is: self._is_null,
            exp.Like: self._like,
            exp.Case: self._case,
            exp.Column: self._column,
            exp.Placeholder: self._parameter,
            exp.Literal: lambda node: "text" if node.is_string else "number",
            exp.Boolean: lambda _: "boolean",
        }

    def visit(self, node: exp.Expr) -> Kind | None:
        """The kind of a node's value, None where a fault made it unknowable."""
        visitor = self._visitors.get(type(node))
        if visitor is None:
            return self._fault(_refusal(node))
        extra = [part for part, value in node.args.items() if value and part not in _ALLOWED[type(node)]]
        if extra:
            return self._fault(f"{show(node)}: this form is not part of the language ({_LANGUAGE})")
        return visitor(node)

    def _fault(self, message: str) -> Kind | None:
        """Keep a fault; the node it was found at has no kind."""
        self.faults.append(message)
        return None

    def _logic(self, node: exp.Expr) -> Kind:
        for part in _operands(node):
            kind = self.visit(part)
            if kind not in (None, "boolean"):
                self._fault(f"{show(part)} is a {kind}, expected a boolean beside {node.key.upper()}")
        return "boolean"

    def _comparison(self, node: exp.Expr) -> Kind:
        if isinstance(node, exp.In) and not node.expressions:
            self._fault(f"{show(node)}: IN wants a list of values")
        self._agree(node, _operands(node))
        self._check_values(_operands(node))
        return "boolean"

    def _check_values(self, parts: list[exp.Expr]) -> None:
        """What a signal of a closed set is compared with must be in the set; a slip would never hold, in silence."""
        for column in (part for part in parts if isinstance(part, exp.Column)):
            domain = self.signals.get(column_name(column))
            if not isinstance(domain, pl.Enum):
                continue
            known = domain.categories.to_list()
            for said in (one for part in parts for one in self._said(part)):
                if said not in known:
                    near = suggest(said, known) or f"; expected {' | '.join(known)}"
                    self._fault(f"{show(column)} is never '{said}'{near}")

    def _said(self, part: exp.Expr) -> tuple[str, ...]:
        """The texts that a literal or a parameter can stand for."""
        if isinstance(part, exp.Placeholder):
            values = values_of(self.params.get(part.name.removeprefix(PARAMETER_MARK)))
            return tuple(value for value in values if isinstance(value, str))
        return (part.name,) if isinstance(part, exp.Literal) and part.is_string else ()

    def _arithmetic(self, node: exp.Expr) -> Kind:
        for part in _operands(node):
            kind = self.visit(part)
            if kind not in (None, "number"):
                self._fault(f"{show(part)} is a {kind}, expected a number")
        return "number"

    def _same(self, node: exp.Expr) -> Kind | None:
        return self._agree(node, _operands(node))

    def _agree(self, node: exp.Expr, parts: list[exp.Expr]) -> Kind | None:
        kinds = dict.fromkeys(kind for kind in map(self.visit, parts) if kind is not None)
        if len(kinds) > 1:
            return self._fault(f"{show(node)} puts {' and '.join(kinds)} together, expected one kind")
        return next(iter(kinds), None)

    def _is_null(self, node: exp.Expr) -> Kind:
        if not isinstance(node.expression, exp.Null):
            self._fault(f"{show(node)}: IS goes with NULL only; write x = true")
        self.visit(node.this)
        return "boolean"

    def _like(self, node: exp.Expr) -> Kind:
        pattern = node.expression
        if not (isinstance(pattern, exp.Literal) and pattern.is_string):
            self._fault(f"{show(node)}: LIKE wants a quoted pattern")
        if self.visit(node.this) not in (None, "text"):
            self._fault(f"{show(node.this)} is no text, which LIKE wants")
        return "boolean"

    def _case(self, node: exp.Expr) -> Kind | None:
        branches = node.args["ifs"]
        for branch in branches:
            if self.visit(branch.this) not in (None, "boolean"):
                self._fault(f"{show(branch.this)} is no boolean, which WHEN wants")
        results = [branch.args["true"] for branch in branches]
        return self._agree(node, [*results, *filter(None, [node.args.get("default")])])

    def _column(self, node: exp.Expr) -> Kind | None:
        assert isinstance(node, exp.Column)  # noqa: S101 - what the table of visitors says, for the type checker
        name = column_name(node)
        dtype = self.signals.get(name)
        if dtype is None:
            return self._fault(self._unknown(name))
        self.names[name] = None
        return kind_of(dtype)

    def _unknown(self, name: str) -> str:
        if not name.startswith("event."):
            return f"unknown signal {name}{suggest(name, self.signals)}"
        fields = [known for known in self.signals if known.startswith("event.")]
        if not fields:
            return f"{name}: the rule has no `on` types, so there is no record to read"
        return f"unknown field {name}{suggest(name, fields) or '; known are ' + ', '.join(fields)}"

    def _parameter(self, node: exp.Expr) -> Kind | None:
        name = node.name.removeprefix(PARAMETER_MARK)
        value = self.params.get(name)
        if value is None:
            known = [f":{param}" for param in self.params]
            return self._fault(f"unknown parameter :{name}{suggest(f':{name}', known)}")
        self.params_read[name] = None
        return kind_of_value(value)


def _operands(node: exp.Expr) -> list[exp.Expr]:
    """The parts of a node in the order they are written."""
    parts = [node.args.get(name) for name in ("this", "expression", "low", "high")]
    return [part for part in parts if isinstance(part, exp.Expr)] + list(node.args.get("expressions") or ())


def show(node: exp.Expr) -> str:
    """A part of an expression as it was written, shortened where it is long."""
    text = node.sql().replace(PARAMETER_MARK, "")
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - what fits into a line of errors


def _refusal(node: exp.Expr) -> str:
    if isinstance(node, exp.Null):
        return "NULL is never equal to anything; write IS NULL or IS NOT NULL"
    if isinstance(node, exp.Window | exp.AggFunc):
        return f"{show(node)}: aggregates and OVER are not allowed, a verdict may not depend on other subscribers"
    if isinstance(node, exp.Query | exp.Subquery):
        return f"{show(node)}: queries are not allowed, write a condition"
    return f"{show(node)}: not part of the language ({_LANGUAGE})"
