"""The language of conditions: SQL expressions over named signals, walked by a white list, then compiled by polars."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import polars as pl
import sqlglot
from sqlglot import exp

from service.rulebook.overrides import Kind, Overridden, Params, Scalar, kind_of
from service.rulebook.thresholds import Bounds, Known, find_faults
from service.rulebook.walk import PARAMETER_MARK, Walk, column_name

_PARAMETER = re.compile(r"""'(?:[^']|'')*'|"[^"]*"|:([a-z_][a-z0-9_]*)""")

_WORD = re.compile(r"'(?:[^']|'')*'|:[a-z0-9_]+|([a-z_][a-z0-9_.]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Part:
    """A derived signal as it is put into the expressions that name it, and the catalogue's signals that it reads."""

    sql: exp.Expr
    reads: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What an expression may name: signals (name -> dtype), parameters, and how derived signals are made.

    `bounds`: the least and the most that a signal can be.
    """

    signals: Mapping[str, pl.DataType]
    params: Params = field(default_factory=dict)
    derived: Mapping[str, Part] = field(default_factory=dict)
    bounds: Mapping[str, Bounds] = field(default_factory=dict)

    @property
    def known(self) -> Known:
        """What its thresholds are judged by."""
        return Known(self.signals, self.params, self.bounds)

    def reads(self, name: str) -> tuple[str, ...]:
        """The catalogue's signals, or fields of a record, that a name stands for."""
        return self.derived[name].reads if name in self.derived else (name,)


@dataclass(frozen=True, slots=True)
class Compiled:
    """An expression ready to be judged, and what it reads.

    `names`: signals as they are named in it, in their order; `reads`: the catalogue's, of which it is made. `tree` is
    the expression as it was written, `part` as others may have it within theirs.
    """

    expression: pl.Expr
    names: tuple[str, ...]
    params: tuple[str, ...]
    reads: tuple[str, ...]
    dtype: pl.DataType
    tree: exp.Expr
    part: Part


class LanguageError(Exception):
    """An expression that is not taken; `messages` are all its faults."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__("; ".join(messages))
        self.messages = tuple(messages)


def compile_expression(text: str, words: Vocabulary, wants: Kind | None = "boolean") -> Compiled:
    """Compile SQL text over the signals of a vocabulary (a record's field is called `event.<field>`).

    An Enum stands for texts of a closed set: a comparison with any other is a fault, as is a threshold beyond what its
    signal can be. `:name` stands for a parameter's value. The result has the kind `wants` (None: any). Meaning is
    SQL's: unknown (null) stays unknown through comparisons; `/` is exact division and null where the divisor is zero;
    sums of whole numbers are 64 bits wide. Raises: LanguageError with all faults.
    """
    walk = Walk(words.signals, words.params)
    try:
        tree = parse(text)
        kind = walk.visit(tree)
        if not walk.faults and kind is not None and wants not in (kind, None):
            walk.faults.append(f"the expression is a {kind}, expected a {wants}")
        if not walk.faults:
            walk.faults.extend(find_faults(tree, words.known))
    except RecursionError as error:
        raise LanguageError(["nested too deeply; split the rule into several"]) from error
    if walk.faults:
        raise LanguageError(list(dict.fromkeys(walk.faults)))
    deciding = (words.params[name] for name in walk.params_read)
    named = [*walk.names, *(name for one in deciding if isinstance(one, Overridden) for name in one.names)]
    reads = tuple(dict.fromkeys(read for name in named for read in words.reads(name)))
    sql = tree.transform(partial(_to_polars, words=words))
    try:
        compiled = pl.sql_expr(sql.sql())
        schema = {name: _stored(words.signals[name]) for name in reads}
        dtype = pl.DataFrame(schema=schema).select(compiled.alias("it")).dtypes[0]
    except pl.exceptions.PolarsError as error:
        raise LanguageError([f"polars does not take it: {str(error).splitlines()[0]}"]) from error
    if kind_of(dtype) != kind:
        raise LanguageError([f"polars makes {dtype} of it, expected a {kind}"])
    return Compiled(compiled, tuple(walk.names), tuple(walk.params_read), reads, dtype, tree, Part(sql, reads))


def _stored(dtype: pl.DataType) -> pl.DataType:
    """The type of a signal's column: a closed set of texts is known to rules, and stored as text."""
    return pl.String() if isinstance(dtype, pl.Enum) else dtype


def parameters_in(text: str) -> set[str]:
    """The parameters that a text names, whether or not the text is an expression."""
    return {found[1] for found in _PARAMETER.finditer(text) if found[1]}


def words_in(text: str) -> set[str]:
    """The words that a text holds beside quoted texts and parameters, whether or not it is an expression."""
    return {found[1] for found in _WORD.finditer(text) if found[1]}


def parse(text: str) -> exp.Expr:
    """An expression as a tree, its parameters behind a mark. Raises: LanguageError."""
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


def _to_polars(node: exp.Expr, words: Vocabulary) -> exp.Expr:
    """The same meaning in the SQL of polars: parameters filled in, names quoted, arithmetic made safe."""
    if isinstance(node, exp.Placeholder):
        value = words.params[node.name.removeprefix(PARAMETER_MARK)]
        return _chosen(value, words) if isinstance(value, Overridden) else _literal(value)
    if isinstance(node, exp.Literal) and not node.is_string:
        return _literal(float(node.this) if _is_fraction(node.this) else int(node.this))
    if isinstance(node, exp.Column):
        name = column_name(node)
        # Whole numbers of 32 bits would wrap around in sums and products.
        is_whole = _is_added_up(node) and words.signals[name].is_integer()
        return exp.cast(_signal(name, words), "BIGINT") if is_whole else _signal(name, words)
    if isinstance(node, exp.Div) and not isinstance(node.expression, exp.Nullif):
        node.set("expression", exp.Nullif(this=node.expression, expression=exp.Literal.number(0)))
    return node


def _signal(name: str, words: Vocabulary) -> exp.Expr:
    if name in words.derived:
        return exp.Paren(this=words.derived[name].sql.copy())
    return exp.column(exp.to_identifier(name, quoted=True))


def _chosen(value: Overridden, words: Vocabulary) -> exp.Expr:
    """The value of the first override that is met."""
    is_fraction = any(isinstance(one, float) for one in value.values)
    default, *values = (float(one) if is_fraction else one for one in value.values)
    chosen = exp.Case(default=_literal(default))
    for (where, _), one in zip(value.overrides, values, strict=True):
        equal = [exp.EQ(this=_signal(name, words), expression=_literal(must)) for name, must in where.items()]
        chosen = chosen.when(exp.and_(*equal), _literal(one))
    return exp.Paren(this=chosen)


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
