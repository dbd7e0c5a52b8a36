"""Strings are numbered in order of arrival and found again, also when hashes collide."""

import heapq

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import service.core.strings
from service.core.hashing import hash64
from service.core.strings import ABSENT, StringIndex

words = st.lists(st.text(max_size=20), max_size=40)


@given(st.lists(words, max_size=6))
def test_numbers_are_those_of_a_dict(batches: list[list[str]]) -> None:
    index, plain = StringIndex(), dict[str, int]()
    for batch in batches:
        expected = [plain.setdefault(word, len(plain)) for word in batch]
        assert index.intern(pl.Series(batch, dtype=pl.String)).tolist() == expected
    assert index.strings.to_list() == list(plain)
    assert index.intern(pl.Series([*plain], dtype=pl.String)).tolist() == [*plain.values()]
    assert len(index) == len(plain)
    assert [index.number(word) for word in [*plain, "\0never", "\ud800"]] == [*plain.values(), ABSENT, ABSENT]
    assert [index.text(number) for number in (*plain.values(), ABSENT)] == [*plain, None]


@given(st.lists(st.tuples(words, st.lists(st.integers(0, 60), max_size=9), st.booleans()), max_size=9))
def test_numbers_that_were_released_are_given_again(steps: list[tuple[list[str], list[int], bool]]) -> None:
    index, plain, free, made = StringIndex(), dict[str, int](), list[int](), 0
    for batch, released, restart in steps:
        for word in batch:
            if word not in plain:
                plain[word] = heapq.heappop(free) if free else made
                made = max(made, plain[word] + 1)
        assert index.intern(pl.Series(batch, dtype=pl.String)).tolist() == [plain[word] for word in batch]
        gone = [word for word, number in plain.items() if number in released]
        index.release(np.array([plain[word] for word in gone], np.int32))
        for word in gone:
            heapq.heappush(free, plain.pop(word))
        if restart:
            index = StringIndex.of(index.strings)
        assert (len(index), index.count) == (made, len(plain))
        assert [index.number(word) for word in [*plain, *gone]] == [*plain.values(), *[ABSENT] * len(gone)]
        assert sorted(index.named(np.arange(made))) == sorted(plain.values())
        told = dict(enumerate(index.strings))
        assert told == dict.fromkeys(range(made)) | {number: word for word, number in plain.items()}


def test_slots_of_who_is_gone_are_cleared_away() -> None:
    index = StringIndex()
    held = []
    for start in range(0, 50_000, 500):
        numbers = index.intern(pl.Series([f"subscriber-{n:05}" for n in range(start, start + 500)]))
        assert numbers.tolist() == list(range(500))
        index.release(numbers)
        held.append(index.nbytes)
    assert max(held[1:]) == held[1]


def test_colliding_hashes_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.core.strings, "hash64", lambda values: np.zeros(len(values), np.uint64))
    index = StringIndex()
    assert index.intern(pl.Series(["a", "b", "a", "c"])).tolist() == [0, 1, 0, 2]
    assert index.intern(pl.Series(["c", "d", "b"])).tolist() == [2, 3, 1]


def test_it_grows_past_its_first_table() -> None:
    index = StringIndex()
    many = pl.Series([f"subscriber-{n}" for n in range(20_000)])
    for start in range(0, 20_000, 777):
        index.intern(many[start : start + 777])
    assert index.intern(many).tolist() == list(range(20_000))
    assert len(index) == 20_000
    assert index.take(np.array([0, 19_999, ABSENT])).to_list() == ["subscriber-0", "subscriber-19999", None]


def test_a_hash_does_not_depend_on_its_neighbours_and_never_changes() -> None:
    alone = [hash64(pl.Series([word])).item() for word in ("", "a", "a\0", "日本", "x" * 100)]
    together = hash64(pl.Series(["", "a", "a\0", "日本", "x" * 100])).tolist()
    assert alone == together
    assert len(set(alone)) == 5
    # Hashes lie in snapshots: a change of these figures is a change of the snapshot's format.
    assert alone[1] == 5901722226206854298
