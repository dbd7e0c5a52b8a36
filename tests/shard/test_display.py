"""A shard's display while a step is under way: who asks waits, or is told at once that they would have to."""

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from service.core.state import Config, new_state
from service.core.step import close_through, step
from service.ports import Busy
from service.shard.display import Display
from tests.core.streams import Event, batch_of
from tests.core.test_record import BOOK
from tests.doubles.panes import kept

BEGIN = datetime(2024, 3, 1, tzinfo=UTC)


@pytest.fixture
def display() -> Display:
    """Of a shard that knows one subscriber."""
    state = new_state(Config())
    step(state, BOOK, batch_of([Event("e", "a", "usage.data", BEGIN, {"bytes": 10})]))
    shown = Display(0, BOOK)
    shown.show(state)
    return shown


def until_locked(lock: threading.Lock, within_s: float = 10.0) -> bool:
    """Whether somebody takes a lock in time."""
    deadline_s = time.monotonic() + within_s
    while not lock.locked() and time.monotonic() < deadline_s:
        pass
    return lock.locked()


def test_what_cannot_be_had_at_once_is_not_waited_for(display: Display) -> None:
    assert display.subscriber("a", at_once=True) is not None
    with display.stepping() as aside:
        with pytest.raises(Busy):
            display.subscriber("a", at_once=True)
        with aside():
            assert display.subscriber("a", at_once=True) is not None
        with pytest.raises(Busy):
            display.subscriber("a", at_once=True)
    assert display.subscriber("a", at_once=True) is not None


def test_who_waits_in_line_is_let_in_before_the_step_goes_on(display: Display) -> None:
    answered = threading.Event()

    def ask() -> None:
        assert display.subscriber("a") is not None
        answered.set()

    asking = threading.Thread(target=ask)
    with display.stepping() as aside:
        asking.start()
        assert until_locked(display._line)  # it waits in line
        assert not answered.is_set()
        with aside():
            pass
        assert answered.wait(10)
    asking.join()


def test_history_that_lies_elsewhere_is_fetched_by_who_may_wait() -> None:
    state = new_state(Config())
    events = [Event(str(day), "a", "usage.data", BEGIN + timedelta(days=day), {"bytes": 10}) for day in range(3)]
    step(state, BOOK, batch_of(events))
    close_through(state, BOOK, state.closed_day + 2 if state.closed_day else 0, "clock")
    again, display = kept(state).taken_up(Config()), Display(0, BOOK)
    display.show(again)
    with pytest.raises(Busy):
        display.subscriber("a", at_once=True)
    record = display.subscriber("a")
    assert record is not None
    assert record == display.subscriber("a", at_once=True)
    assert sum(day["data_bytes"] for day in record["daily"]) == 30
