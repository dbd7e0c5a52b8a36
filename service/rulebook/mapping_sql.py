"""Expressions of mappings: SQL over the columns of one row, refused where a value would depend on other rows."""

from collections.abc import Mapping

import polars as pl
import sqlglot
from sqlglot import exp

from service.rulebook.problems import suggest

# What exists for one row alone; polars knows more, but sums and clocks would make a record's events depend on its
# neighbours in the batch, or on the hour.
_FUNCTIONS = {
    "ABS", "CASE", "CAST", "CEIL", "COALESCE", "CONCAT", "DATE", "EXTRACT", "FLOOR", "GREATEST", "IF", "LEAST",
    "LEFT", "LENGTH", "LOWER", "NULLIF", "PAD", "REPLACE", "RIGHT", "ROUND", "STARTS_WITH", "ENDS_WITH", "SUBSTRING",
    "TIME_TO_STR", "TRIM", "UPPER", "AND", "OR", "XOR",
}  # fmt: skip
_TOLD = (
    "ABS, CASE, CAST, CEIL, COALESCE, CONCAT, DATE, EXTRACT, FLOOR, GREATEST, LEAST, LEFT, LENGTH, LOWER, LPAD, "
    "NULLIF, REPLACE, RIGHT, ROUND, STARTS_WITH, ENDS_WITH, STRFTIME, SUBSTR, TRIM, UPPER"
)


class ExpressionError(Exception):
    """An expression that is not taken, in one sentence."""


def compile_sql(text: str, columns: Mapping[str, pl.DataType]) -> tuple[pl.Expr, pl.DataType]:
    """The expression of SQL text over `columns` (name -> dtype), and the dtype of its value.

    Raises: ExpressionError.
    """
    try:
        tree = _parse(text)
        for node in tree.walk():
            _refuse(node)
        for column in tree.find_all(exp.Column):
            if column.name not in columns:
                raise ExpressionError(f"unknown column {column.name}{suggest(column.name, columns)}")
    except RecursionError as error:
        raise ExpressionError("nested too deeply; split the expression into several with `let`") from error
    try:
        expression = pl.sql_expr(text)
        dtype = pl.LazyFrame(schema=dict(columns)).select(expression.alias("value")).collect_schema()["value"]
    except pl.exceptions.PolarsError as error:
        raise ExpressionError(f"polars does not take `{text}`: {str(error).splitlines()[0]}") from error
    return expression, dtype


def _parse(text: str) -> exp.Expr:
    try:
        return sqlglot.parse_one(text, dialect="duckdb")
    except sqlglot.errors.SqlglotError as error:
        raise ExpressionError(f"`{text}` is no SQL expression: {str(error).splitlines()[0]}") from error


def _refuse(node: exp.Expr) -> None:
    if isinstance(node, exp.Query | exp.Window | exp.AggFunc):
        raise ExpressionError(
            f"`{node.sql()}` looks at other rows: a mapping sees one row, use its columns and {_TOLD}"
        )
    if isinstance(node, exp.Func):
        name = node.name if isinstance(node, exp.Anonymous) else node.sql_names()[0]
        if name.upper() not in _FUNCTIONS:
            raise ExpressionError(f"there is no function {name}{suggest(name.upper(), _FUNCTIONS)}; there are {_TOLD}")
