"""Conditions that are split and put together again hold of whom the whole conditions do."""

from itertools import product

import polars as pl
import pytest

from service.core.conditions import Splitting

FRAME = pl.DataFrame(
    list(product((True, False, None), (1, 5, None), ("x", None))), schema=["flag", "number", "text"], orient="row"
)
TEXTS = [
    "number > 3",
    "flag AND number > 3",
    "flag OR number > 3",
    "flag AND (number > 3 OR text = 'x') AND NOT (flag AND number > 3)",
    "text IS NULL OR flag AND number > 3",
    "COALESCE(number > 3, true) AND flag",
    "flag",
]


@pytest.mark.parametrize("unknown", [True, False])
@pytest.mark.parametrize("text", TEXTS)
def test_parts_come_out_as_the_whole(text: str, *, unknown: bool) -> None:
    whole = pl.sql_expr(text)
    splitting = Splitting()
    splitting.add("it", whole, unknown=unknown)
    expected = FRAME.select(it=whole.fill_null(value=unknown))["it"]
    assert splitting.done().judge(FRAME)["it"].to_list() == expected.to_list()


def test_what_several_ask_is_one_part_and_only_what_is_asked_is_read() -> None:
    splitting = Splitting()
    splitting.add("one", pl.sql_expr("flag AND number > 3"))
    splitting.add("two", pl.sql_expr("number > 3 AND (flag OR number > 4)"))
    splitting.add("three", pl.sql_expr("flag"), unknown=True)
    made = splitting.done()
    assert len(made.parts) == 4
    assert made.names == ("flag", "number")


def test_what_reads_no_signal_is_one_line() -> None:
    splitting = Splitting()
    splitting.add("always", pl.lit(value=True))
    assert splitting.done().judge(FRAME)["always"].to_list() == [True]
