"""Chance from a seed: how long things take, and what goes wrong."""

import random

_SLOW_S = (0.2, 4.0)


class Chance(random.Random):
    """A stream of its own by seed and name, the same in every process and on every machine."""

    def __init__(self, seed: int, name: str) -> None:
        super().__init__(f"{seed}/{name}")
        self.latency_s = self.random() * 0.02 + 0.001
        self.slowness = self.choice([0.0, 0.002, 0.02])  # share of what takes seconds

    def thread_s(self) -> float:
        """Half of what a piece of work in a thread takes."""
        return self._some_s()

    def network_s(self) -> float:
        """One way over the network."""
        return self._some_s()

    def happens(self, share: float) -> bool:
        """Whether something of that probability happens now."""
        return share > 0 and self.random() < share

    def _some_s(self) -> float:
        if self.happens(self.slowness):
            return self.uniform(*_SLOW_S)
        return self.expovariate(1 / self.latency_s)
