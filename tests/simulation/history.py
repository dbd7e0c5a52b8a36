"""One history from one seed: the machines, the feed, what befalls them, the calm after, and the verdict."""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import pytest

from service.core import step as step_module
from service.core.calendar import to_date, to_day
from service.wire.decisions import DecisionReader
from service.wire.feedback import Acknowledged, feed_closed, instant_text, of_warning
from tests.doubles.stand import BEGIN, GROUP, TOPICS, micros
from tests.simulation.chance import Chance
from tests.simulation.checks import Judge
from tests.simulation.disk import Disk
from tests.simulation.loop import SimulatedLoop
from tests.simulation.machine import Machine, Surroundings, VirtualClock
from tests.simulation.nemesis import Nemesis
from tests.simulation.network import Group, SimulatedBroker
from tests.simulation.scenario import LARGEST, SPEED, Arrival, Scenario, arrivals, draw

_DRAIN_S = 150.0  # within which all must run and have caught up, once nothing befalls them any more
_LOOK_S = 0.5
_ASKED_EVERY_S = 9.0
_LOOKED_UP = 0.25  # share of those who ask
_BURIALS = 50


@dataclass
class Outcome:
    """What came of a seed: `problems` are sentences, `trace` the whole history, `digest` its hash."""

    seed: int
    problems: list[str] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)
    steps: int = 0
    said: int = 0
    virtual_s: float = 0.0

    @property
    def digest(self) -> str:
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()


class _Ears(logging.Handler):
    """Hears what the service logs: a traceback is a fault of its own."""

    def __init__(self, history: "History") -> None:
        super().__init__(logging.WARNING)
        self._history = history

    def emit(self, record: logging.LogRecord) -> None:
        self._history.note(f"log: {record.getMessage()}")
        if record.exc_info:
            self._history.blame(f"the service logs a fault: {record.getMessage()}")


