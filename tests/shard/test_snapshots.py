"""What a shard gives to its snapshots, and what it lets go of once they are stored."""

import polars as pl

from service.core.measures import PANE
from service.core.state import Config
from service.shard.world import Stage
from tests.core.rulebooks import book
from tests.doubles.broker import until
from tests.doubles.stand import Stand, month, neighbours, usage
from tests.shard.runs import AT, committed, live_through, living, pour

WHO = neighbours(AT, 9)


async def test_who_is_lost_leaves_a_row_that_the_snapshot_has_free_for_the_next() -> None:
    short = Config(windows_days=(1,), horizon_days=1, roaming_horizon_days=1, lost_days=5)
    stand = Stand(book(), config=short)
    lost, here, new, *_ = WHO
    stand.feed([usage(who, "usage.data", 24 * day, bytes=1) for day in range(12) for who in (lost, here)[day > 2 :]])
    await live_through(stand)
    stand.feed([usage(who, "usage.data", 24 * 12, bytes=1) for who in (here, new)])
    await live_through(stand)
    rosters = [kept.frames["roster"]["subscriber_id"].to_list() for kept in stand.store.kept[AT]]
    assert rosters == [[None, here], [new, here]]


async def test_a_state_lets_go_of_what_is_stored_only_between_steps() -> None:
    stand = Stand()
    stand.feed(month(WHO))
    async with living(stand) as shard:
        pour(stand, shard)
        await committed(stand, shard)
        shard.leave()
        await until(lambda: shard.stage is Stage.GONE)  # no round comes in between any more
        state, snapshots = shard._state, shard._snapshots
        await snapshots.finish()
        snapshots.settle(state)
        state.panes.add(state.closed_day or 0, pl.DataFrame(schema=PANE))
        await snapshots.begin_keeping(state)
        await snapshots.finish()
        held = state.panes.nbytes
        assert state.panes._offered
        snapshots.settle(state)
        assert not state.panes._offered
        assert state.panes.nbytes < held
