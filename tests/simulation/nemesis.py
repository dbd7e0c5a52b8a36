"""What befalls machines, network, broker and disk, as chance has it; and that it ceases."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from tests.doubles.stand import TOPICS
from tests.simulation.chance import Chance
from tests.simulation.disk import Disk
from tests.simulation.machine import Machine
from tests.simulation.network import SESSION_S, SimulatedBroker, Troubles
from tests.simulation.scenario import Scenario

_FEW_STEPS = 40
_MOST_STEPS = 600  # callbacks of a process within which a blow strikes it


class Nemesis:
    """Rages until told to rest."""

    def __init__(
        self,
        scenario: Scenario,
        broker: SimulatedBroker,
        disk: Disk,
        machines: Sequence[Machine],
        note: Callable[[str], None],
    ) -> None:
        self.chance = Chance(scenario.seed, "nemesis")
        self._scenario = scenario
        self._broker = broker
        self._disk = disk
        self._machines = machines
        self._note = note
        self._rests = False
        self.is_over = False
        broker.on_commit = self._strike_soon
        broker.troubles = Troubles(scenario.lost, scenario.aborted, scenario.unknown, scenario.timed_out)
        disk.failing, disk.deadly, disk.away = scenario.disk_failing, scenario.disk_deadly, scenario.disk_away

    async def rage(self) -> None:
        """A blow after another."""
        blows = (
            (self._kill, 4),
            (self._pause, 4),
            (self._stop, 2),
            (self._rebalance, 1),
            (self._lose_broker, 1),
            (self._damage, 1),
            (self._compact, 2),
        )
        while True:
            await asyncio.sleep(self.chance.expovariate(1 / self._scenario.blows_every_s))
            (blow,) = self.chance.choices([blow for blow, _ in blows], [weight for _, weight in blows])
            blow()
            self._revive()

    def rest(self) -> None:
        """Nothing goes wrong any more, and whoever lies down gets up."""
        self._note("calm")
        self._rests = True
        self._broker.troubles = Troubles()
        self._broker.reachable = True
        self._disk.failing = self._disk.deadly = self._disk.away = 0.0
        for machine in self._machines:
            machine.wake()
        self._revive()

    def _revive(self) -> None:
        """Whoever watches over the processes starts those again that ended; sooner or later."""
        for machine in self._machines:
            if machine.worker is None:
                self._broker.later(self.chance.uniform(0.1, 8.0), partial(self._start, machine))
        if self._rests:
            self._broker.later(1.0, self._revive)

    def _start(self, machine: Machine) -> None:
        if machine.worker is None and machine.processes and not self.is_over:
            machine.start()

    def _one(self) -> Machine:
        return self.chance.choice(self._machines)

    def _kill(self) -> None:
        machine = self._one()
        if machine.is_up:
            machine.process.strike(self.chance.randrange(1, _MOST_STEPS), machine.kill)

    def _strike_soon(self) -> None:
        """Something is committed, and whoever did it may not live to learn of it, or to say what comes next."""
        machine = self._one()
        if not self._rests and machine.is_up and self.chance.happens(self._scenario.struck):
            machine.process.strike(self.chance.randrange(1, _FEW_STEPS), machine.kill)
            self._broker.later(self.chance.uniform(1.0, 4.0), self._revive)

    def _pause(self) -> None:
        """Past its session or not; it knows nothing of it and goes on."""
        machine, for_s = self._one(), self.chance.choice([0.5, 2, SESSION_S + 3, 3 * SESSION_S])
        if not machine.is_up:
            return
        process = machine.process

        def stand() -> None:
            if self._rests or process is not machine.process:
                return
            machine.pause()
            self._broker.later(for_s, wake)

        def wake() -> None:
            if process is machine.process:
                machine.wake()

        process.strike(self.chance.randrange(1, _MOST_STEPS), stand)

    def _stop(self) -> None:
        self._one().tell_to_stop()

    def _rebalance(self) -> None:
        assert self._broker.group is not None
        self._broker.group.rebalance()

    def _lose_broker(self) -> None:
        self._note("the broker is away")
        self._broker.reachable = False
        self._broker.later(self.chance.choice([0.3, 3, 12]), self._find_broker)

    def _find_broker(self) -> None:
        self._note("the broker is there")
        self._broker.reachable = True

    def _damage(self) -> None:
        self._note(f"damaged: {self._disk.damage()}")

    def _compact(self) -> None:
        for partition in range(self._scenario.partitions):
            self._broker.compact(TOPICS.decisions, partition)
