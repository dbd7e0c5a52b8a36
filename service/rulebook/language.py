"""The language of conditions: SQL expressions over named signals, walked by a white list, then compiled by polars."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl
import sqlglot
from sqlglot import exp

from service.rulebook.walk import PARAMETER_MARK, Kind, Scalar, Walk, column_name, kind_of

_PARAMETER = re.compile(r"""'(?:[^']|'')*'|"[^"]*"|:([a-z_][a-z0-9_]*)""")


@dataclass(frozen=True, slots=True)
class Compiled:
    """An expression ready to be judged, and what it reads: signals and parameters, in the order they are named."""

    expression: pl.Expr
    names: tuple[str, ...]
    params: tuple[str, ...]


class LanguageError(Exception):
    """An expression that is not taken; `messages` are all its faults."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__("; ".join(messages))
        self.messages = tuple(messages)


def compile_expression(
    text: str, signals: Mapping[str, pl.DataType], params: Mapping[str, Scalar], wants: Kind = "boolean"
) -> Compiled:
    """Compile SQL text over `signals` (name -> dtype; a record's field is called `event.<field>`).

    An Enum stands for texts of a closed set: a comparison with any other is a fault. `:name` stands for a parameter's
    value. The result has the kind `wants`. Meaning is SQL's: unknown (null) stays unknown through comparisons; `/` is
    exact division and null where the divisor is zero; sums of whole numbers are 64 bits wide.
    Raises: LanguageError with all faults.
    """
    walk = Walk(signals, params)
    try:
        tree = _parse(text)
        kind = walk.visit(tree)
    except RecursionError as error:
        raise LanguageError(["nested too deeply; split the rule into several"]) from error
    if not walk.faults and kind is not None and kind != wants:
        walk.faults.append(f"the expression is a {kind}, expected a {wants}")
    if walk.faults:
        raise LanguageError(list(dict.fromkeys(walk.faults)))
    try:
        compiled = pl.sql_expr(tree.transform(_to_polars, signals, params).sql())
        schema = {name: _stored(signals[name]) for name in walk.names}
        dtype = pl.DataFrame(schema=schema).select(compiled.alias("it")).dtypes[0]
    except pl.exceptions.PolarsError as error:
        raise LanguageError([f"polars does not take it: {str(error).splitlines()[0]}"]) from error
    if kind_of(dtype) != wants:
        raise LanguageError([f"polars makes {dtype} of it, expected a {wants}"])
    return Compiled(compiled, tuple(walk.names), tuple(walk.params_read))


def _stored(dtype: pl.DataType) -> pl.DataType:
    """The type of a signal's column: a closed set of texts is known to rules, and stored as text."""
    return pl.String() if isinstance(dtype, pl.Enum) else dtype


def parameters_in(text: str) -> set[str]:
    """The parameters that a text names, whether or not the text is an expression."""
    return {found[1] for found in _PARAMETER.finditer(text) if found[1]}


def _parse(text: str) -> exp.Expr:
    # A mark keeps parameters apart from SQL's own words, so that one may be called :drop.
    marked = _PARAMETER.sub(lambda found: f":{PARAMETER_MARK}{found[1]}" if found[1] else found[0], text)
    try:
        statements = [statement for statement in sqlglot.parse(marked) if statement is not None]
    except sqlglot.errors.SqlglotError as error:
        raise LanguageError([_first_line(error)]) from error
    if len(statements) != 1:
        raise LanguageError([f"expected one expression, found {len(statements)}"])
    return statements[0]


def _first_line(error: sqlglot.errors.SqlglotError) -> str:
    told = error.errors[0] if isinstance(error, sqlglot.errors.ParseError) and error.errors else {}
    if not told:
        return f"not an expression: {str(error).splitlines()[0]}"
    near = f"{told.get('start_context', '')}{told.get('highlight', '')}".replace(PARAMETER_MARK, "")[-40:].strip()
    return f"not an expression: it breaks off or goes wrong at '{near}'"


def _to_polars(node: exp.Expr, signals: Mapping[str, pl.DataType], params: Mapping[str, Scalar]) -> exp.Expr:
    """The same meaning in the SQL of polars: parameters filled in, names quoted, arithmetic made safe."""
    if isinstance(node, exp.Placeholder):
        return _literal(params[node.name.removeprefix(PARAMETER_MARK)])
    if isinstance(node, exp.Literal) and not node.is_string:
        return _literal(float(node.this) if _is_fraction(node.this) else int(node.this))
    if isinstance(node, exp.Column):
        name = column_name(node)
        column: exp.Expr = exp.column(exp.to_identifier(name, quoted=True))
        # Whole numbers of 32 bits would wrap around in sums and products.
        return exp.cast(column, "BIGINT") if _is_added_up(node) and signals[name].is_integer() else column
    if isinstance(node, exp.Div) and not isinstance(node.expression, exp.Nullif):
        node.set("expression", exp.Nullif(this=node.expression, expression=exp.Literal.number(0)))
    return node


def _is_added_up(node: exp.Expr) -> bool:
    return isinstance(node.parent, exp.Add | exp.Sub | exp.Mul | exp.Neg | exp.Abs)


def _is_fraction(text: str) -> bool:
    return not text.isdigit()


def _literal(value: Scalar) -> exp.Expr:
    if isinstance(value, str):
        return exp.Literal.string(value)
    if isinstance(value, bool):
        return exp.Boolean(this=value)
    # A bare fraction is a Decimal to polars, which is neither fast nor what signals are made of.
    number = exp.Literal.number(abs(value))
    made: exp.Expr = exp.cast(number, "DOUBLE") if isinstance(value, float) else number
    return exp.Paren(this=exp.Neg(this=made)) if value < 0 else made
