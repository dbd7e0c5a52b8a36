"""The watermark follows the latest time, and one wrong clock does not take it away."""

import numpy as np

from service.core.calendar import DAY_US
from service.core.watermark import Watermark


def advance(watermark: Watermark, *records: tuple[float, int]) -> list[float]:
    """(days, subscriber) in, watermark in days after each out."""
    times = np.array([round(days * DAY_US) for days, _ in records], np.int64)
    who = np.array([subscriber for _, subscriber in records], np.uint64)
    return [us / DAY_US for us in watermark.advance(times, lambda: who).tolist()]


def test_it_follows_and_never_falls() -> None:
    assert advance(Watermark(), (1, 1), (1.5, 2), (0.5, 1), (2.5, 1)) == [1, 1.5, 1.5, 2.5]


def test_one_clock_a_year_ahead_moves_nothing_however_often_it_speaks() -> None:
    records = [(1, 1)] + [(366 + n / 10, 9) for n in range(50)] + [(1.25, 2)]
    assert advance(Watermark(), *records) == [1] * 51 + [1.25]


def test_two_clocks_ahead_move_nothing_and_three_move_to_the_earliest() -> None:
    watermark = Watermark()
    assert advance(watermark, (1, 1), (11, 2), (12, 3)) == [1, 1, 1]
    assert advance(watermark, (13, 4), (11.5, 5)) == [1, 11]


def test_clocks_that_are_wrong_each_in_its_own_way_agree_on_nothing() -> None:
    assert advance(Watermark(), (1, 1), (100, 2), (200, 3), (300, 4), (400, 5)) == [1] * 5


def test_as_many_must_agree_as_there_are() -> None:
    assert advance(Watermark(), (1, 1), (30, 1)) == [1, 30]
    assert advance(Watermark(), (1, 1), (1, 2), (30, 1), (30.5, 2)) == [1, 1, 1, 30]


def test_claims_that_were_reached_agree_with_nobody() -> None:
    watermark = Watermark()
    advance(watermark, (1, 1), (2.5, 2), (1.9, 1), (2.6, 1))
    # 2.5 is the present by now; it must not lend its voice to a leap.
    assert advance(watermark, (9, 3), (9, 4)) == [2.6, 2.6]
    assert advance(watermark, (9, 5)) == [9]
