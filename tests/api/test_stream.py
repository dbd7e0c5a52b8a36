"""The live stream: what is open, what follows, and going on from any position without loss or repetition."""

from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from fastapi import sse

from service.api.app import feed_of
from service.api.cursors import encode_positions
from service.api.feed import Limits
from service.ports import Acknowledge
from tests.api.conftest import Served, make_place, serving
from tests.api.listening import Told, eventually, listening
from tests.doubles.desk import FIRST_DAY, row


async def test_first_what_is_open_then_what_follows(served: Served) -> None:
    desk = served.place.desk
    desk.tell(row(1))
    desk.tell(row(2))
    async with listening(served.address) as client:
        assert client.response.headers["content-type"].startswith("text/event-stream")
        assert await client.take(3) == ["open e0002", "open e0001", "live"]
        desk.tell(row(3))
        await desk.act("e0003", Acknowledge("m-07"), 0)
        desk.resolve("e0003")
        assert await client.take(3) == ["raised e0003", "acknowledged e0003", "resolved e0003"]


async def test_a_case_that_was_resolved_and_comes_back_is_shown_again(served: Served) -> None:
    desk = served.place.desk
    async with listening(served.address) as client:
        await client.take(1)
        desk.tell(row(1))
        life = ("escalated", "snoozed", "woken", "recovering", "resolved", "reopened")
        for number, line in enumerate(lived(*life)):
            desk.tell(line | {"changed_us": line["changed_us"] + number})
        assert await client.take(7) == [f"{transition} e0001" for transition in ("raised", *life)]
    async with listening(served.address) as client:
        told = await client.next()
        assert told.data is not None
        assert (told.short, told.data["state"]) == ("open e0001", "raised")


def lived(*transitions: str) -> list[dict[str, Any]]:
    """Lines of one episode, none with a moment of its own."""
    states = {"recovering": "recovering", "resolved": "resolved", "snoozed": "snoozed"}
    return [row(1, transition=one, state=states.get(one, "raised"), outcome=None) for one in transitions]


async def test_the_log_decides_what_came_last_and_not_the_moment(served: Served) -> None:
    """Somebody takes a case over in the night; the close that comes then is of the day's end, before that."""
    desk = served.place.desk
    night_us = row(1)["changed_us"] + 3_600_000_000
    taken = row(1, transition="acknowledged", state="acknowledged", acknowledged_by="m-07", changed_us=night_us)
    recovering = row(1, transition="recovering", state="recovering", acknowledged_by="m-07", recovering_on=FIRST_DAY)
    async with listening(served.address) as witness:
        await witness.take(1)
        desk.tell(row(1))
        desk.tell(taken)
        await witness.take(2)
        async with listening(served.address) as client:
            assert await client.take(2) == ["open e0001", "live"]
            desk.tell(recovering)
            assert await client.take(1) == ["recovering e0001"]
            desk.tell(row(2))
            assert await client.take(1) == ["raised e0002"]


async def test_what_is_withheld_is_not_streamed_until_it_is_published(served: Served) -> None:
    desk = served.place.desk
    desk.show(row(1, suppressed_by="cap"))
    async with listening(served.address) as client:
        assert await client.take(1) == ["live"]
        desk.tell(row(1, changed_us=row(1)["changed_us"] + 1))
        assert await client.take(1) == ["raised e0001"]


async def test_what_was_reopened_just_before_the_desk_shows_it_is_told(served: Served) -> None:
    desk = served.place.desk
    later_us = row(1)["changed_us"] + 5
    async with listening(served.address) as witness:
        await witness.take(1)
        desk.tell(row(1, transition="resolved", state="resolved", outcome="recovered"))
        desk.publish(row(1, transition="reopened", changed_us=later_us))
        await witness.take(2)
        async with listening(served.address) as client:
            assert await client.take(2) == ["live", "reopened e0001"]


async def test_the_end_of_the_list_says_what_it_misses(served: Served) -> None:
    served.place.desk.restoring = {1}
    async with listening(served.address) as client:
        told = await client.next()
    assert (told.event, told.data) == (
        "live",
        {"complete": False, "missing_partitions": [1], "as_of": {"0": 1000}},
    )


async def test_an_event_carries_the_warning_as_the_list_does(served: Served) -> None:
    async with listening(served.address) as client, httpx.AsyncClient(base_url=served.address) as http:
        await client.take(1)
        served.place.desk.tell(row(1, subscriber_id="a/<b>\n订户"))
        told = await client.next()
        [listed] = (await http.get("/v1/warnings")).json()["warnings"]
    assert told.data == listed


async def test_filters_narrow_the_list_and_the_news(served: Served) -> None:
    desk = served.place.desk
    desk.show(row(1))
    desk.show(row(2, rule="silence", market="migrant"))
    query = "?rule=silence&market=migrant&severity=warning&since=2025-03-31T16:02:00Z"
    async with listening(served.address, query) as client:
        assert await client.take(2) == ["open e0002", "live"]
        desk.tell(row(3))
        desk.tell(row(4, rule="silence", market="migrant", severity="critical"))
        desk.tell(row(5, rule="silence", market="migrant"))
        assert await client.take(1) == ["raised e0005"]


async def test_at_most_so_many_open_ones_are_told(served: Served) -> None:
    for number in range(5):
        served.place.desk.show(row(number))
    async with listening(served.address, "?open=2") as client:
        assert await client.take(3) == ["open e0004", "open e0003", "live"]
    async with listening(served.address, "?open=0") as client:
        assert await client.take(1) == ["live"]


