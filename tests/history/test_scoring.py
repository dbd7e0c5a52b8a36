"""Scores of small groups and orders, worked out by hand."""

import polars as pl
import pytest

from service.history.scoring import Overlap, Score, lead_days, order, overlap, score


@pytest.mark.parametrize(
    ("warned", "expected"),
    [
        ({"a", "b", "c"}, (3, 2 / 3, 1.0, 10 / 3)),
        ({"c"}, (1, 0.0, 0.0, 0.0)),
        (set(), (0, None, 0.0, None)),
    ],
)
def test_scores_are_fractions_of_all_that_are_labelled(
    warned: set[str], expected: tuple[int, float | None, float, float | None]
) -> None:
    found = score(warned, {"a", "b"}, 10)
    assert (found.warned, found.precision, found.recall, found.lift) == pytest.approx(expected)


def test_nobody_left_leaves_nothing_to_recall() -> None:
    assert score({"a"}, set(), 3) == Score(1, 0.0, None, None)


def test_the_lead_is_the_median_over_those_who_left() -> None:
    assert lead_days({"a": 10, "b": 20, "c": 5, "stayed": 1}, {"a": 40, "b": 41, "c": 40}) == 30.0
    assert lead_days({"stayed": 1}, {"a": 40}) is None


def test_the_neighbour_is_the_rule_that_names_most_of_the_same() -> None:
    warned = {"one": {"a", "b", "c", "d"}, "two": {"a"}, "three": {"b", "c", "x", "y", "z"}, "four": set()}
    assert overlap("one", warned) == Overlap("three", 0.5)
    assert overlap("two", warned) == Overlap("one", 1.0)
    assert overlap("four", warned) is None


def listed(*people: tuple[int, bool]) -> pl.DataFrame:
    """People in their order: a place and whether they left."""
    rows = [(f"s{n}", place, left) for n, (place, left) in enumerate(people)]
    return pl.DataFrame(rows, schema=["subscriber_id", "place", "left"], orient="row")


@pytest.mark.parametrize(
    ("people", "expected"),
    [
        ([(9, True), (8, True), (7, False)], 1.0),
        ([(9, False), (8, True)], 0.0),
        ([(9, True), (9, False)], 0.5),
        # Pairs of one who left (9, 5) and one who stayed (8, 5): won, won, lost, even.
        ([(9, True), (8, False), (5, True), (5, False)], 2.5 / 4),
        ([(9, True)], None),
        ([(9, False)], None),
    ],
)
def test_the_roc_area_counts_pairs_and_halves_those_at_one_place(
    people: list[tuple[int, bool]], expected: float | None
) -> None:
    assert order(listed(*people), ["place"]).roc_auc == expected


def test_the_first_twentieth_is_rounded_up_to_whole_people() -> None:
    found = order(listed((3, True), (2, False), *[(1, False)] * 18, (0, True)), ["place"])
    assert found.top == Score(2, 0.5, 0.5, 0.5 * 21 / 2)
    assert (found.labelled, found.leavers) == (21, 2)
