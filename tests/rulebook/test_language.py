"""Every construct of the rules' SQL means what SQL says, and everything else is refused with a remedy."""

from collections.abc import Mapping

import polars as pl
import pytest

from service.rulebook.language import LanguageError, Vocabulary, compile_expression
from service.rulebook.overrides import Kind, Scalar

SIGNALS: Mapping[str, pl.DataType] = {
    "spend": pl.Int64(),
    "days": pl.Int32(),
    "ratio": pl.Float64(),
    "market": pl.String(),
    "bundled": pl.Boolean(),
    "since": pl.Date(),
    "event.fee_minor": pl.Int64(),
    "event.total": pl.Int64(),
}
FRAME = pl.DataFrame(
    {
        "spend": [1, 2, None, -5],
        "days": [2, 0, 3, 2_000_000_000],
        "ratio": [0.5, None, 0.3, 2.0],
        "market": ["a.b", None, "campus", "a'b"],
        "bundled": [True, None, False, True],
        "since": [None, None, None, None],
        "event.fee_minor": [10, 20, None, 30],
        "event.total": [0, 0, 0, 0],
    },
    schema=dict(SIGNALS),
)
PARAMS: Mapping[str, Scalar] = {"drop": 0.3, "low": -3, "place": "campus", "flag": True, "many": 2}
WORDS = Vocabulary(SIGNALS, PARAMS)

T, F, N = True, False, None


# Each line says what four subscribers make of it: SQL's three values, true, false and unknown.
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("spend > 1", [F, T, N, F]),
        ("spend >= 1", [T, T, N, F]),
        ("spend < 1", [F, F, N, T]),
        ("spend <= 1", [T, F, N, T]),
        ("spend = 1", [T, F, N, F]),
        ("spend <> 1", [F, T, N, T]),
        ("spend != 1", [F, T, N, T]),
        ("ratio = 0.3", [F, N, T, F]),
        ("days > 3000000000", [F, F, F, F]),
        ("spend > 1 AND days > 2", [F, F, N, F]),
        ("spend > 1 AND ratio > 0", [F, N, N, F]),
        ("spend > 1 OR days > 2", [F, T, T, T]),
        ("spend > 1 OR ratio > 1", [F, T, N, T]),
        ("NOT spend > 1", [T, F, N, T]),
        ("NOT (spend > 1 OR bundled)", [F, F, N, F]),
        ("NOT bundled AND days = 3", [F, F, T, F]),
        ("bundled", [T, N, F, T]),
        ("bundled = true", [T, N, F, T]),
        ("bundled <> :flag", [F, N, T, F]),
        ("true", [T, T, T, T]),
        ("spend BETWEEN 1 AND 2", [T, T, N, F]),
        ("spend NOT BETWEEN 1 AND 2", [F, F, N, T]),
        ("spend IN (1, 2)", [T, T, N, F]),
        ("spend NOT IN (1, 5)", [F, T, N, T]),
        ("spend IN (days, 1)", [T, F, N, F]),
        ("ratio IN (0.3, 2)", [F, N, T, T]),
        ("market IN ('campus', 'a.b')", [T, N, T, F]),
        ("market NOT IN (:place)", [T, N, F, T]),
        ("spend IS NULL", [F, F, T, F]),
        ("market IS NOT NULL", [T, F, T, T]),
        ("since IS NULL", [T, T, T, T]),
        ("market LIKE 'a%'", [T, N, F, T]),
        ("market NOT LIKE 'a%'", [F, N, T, F]),
        ("market LIKE 'a_b'", [T, N, F, T]),
        ("market LIKE 'a.b'", [T, N, F, F]),
        ("market LIKE '%amp%'", [F, N, T, F]),
        ("market = 'a''b'", [F, N, F, T]),
        ("market < 'b'", [T, N, F, T]),
        ("CASE WHEN spend > 1 THEN 'big' WHEN spend = 1 THEN 'one' ELSE 'other' END = 'other'", [F, F, T, T]),
        ("CASE WHEN spend > 1 THEN true END", [N, T, N, N]),
        ("CASE WHEN spend > 1 THEN 1 ELSE 2.5 END = 2.5", [T, F, T, T]),
        ("COALESCE(spend, 0) = 0", [F, F, T, F]),
        ("COALESCE(ratio, spend, 9) > 1", [F, T, F, T]),
        ("NULLIF(days, 0) > 1", [T, N, T, T]),
        ("ABS(spend) > 1", [F, T, N, T]),
        ("LEAST(spend, days) = 1", [T, F, F, F]),
        ("GREATEST(spend, 2) = 2", [T, T, T, T]),
        ("spend + 1 = 2", [T, F, N, F]),
        ("spend - 1 = 1", [F, T, N, F]),
        ("-spend = 5", [F, F, N, T]),
        ("spend = :low - :many", [F, F, N, T]),
        ("spend > -:many", [T, T, N, F]),
        ("days * 3 > 5999999999", [F, F, F, T]),
        ("days + days > 0", [T, F, T, T]),
        ("spend / 2 = 0.5", [T, F, N, F]),
        ("1 / 2 = 0.5", [T, T, T, T]),
        ("spend / days > 0", [T, N, N, F]),
        ("spend / (days - 2) > 0", [N, F, N, F]),
        ("spend * 0.1 = 0.2", [F, T, N, F]),
        ("ratio >= :drop", [T, N, T, T]),
        ('event.fee_minor > 10 AND "event.fee_minor" < 30', [F, T, N, F]),
        ("event.total = 0", [T, T, T, T]),
    ],
)
def test_means_what_sql_means(text: str, expected: list[bool | None]) -> None:
    compiled = compile_expression(text, WORDS)
    values = FRAME.select(it=compiled.expression)["it"].to_list()
    assert (values if len(values) == FRAME.height else values * FRAME.height) == expected