async def test_every_position_resumes_without_loss_or_repetition(served: Served) -> None:
    desk = served.place.desk
    told: list[Told] = []
    async with listening(served.address) as client:
        told.append(await client.next())
        for number in range(6):
            desk.tell(row(number))
        desk.resolve("e0000")
        told += [await client.next() for _ in range(7)]
    for at in range(len(told)):
        async with listening(served.address, last_id=told[at].id) as client:
            again = [await client.next() for _ in told[at + 1 :]]
            assert again == told[at + 1 :]
            desk.tell(row(100 + at))
            told.append(await client.next())
            assert told[-1].short == f"raised e{100 + at:04}"


@pytest.mark.parametrize("last_id", ["", "garbage", "W10", "WzEsMl0", "a" * 3000])
async def test_a_position_that_is_not_ours_starts_afresh(served: Served, last_id: str) -> None:
    served.place.desk.show(row(1))
    async with listening(served.address, last_id=last_id) as client:
        assert await client.take(2) == ["open e0001", "live"]


async def test_a_position_of_a_topic_that_was_made_anew_starts_afresh(served: Served) -> None:
    served.place.desk.show(row(1))
    async with listening(served.address, last_id=encode_positions({0: 50_000, 1: 3})) as client:
        assert await client.take(2) == ["open e0001", "live"]


async def test_what_was_committed_but_not_yet_shown_is_told_once(served: Served) -> None:
    desk = served.place.desk
    async with listening(served.address) as witness:
        await witness.take(1)
        desk.publish(row(1))  # committed; the desk does not show it yet
        await witness.take(1)
        async with listening(served.address) as client:
            assert await client.take(2) == ["live", "raised e0001"]
            desk.show(row(1))
            desk.tell(row(2))
            assert await client.take(1) == ["raised e0002"]
        async with listening(served.address) as client:
            assert await client.take(3) == ["open e0002", "open e0001", "live"]
            desk.tell(row(3))
            assert await client.take(1) == ["raised e0003"]


async def test_what_the_desk_shows_before_the_tail_has_it_is_told_once(served: Served) -> None:
    desk = served.place.desk
    desk.show(row(1))
    async with listening(served.address) as client:
        assert await client.take(2) == ["open e0001", "live"]
        desk.publish(row(1))
        desk.resolve("e0001")
        assert await client.take(1) == ["resolved e0001"]


async def test_a_lost_broker_is_waited_for(served: Served) -> None:
    desk = served.place.desk
    async with listening(served.address) as client:
        await client.take(1)
        desk.tail.lose()
        desk.tell(row(1))
        desk.tail.find()
        desk.tell(row(2))
        assert sorted(await client.take(2)) == ["raised e0001", "raised e0002"]


async def test_a_silent_stream_is_kept_alive(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "_PING_INTERVAL", 0.05)
    monkeypatch.setattr("fastapi.routing._PING_INTERVAL", 0.05)
    async with listening(served.address) as client:
        await client.take(1)
        assert await anext(client._lines) == ": ping"


async def test_clients_that_leave_are_forgotten(served: Served) -> None:
    feed = feed_of(served.place.app)
    async with listening(served.address) as client:
        await client.take(1)
        assert len(feed._listeners) == 1
    await eventually(lambda: not feed._listeners)
    async with httpx.AsyncClient(base_url=served.address) as http:
        metrics = (await http.get("/metrics")).text
    assert "churn_stream_clients 0.0" in metrics


class TestNarrow:
    """A feed that keeps little, as after a long absence or a storm."""

    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(kept=4, queued=3, rewound=2, retry_s=0.01)

    async def test_who_was_away_for_longer_than_is_kept_misses_nothing(self, served: Served) -> None:
        desk = served.place.desk
        async with listening(served.address) as client:
            first = await client.next()
        for number in range(20):
            desk.tell(row(number))
        async with listening(served.address, last_id=first.id) as client:
            told = await client.take(20)
            assert sorted(told) == [f"raised e{number:04}" for number in range(20)]
            desk.tell(row(20))
            assert await client.take(1) == ["raised e0020"]
        await eventually(lambda: desk.tail.followers == 1)

    async def test_what_the_log_no_longer_holds_starts_afresh(self, served: Served) -> None:
        desk = served.place.desk
        async with listening(served.address) as client:
            first = await client.next()
            for number in range(20):
                desk.tell(row(number))
        for partition in range(2):
            desk.tail.delete_before(partition, 4)
        async with listening(served.address, last_id=first.id) as client:
            assert (await client.take(21))[-1] == "live"

    async def test_who_does_not_listen_is_let_go_and_holds_nobody_up(self, served: Served) -> None:
        desk = served.place.desk
        feed = feed_of(served.place.app)
        async with listening(served.address) as client:
            await client.take(1)
            deaf = feed.join()
            for number in range(20):
                desk.tell(row(number))
                assert await client.take(1) == [f"raised e{number:04}"]
            assert deaf.is_ended
            assert [news async for news in deaf.news()] == []


async def test_a_full_house_refuses(served: Served) -> None:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(listening(served.address)) for _ in range(20)]
        assert [await client.take(1) for client in clients] == [["live"]] * 20
        one_more = await stack.enter_async_context(listening(served.address))
        assert _refusal(one_more.response) == "Too many live streams are open; ask again in 2 seconds."


async def test_without_a_broker_from_the_start_a_stream_is_refused_then_given() -> None:
    lost = make_place(Limits(retry_s=0.01), stream_wait_s=0.05)
    lost.desk.tail.lose()
    with serving(lost) as place:
        address = place.address
        async with listening(address) as client:
            assert _refusal(client.response) == "Live warnings cannot be read yet; ask again in 2 seconds."
        lost.desk.tail.find()
        await eventually(feed_of(lost.app)._begun.is_set)
        async with listening(address) as client:
            assert await client.take(1) == ["live"]


def _refusal(response: httpx.Response) -> str:
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["retry-after"] == "2"
    return str(response.json()["detail"])