class History:
    """Everything that lives while a seed is played."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.outcome = Outcome(scenario.seed)
        self.loop = SimulatedLoop(Chance(scenario.seed, "threads"))
        self.clock = VirtualClock(self.loop, micros(BEGIN), SPEED)
        self.broker = SimulatedBroker(self.loop, Chance(scenario.seed, "network"), self.note, self.blame)
        self.broker.largest = LARGEST
        self.broker.time_us = self.clock.now_us
        self.broker.group = Group(self.broker, scenario.partitions)
        for spec in TOPICS.specs(scenario.partitions, 30):
            self.broker.make_topic(spec.name, spec.partitions)
        self.disk = Disk(Chance(scenario.seed, "disk"), self.clock.now_us)
        around = Surroundings(
            self.loop,
            self.broker,
            self.disk,
            self.clock,
            scenario.terms,
            scenario.cores,
            self._committed,
            self.note,
            self.blame,
        )
        self.machines = [Machine(f"machine {number}", around) for number in range(1, scenario.machines + 1)]
        self.feed = arrivals(scenario)
        self.judge = Judge(scenario, self.broker, self.feed)
        self.nemesis = Nemesis(scenario, self.broker, self.disk, self.machines, self.note)

    def note(self, line: str) -> None:
        self.outcome.trace.append(f"{self.loop.time():10.4f} {line}")

    def blame(self, problem: str) -> None:
        self.outcome.problems.append(problem)
        self.note(f"WRONG: {problem}")

    def _committed(self, partition: int) -> int:
        return self.broker.decided.get((GROUP, TOPICS.usage, partition), 0)

    async def play(self) -> None:
        """From the start of the machines to the last check."""
        for number, machine in enumerate(self.machines):
            self.loop.call_later(number * 0.7, machine.start)
        for arrival in self.feed:
            self.loop.call_later(arrival.at_s, partial(self._feed, arrival))
        befalling = asyncio.create_task(self.nemesis.rage())
        asking = asyncio.create_task(self._ask())
        end_s = max(arrival.at_s for arrival in self.feed) + 3
        await asyncio.sleep(self.scenario.feed_s)
        befalling.cancel()
        self.nemesis.rest()
        await asyncio.sleep(end_s - self.loop.time())
        asking.cancel()
        await asyncio.gather(befalling, asking, return_exceptions=True)
        self._end_feed()
        await self._drained()
        self._look_up()
        for problem in self.judge.final():
            self.blame(problem)
        self.outcome.said = len(self.broker.read(TOPICS.warnings))

    # The feed

    def _feed(self, arrival: Arrival) -> None:
        """Send an event, or begin a transaction that holds it back, is perhaps aborted, and then sent again."""
        broker, chance = self.broker, self.nemesis.chance
        if arrival.fate == "bad" or not chance.happens(self.scenario.transactional):
            broker.append(arrival.message)
            return
        name = f"feed at {self.loop.time()}"
        broker.write(name, broker.begin(name), arrival.message)
        self.loop.call_later(chance.uniform(0.01, 1.5), partial(self._decide, name, arrival))

    def _decide(self, name: str, arrival: Arrival) -> None:
        aborts = self.nemesis.chance.happens(0.3)
        self.broker.end(name, 1, "abort" if aborts else "commit", {})
        if aborts:
            self.broker.append(arrival.message)

    def _end_feed(self) -> None:
        if self.scenario.wall:
            self.clock.freeze()
            return
        last = to_date(to_day(BEGIN.date()) + self.scenario.days)
        for partition, usage in enumerate(self.broker.topics[TOPICS.usage]):
            self.broker.append(feed_closed(last, usage.high_watermark, TOPICS.feedback, partition))

    # Those who ask

    async def _ask(self) -> None:
        """People acknowledge warnings they have seen, and look somebody up."""
        chance = Chance(self.scenario.seed, "people")
        while True:
            await asyncio.sleep(chance.uniform(0.5, _ASKED_EVERY_S))
            if chance.happens(_LOOKED_UP):
                self._look_up()
            partition = chance.randrange(self.scenario.partitions)
            warnings = self.broker.read(TOPICS.warnings, partition)
            if not warnings:
                continue
            headers = dict(chance.choice(warnings).headers)
            episode, who = headers["ce_id"].decode().rpartition(".")[0], headers["ce_subject"].decode()
            report = Acknowledged(
                id=f"a{self.loop.time()}",
                subscriber_id=who,
                warning_id=episode,
                by="m-07",
                occurred_at=instant_text(self.clock.now_us()),
            )
            self.broker.append(of_warning(report, TOPICS.feedback, partition))

    def _look_up(self) -> None:
        for machine in self.machines:
            for shard in machine.shards.values():
                for problem in self.judge.lookup(shard):
                    self.blame(f"{machine.name}: {problem}")

    # The end

    async def _drained(self) -> None:
        """Everything runs and has caught up, in time. All that is left undone is a problem."""
        give_up_s = self.loop.time() + _DRAIN_S
        while self.loop.time() < give_up_s:
            if not (left := list(self._left())):
                return
            await asyncio.sleep(_LOOK_S)
        for line in left:
            self.blame(f"{line}, {_DRAIN_S:.0f} s after the last trouble")

    def _left(self) -> Iterator[str]:
        running = {number for machine in self.machines for number in machine.shards}
        for partition in range(self.scenario.partitions):
            if partition not in running:
                yield f"partition {partition} does not run"
            for topic in (TOPICS.usage, TOPICS.feedback):
                end = self.broker.topics[topic][partition].high_watermark
                at = self.broker.committed.get((GROUP, topic, partition), 0)
                if at != end:
                    yield f"{topic}-{partition} stands at {at} of {end}"
            decided = DecisionReader()
            decided.take(self.broker.read(TOPICS.decisions, partition))
            for day, record in decided.decisions().days.items():
                if record.slices_done < record.slices:
                    yield f"slice {record.slices_done} of {record.slices} was the last of day {day} in {partition}"

    def bury(self) -> None:
        """Let Python end what the processes left."""

        processes = [process for machine in self.machines for process in machine.processes]

        async def burials() -> None:
            # Once is not always enough: wait_for of Python 3.11 may lose a cancellation.
            while any(not task.done() for process in processes for task in process.tasks):
                for process in processes:
                    self.loop.bury(process)
                await asyncio.sleep(1)

        self.broker.reachable, self.nemesis.is_over = False, True
        self.loop.run_until_complete(burials())


def simulate(seed: int) -> Outcome:
    """Play a seed from beginning to end."""
    history = History(draw(seed))
    history.note(str(history.scenario))
    with _rigged(history):
        try:
            history.loop.run_until_complete(history.play())
        except Exception as error:  # noqa: BLE001 - the verdict on the seed
            history.blame(f"the simulation ended with {error!r}")
        outcome, loop = history.outcome, history.loop
        outcome.steps, outcome.virtual_s = loop.steps, loop.time()
        outcome.problems += loop.complaints
        verdict = replace(outcome, problems=[*outcome.problems], trace=[*outcome.trace])  # burials are no part of it
        history.bury()
        loop.close()
    return verdict


@contextmanager
def _rigged(history: History) -> Iterator[None]:
    """Small slices, names from the seed, and ears for the log."""
    chance = Chance(history.scenario.seed, "names")
    names: Callable[[int], str] = lambda size: chance.randbytes(size).hex()  # noqa: E731 - a stand-in of one line
    logger, ears = logging.getLogger("service"), _Ears(history)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step_module, "SLICE", history.scenario.slice)
        patch.setattr(secrets, "token_hex", names)
        patch.setattr(logger, "propagate", False)
        logger.addHandler(ears)
        try:
            yield
        finally:
            logger.removeHandler(ears)
