"""An event counts once: by row and id, on the day it belongs to, over any cutting, a restore and what a store takes."""

from collections.abc import Mapping

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from service.core.repeats import _WORTHWHILE, Marks, Repeats, Sealed
from tests.doubles.panes import StoredRun, stored

Keys = list[tuple[int, int, int]]

events = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 6)), max_size=60)


def marked(repeats: Repeats, keys: Keys) -> Marks:
    days, rows, hashes = (np.array([key[i] for key in keys], dtype) for i, dtype in enumerate(("i4", "i4", "u8")))
    return repeats.mark(days, rows, hashes, 7 + hashes.astype(np.int32) % 3)


def runs(repeats: Repeats, closed_day: int) -> dict[str, StoredRun]:
    """What a store makes of what is offered."""
    named = stored({f"repeats/{name}": piece for name, piece in repeats.offer(closed_day).items()})
    return {name.removeprefix("repeats/"): run for name, run in named.items() if isinstance(run, StoredRun)}


def sealed(repeats: Repeats, closed_day: int) -> Mapping[str, Sealed]:
    kept = runs(repeats, closed_day)
    repeats.leave(kept)
    return kept


@given(st.lists(st.tuples(events, st.booleans()), max_size=6), st.integers(-1, 4))
def test_marks_what_a_set_marks(batches: list[tuple[Keys, bool]], closed_day: int) -> None:
    repeats, seen = Repeats(), set[tuple[int, int, int]]()
    for batch, restart in batches:
        expected = []
        for event in batch:
            expected.append(event in seen)
            seen.add(event)
        marks = marked(repeats, batch)
        assert marks.repeated.tolist() == expected
        assert not marks.unknown.any()
        kept = sealed(repeats, closed_day)
        if restart:
            repeats = Repeats.of(repeats.frame(), kept)


def test_forgets_what_can_come_no_more_and_costs_12_bytes_an_event() -> None:
    repeats = Repeats()
    hashes = np.arange(1000, dtype=np.uint64)
    horizons = np.where(hashes < 10, 35, 7).astype(np.int32)  # some come from abroad
    for day in range(3):
        repeats.mark(np.full(1000, day), np.zeros(1000, np.int32), hashes, horizons)
    assert repeats.nbytes == 3 * 1000 * 12
    repeats.forget(8)
    assert repeats.nbytes == (1000 + 2 * 10) * 12
    again = repeats.mark(np.array([1, 1]), np.array([0, 0]), hashes[9:11], horizons[9:11])
    assert again.repeated.tolist() == [True, False]
    assert repeats.mark(np.array([2]), np.array([0]), hashes[:1], horizons[:1]).repeated.all()


def test_buckets_older_than_a_day_take_no_memory_once_a_store_has_them() -> None:
    repeats = Repeats()
    marked(repeats, [(day, 0, number) for day in range(4) for number in range(9)])
    offered = runs(repeats, 2)
    assert sorted(offered) == [f"{day}.{horizon}.0" for day in (0, 1) for horizon in (7, 8, 9)]
    assert repeats.nbytes == 4 * 9 * 12, "what is only offered may not be taken"
    assert sorted(set(repeats.frame()["day"])) == [2, 3]
    assert marked(repeats, [(0, 0, 1), (0, 0, 9)]).repeated.tolist() == [True, False]
    repeats.leave(offered)
    assert repeats.nbytes == (2 * 9 + 1) * 12
    assert marked(repeats, [(0, 0, 1), (0, 0, 9), (0, 1, 1)]).repeated.tolist() == [True, True, False]
    repeats.forget(20)
    assert repeats.offer(20) == {}
    assert not marked(repeats, [(0, 0, 1)]).repeated.any()


def test_few_late_ones_stay_in_memory_and_many_are_offered() -> None:
    repeats = Repeats()
    marked(repeats, [(0, 0, 1)])
    sealed(repeats, 1)
    marked(repeats, [(0, 0, 4)])
    assert len(runs(repeats, 1)) == 1
    hashes = np.arange(3, 3 * _WORTHWHILE, 3, dtype=np.uint64)
    repeats.mark(np.zeros(hashes.size, np.int32), np.ones(hashes.size, np.int32), hashes, np.full(hashes.size, 8))
    assert sorted(runs(repeats, 1)) == ["0.8.0", "0.8.1"]


def test_of_a_day_that_can_no_longer_be_read_nothing_is_known() -> None:
    repeats = Repeats()
    marked(repeats, [(0, 0, 1), (1, 0, 1)])
    kept = runs(repeats, 2)
    repeats.leave(kept)
    kept["0.8.0"].damaged = True
    marks = marked(repeats, [(0, 0, 1), (0, 0, 5), (0, 0, 5), (1, 0, 1), (1, 0, 5)])
    assert marks.unknown.tolist() == [True, True, True, False, False]
    assert marks.repeated.tolist() == [False, False, False, True, False]
