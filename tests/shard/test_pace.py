"""Shards of one process leave each other, and the lookups, their time."""

import asyncio
import threading
from contextlib import ExitStack
from functools import partial

import pytest

from service.clock import SystemClock
from service.shard.pace import Pace


def test_small_turns_of_many_shards_lie_as_far_apart_as_they_cost() -> None:
    pace = Pace()
    with ExitStack() as shards:
        for _ in range(10):
            shards.enter_context(pace.shared())
        assert pace.interval_s(0.2) == 0.2, "nothing is known of their cost yet"
        for _ in range(100):
            pace.note_small(0.03)
        assert pace.interval_s(0.2) == pytest.approx(10 * 0.03, rel=0.01)
        assert pace.interval_s(1.0) == 1.0, "never sooner than is asked for"
        assert pace.interval_s(0.0) == 0.0, "who asks for no pause gets none"
        for _ in range(100):
            pace.note_small(5.0)
        assert pace.interval_s(0.2) == 2.0, "a warning may not wait for ever"
        for _ in range(100):
            pace.note_small(0.001)
        assert pace.interval_s(0.2) == 0.2
    pace.note_small(5.0)
    assert pace.interval_s(0.2) == 0.2, "nobody is left to be held up"


async def test_no_more_work_at_once_than_there_are_cores_and_its_time_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    pace, clock, at_work, most = Pace(), SystemClock(), set[int](), []
    both = threading.Barrier(2, timeout=30)

    def work(number: int) -> int:
        at_work.add(number)
        both.wait()
        most.append(len(at_work))
        both.wait()
        at_work.discard(number)
        return number

    began_s = clock.elapsed_s()
    done = await asyncio.gather(*(pace.work(partial(work, number), clock) for number in range(6)))
    assert [number for number, _ in done] == list(range(6))
    assert max(most) == 2
    assert all(0 < seconds <= clock.elapsed_s() - began_s for _, seconds in done)
