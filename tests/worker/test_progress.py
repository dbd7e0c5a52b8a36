"""A consumer that gives nothing any more, and says nothing, is found out; who only has nothing to do is left alone."""

from collections.abc import Collection
from datetime import timedelta

import pytest

from service.worker import Polled, Worker
from service.worker.progress import Standstill
from tests.doubles.broker import MemoryIntake, MemorySender, until
from tests.doubles.stand import PARTITIONS, TOPICS, Stand, month, neighbours
from tests.worker.test_worker import all_committed, ready, working

FEW = month([who for partition in range(PARTITIONS) for who in neighbours(partition, 2)], days=3)


def test_who_stands_still_though_they_could_go_on_is_named() -> None:
    still = Standstill()
    places = {0: (5, 9), 1: (5, 5), 2: (5, 9), 3: (5, 9)}
    still.note(places, 100.0)
    still.note({**places, 2: (6, 9)}, 130.0)
    assert still.longer_than(30, 130.0) == [0, 3]
    assert still.longer_than(31, 130.0) == []
    del places[3]
    still.note({**places, 1: (5, 7), 2: (6, 9)}, 140.0)
    assert still.longer_than(10, 150.0) == [0, 1, 2]
    still.note({**places, 3: (5, 9)}, 160.0)
    assert 3 not in still.longer_than(1, 160.0), "who was away begins anew"


class Deaf(MemoryIntake):
    """Gives nothing once it is told to, until it joins anew; or never again."""

    deaf = for_good = False

    async def start(self, assigned: object) -> None:
        self.deaf = self.for_good
        await super().start(assigned)  # type: ignore[arg-type]  # what it is given it hands on

    def _take(self, partitions: Collection[int], most: int) -> list[Polled]:
        return [] if self.deaf else super()._take(partitions, most)


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> Deaf:
    monkeypatch.setattr("service.worker.worker._LOOK_S", 0.01)
    return Deaf(Stand().broker, [TOPICS.usage, TOPICS.feedback])


def hearing_by(stand: Stand, intake: Deaf) -> Worker:
    intake._broker = stand.broker
    return Worker(stand.world, stand.terms, intake, MemorySender(stand.broker))


async def test_a_consumer_that_gives_nothing_is_started_again_and_all_goes_on(
    deaf: Deaf, caplog: pytest.LogCaptureFixture
) -> None:
    stand = Stand(stall_s=60.0)
    async with working(stand, worker=hearing_by(stand, deaf)) as worker:
        await until(ready(worker))
        deaf.deaf = True
        stand.feed(FEW)

        def is_found() -> bool:
            stand.clock.advance(timedelta(seconds=1))
            return stand.witness.restarts > 0

        await until(is_found)
        await until(all_committed(stand), 30)
    assert "have records that the consumer does not give" in caplog.text


async def test_a_worker_whom_joining_anew_does_not_help_is_not_live(deaf: Deaf) -> None:
    stand = Stand(stall_s=60.0)
    async with working(stand, worker=hearing_by(stand, deaf)) as worker:
        await until(ready(worker))
        assert worker.readiness()["live"]
        deaf.deaf = deaf.for_good = True
        stand.feed(FEW)

        def is_dead() -> bool:
            stand.clock.advance(timedelta(seconds=1))
            return not worker.readiness()["live"]

        await until(is_dead, 60)
        assert stand.witness.restarts > 3


async def test_who_has_nothing_to_do_is_live_for_ever(deaf: Deaf) -> None:
    stand = Stand(stall_s=60.0)
    stand.feed(FEW)
    async with working(stand, worker=hearing_by(stand, deaf)) as worker:
        await until(all_committed(stand), 30)
        looks = 0

        def has_long_looked() -> bool:
            nonlocal looks
            looks += 1
            stand.clock.advance(timedelta(seconds=1))
            return looks > 100

        await until(has_long_looked)
        restarts = stand.witness.restarts
        looks = 0
        await until(has_long_looked)
        assert (worker.readiness()["live"], stand.witness.restarts) == (True, restarts)
