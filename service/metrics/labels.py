"""What keeps label values honest: sums over the shards of a process, and a bound on what comes from outside."""

import re
from collections.abc import Mapping

import prometheus_client as prometheus

OTHER = "other"  # stands for label values beyond what we are ready to keep


class Sums:
    """A gauge that is the sum over the shards of this process; what was once there goes to zero, never missing."""

    def __init__(self, gauge: prometheus.Gauge) -> None:
        self._gauge = gauge
        self._parts: dict[int, Mapping[tuple[str, ...], float]] = {}
        self._expected: set[tuple[str, ...]] = set()

    def expect(self, labels: tuple[str, ...]) -> None:
        """Show zero where no shard has any."""
        self._expected.add(labels)
        self._show()

    def replace(self, partition: int, values: Mapping[tuple[str, ...], float]) -> None:
        """Take one shard's values for all it had."""
        self._parts[partition] = values
        self._show()

    def _show(self) -> None:
        sums: dict[tuple[str, ...], float] = dict.fromkeys(self._expected, 0)
        for part in self._parts.values():
            for labels, value in part.items():
                sums[labels] = sums.get(labels, 0) + value
        self._expected.update(sums)
        for labels, value in sums.items():
            self._gauge.labels(*labels).set(value)


class Bounded:
    """Label values that come from outside: plain words only, and no more of them than `most`."""

    _WORD = re.compile(r"(\(?[^\W\d][\w .()-]{0,39})?")

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def admit(self, value: str) -> str:
        """The value itself, or OTHER."""
        if value not in self._known:
            if len(self._known) >= self._most or not self._WORD.fullmatch(value):
                return OTHER
            self._known.add(value)
        return value
