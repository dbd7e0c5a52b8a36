"""The comparison can fail: whatever is missing, doubled or different is found."""

from dataclasses import replace

import pytest

from service.wire.deadletters import dead_letter
from service.wire.records import Message, Record
from service.wire.rejects import Fault, Reject
from tests.chaos.comparison import Difference, compare, said

NOTHING = Difference(0, 0, 0, 0, 0)


def warning(name: str, subscriber: str = "s", value: bytes = b"{}") -> Message:
    return Message("churn.warnings", 1, subscriber.encode(), value, (("ce_id", name.encode()), ("ce_type", b"t")))


ALL = [
    warning("a.raised"),
    warning("b.raised", "s2"),
    warning("a.resolved"),
    dead_letter(Reject(Record("usage.events", 1, 7, 0, b"s", b"{"), Fault.MALFORMED, "no"), "usage.dead-letters"),
    Message("churn.decisions", 1, b"day/2024-03-04", b'{"cut":8,"slices":2,"slices_done":1}'),
    Message("churn.decisions", 1, b"day/2024-03-04", b'{"cut":8,"slices":2,"slices_done":2}'),
]


def difference(found: list[Message]) -> Difference:
    return replace(compare(map(said, ALL), map(said, found)), examples=())


def test_the_same_messages_differ_in_nothing() -> None:
    assert difference(ALL) == NOTHING
    assert not difference(ALL).is_any
    across_subscribers = [ALL[1], ALL[0], *ALL[2:]]
    assert difference(across_subscribers) == NOTHING


@pytest.mark.parametrize("at", range(len(ALL)))
def test_a_missing_message_is_found(at: int) -> None:
    assert difference(ALL[:at] + ALL[at + 1 :]) == replace(NOTHING, missing=1)


@pytest.mark.parametrize("at", range(len(ALL)))
def test_a_doubled_message_is_found(at: int) -> None:
    assert difference([*ALL, ALL[at]]) == replace(NOTHING, duplicates=1)


def test_what_nobody_called_for_is_found() -> None:
    assert difference([*ALL, warning("c.raised")]) == replace(NOTHING, unexpected=1)
    elsewhere = replace(ALL[0], partition=2)
    assert difference([*ALL, elsewhere]) == replace(NOTHING, unexpected=1)


def test_another_content_is_found() -> None:
    assert difference([warning("a.raised", value=b"[]"), *ALL[1:]]) == replace(NOTHING, changed=1)
    assert difference([replace(ALL[0], headers=(("ce_id", b"a.raised"),)), *ALL[1:]]) == replace(NOTHING, changed=1)


def test_another_order_of_a_subscriber_is_found() -> None:
    assert difference([ALL[2], ALL[1], ALL[0], *ALL[3:]]) == replace(NOTHING, reordered=1)


def test_what_differs_is_named() -> None:
    found = compare(map(said, ALL), map(said, ALL[1:]))
    assert found.examples == ["missing: ('churn.warnings', 1, 'a.raised')"]
    assert found.is_any
