"""An event counts once: by row and id, on the day it belongs to, over any cutting and a restore."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from service.core.repeats import Repeats

events = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 6)), max_size=60)


@given(st.lists(events, max_size=6))
def test_marks_what_a_set_marks(batches: list[list[tuple[int, int, int]]]) -> None:
    repeats, seen = Repeats(), set[tuple[int, int, int]]()
    for batch in batches:
        expected = []
        for event in batch:
            expected.append(event in seen)
            seen.add(event)
        days, rows, hashes = (np.array([e[i] for e in batch], dtype) for i, dtype in enumerate(("i4", "i4", "u8")))
        assert repeats.mark(days, rows, hashes, 7 + hashes.astype(np.int32) % 3).tolist() == expected
        repeats = Repeats.of(repeats.frame())


def test_forgets_what_can_come_no_more_and_costs_12_bytes_an_event() -> None:
    repeats = Repeats()
    hashes = np.arange(1000, dtype=np.uint64)
    horizons = np.where(hashes < 10, 35, 7).astype(np.int32)  # some come from abroad
    for day in range(3):
        repeats.mark(np.full(1000, day), np.zeros(1000, np.int32), hashes, horizons)
    assert repeats.nbytes == 3 * 1000 * 12
    repeats.forget(8)
    assert repeats.nbytes == (1000 + 2 * 10) * 12
    assert repeats.mark(np.array([1, 1]), np.array([0, 0]), hashes[9:11], horizons[9:11]).tolist() == [True, False]
    assert repeats.mark(np.array([2]), np.array([0]), hashes[:1], horizons[:1]).all()
