"""What people do at the desk: written to every shard that it concerns, and in effect before the answer."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from service.core.turn import Mute
from service.ports import Acknowledge, Behind, Resolve, Snooze, WarningQuery
from tests.doubles.broker import until
from tests.doubles.stand import BEGIN, PARTITIONS, TOPICS, Stand, month, neighbours
from tests.worker.test_worker import all_committed, working

CITY = [who for partition in range(PARTITIONS) for who in neighbours(partition, 6)]
MONTH = month(CITY, days=8)


async def test_an_acknowledgement_is_applied_before_the_answer() -> None:
    stand = Stand()
    stand.feed(MONTH)
    async with working(stand) as worker:
        await until(all_committed(stand), 60)
        row = worker.desk.warnings(WarningQuery(limit=1)).warnings.row(0, named=True)
        assert await worker.desk.act(row["episode_id"], Acknowledge("agent-7", "called"), 10)
        changed = worker.desk.warning(row["episode_id"])
        assert changed is not None
        assert (changed["state"], changed["acknowledged_by"]) == ("acknowledged", "agent-7")
        with pytest.raises(KeyError):
            await worker.desk.act("no-such", Acknowledge("agent-7"), 1)


async def test_what_is_put_off_or_settled_is_so_before_the_answer() -> None:
    stand = Stand()
    stand.feed(MONTH)
    async with working(stand) as worker:
        await until(all_committed(stand), 60)
        stand.clock.advance(timedelta(days=1000))
        desk = worker.desk
        first, second = desk.warnings(WarningQuery(limit=2, state="raised")).warnings["episode_id"].to_list()
        closed = date(1970, 1, 1) + timedelta(days=max(desk._shelf.open_days()) - 1)
        until_day = closed + timedelta(days=3)
        assert await desk.act(first, Snooze("agent-7", until_day), 10)
        assert await desk.act(second, Resolve("agent-8", "retained", "stays"), 10)
        put_off, settled = desk.warning(first), desk.warning(second)
        assert put_off is not None
        assert settled is not None
        assert (put_off["state"], put_off["snoozed_until"]) == ("snoozed", until_day)
        assert (settled["state"], settled["outcome"], settled["acknowledged_by"]) == ("resolved", "retained", "agent-8")
        # Where the log tells the time, so is it told when somebody did something.
        assert settled["resolved_on"] <= closed + timedelta(days=1)
        with pytest.raises(Behind):
            await desk.act(first, Snooze("agent-7", BEGIN.date()), 1)


async def test_a_mute_is_told_to_every_shard_and_ended_in_each() -> None:
    stand = Stand()
    stand.feed(MONTH)
    async with working(stand) as worker:
        await until(all_committed(stand), 60)
        stand.clock.advance(timedelta(days=1000))  # the log tells the time, not the clock
        desk = worker.desk
        assert (desk.mutes().mutes, desk.mutes().missing) == ((), ())
        ends = max(desk._shelf.open_days()) + 5
        wanted = Mute("m1", {"rule": "silent"}, 0, ends, "m-07", "a fault of the feed")
        assert await desk.mute(wanted, 10)
        page = desk.mutes()
        [mute] = page.mutes
        assert replace(mute, since=0) == wanted
        assert (page.lacking, page.missing) == ({"m1": ()}, ())
        assert ends - 10 < mute.since < ends, "since the day that the log has come to"
        with pytest.raises(Behind):
            await desk.mute(replace(wanted, id="m2", until=100), 1)
        assert await desk.unmute("m1", "m-07", 10)
        assert desk.mutes().mutes == ()
        sent = stand.records(TOPICS.feedback)
        assert sorted(record.partition for record in sent) == sorted([*range(PARTITIONS)] * 2)