def test_says_which_signals_and_parameters_it_reads_in_their_order() -> None:
    compiled = compile_expression("ratio > :drop AND (event.total > 0 OR spend > :many OR ratio < 1)", WORDS)
    assert compiled.names == ("ratio", "event.total", "spend")
    assert compiled.params == ("drop", "many")


def test_a_quoted_colon_is_no_parameter() -> None:
    assert compile_expression("market = 'a :drop'", Vocabulary(SIGNALS)).params == ()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("spent > 1", "unknown signal spent; did you mean spend?"),
        ("event.fee > 1", "unknown field event.fee; did you mean event.fee_minor?"),
        ("ratio > :dorp", "unknown parameter :dorp; did you mean :drop?"),
        ("spend > 'much'", "spend > 'much' puts number and text together, expected one kind"),
        ("market IN ('a', 1)", "puts text and number together, expected one kind"),
        ("spend AND bundled", "spend is a number, expected a boolean beside AND"),
        ("NOT market", "market is a text, expected a boolean beside NOT"),
        ("market + 1 > 2", "market is a text, expected a number"),
        ("spend LIKE 'a%'", "spend is no text, which LIKE wants"),
        ("market LIKE market", "LIKE wants a quoted pattern"),
        ("CASE WHEN spend THEN true END", "spend is no boolean, which WHEN wants"),
        ("spend + 1", "the expression is a number, expected a boolean"),
        ("spend = NULL", "NULL is never equal to anything; write IS NULL or IS NOT NULL"),
        ("bundled IS TRUE", "IS goes with NULL only; write x = true"),
        ("SUM(spend) > 1", "aggregates and OVER are not allowed"),
        ("SUM(spend) OVER (PARTITION BY market) > 1", "aggregates and OVER are not allowed"),
        ("RANK() OVER (ORDER BY spend) = 1", "aggregates and OVER are not allowed"),
        ("spend IN (SELECT 1)", "not part of the language"),
        ("SELECT 1", "queries are not allowed"),
        ("(SELECT 1) = 1", "queries are not allowed"),
        ("EXISTS (SELECT 1)", "not part of the language"),
        ("spend BETWEEN SYMMETRIC 1 AND 2", "not part of the language"),
        ("UPPER(market) = 'A'", "not part of the language"),
        ("anything(spend) = 1", "not part of the language"),
        ("spend % 2 = 1", "not part of the language"),
        ("CASE spend WHEN 1 THEN true END", "not part of the language"),
        ("CAST(spend AS TEXT) = '1'", "not part of the language"),
        ("CURRENT_DATE = since", "not part of the language"),
        ("spend > 1 rest", "not part of the language"),
        ("x.y.spend > 1", "not part of the language"),
        ("DROP TABLE rules", "not part of the language"),
        ("*", "not part of the language"),
        ("spend IN ()", "IN wants a list of values"),
        ("spend >", "not an expression: it breaks off or goes wrong at 'spend >'"),
        ("spend > :drop >= :", "not an expression: it breaks off or goes wrong at 'spend > :drop >= :'"),
        ("spend && days", "not an expression: it breaks off or goes wrong at 'spend &&'"),
        ("market = 'open", "not an expression"),
        ("spend > 1; days > 1", "expected one expression, found 2"),
        ("", "expected one expression, found 0"),
    ],
)
def test_refuses_with_what_was_expected(text: str, fault: str) -> None:
    with pytest.raises(LanguageError) as caught:
        compile_expression(text, WORDS)
    assert fault in str(caught.value)


def test_names_every_fault_of_an_expression() -> None:
    with pytest.raises(LanguageError) as caught:
        compile_expression("spent > 1 AND ratio > :dorp OR market > 2", WORDS)
    assert len(caught.value.messages) == 3


def test_a_record_can_only_be_read_by_rules_on_a_type() -> None:
    with pytest.raises(LanguageError, match="no `on` types"):
        compile_expression("event.total > 1", Vocabulary({"spend": pl.Int64()}))


@pytest.mark.parametrize(("text", "kind"), [("spend / 2", "number"), ("COALESCE(market, 'x')", "text")])
def test_other_kinds_can_be_wanted(text: str, kind: Kind) -> None:
    assert compile_expression(text, WORDS, kind).names in {("spend",), ("market",)}
