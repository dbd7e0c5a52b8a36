"""A shard's display while a step is under way: who asks waits, or is told at once that they would have to."""

import threading
from datetime import UTC, datetime

import pytest

from service.core.state import Config, new_state
from service.core.step import step
from service.ports import Busy
from service.shard.display import Display
from tests.core.streams import Event, batch_of
from tests.core.test_record import BOOK


@pytest.fixture
def display() -> Display:
    """Of a shard that knows one subscriber."""
    state = new_state(Config())
    step(state, BOOK, batch_of([Event("e", "a", "usage.data", datetime(2024, 3, 1, tzinfo=UTC), {"bytes": 10})]))
    shown = Display(0, BOOK)
    shown.show(state)
    return shown


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
        while not display._line.locked():  # it waits in line
            pass
        assert not answered.is_set()
        with aside():
            pass
        assert answered.wait(10)
    asking.join()
