"""Events are due when a faster clock says so, in the order of the file."""

import polars as pl
import pytest

from service.history.pace import portions

HOUR_US = 3_600_000_000


def events(*times_us: int | None) -> pl.DataFrame:
    return pl.DataFrame(
        {"occurred_us": times_us, "n": range(len(times_us))}, schema_overrides={"occurred_us": pl.Int64}
    )


def due(frame: pl.DataFrame, speed: float | None) -> list[tuple[float, list[int]]]:
    return [(round(due_s, 6), part["n"].to_list()) for due_s, part in portions(frame, speed)]


@pytest.mark.parametrize(
    ("times", "speed", "expected"),
    [
        ((0, HOUR_US, 2 * HOUR_US), 3600, [(0.0, [0]), (1.0, [1]), (2.0, [2])]),
        ((0, HOUR_US, 2 * HOUR_US), 7200, [(0.0, [0]), (0.5, [1]), (1.0, [2])]),
        ((0, HOUR_US, 2 * HOUR_US), None, [(0.0, [0, 1, 2])]),
        # Late ones are sent where they stand, not when they would have been due.
        ((HOUR_US, 3 * HOUR_US, 0, 3 * HOUR_US), 3600, [(0.0, [0]), (2.0, [1, 2, 3])]),
        # A line without a time goes with the one before it.
        ((None, 0, None, HOUR_US, None), 3600, [(0.0, [0, 1, 2]), (1.0, [3, 4])]),
        ((None, None), 10, [(0.0, [0, 1])]),
        ((), 10, []),
    ],
)
def test_each_is_due_in_its_time(
    times: tuple[int | None, ...], speed: float | None, expected: list[tuple[float, list[int]]]
) -> None:
    assert due(events(*times), speed) == expected


def test_much_at_once_comes_in_pieces() -> None:
    parts = list(portions(events(*[0] * 50_000), 1.0))
    assert [part.events.height for part in parts] == [20_000, 20_000, 10_000]
    assert {part.due_s for part in parts} == {0.0}
