"""How far a shard's event time has come, record by record, proof against a single wrong clock."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from service.core.calendar import DAY_US

AGREEING = 3  # subscribers that must agree before time jumps more than a day ahead


@dataclass(slots=True)
class Watermark:
    """The latest believed event time (UTC microseconds), and the claims of a later one that wait for agreement."""

    us: int | None = None
    claims: dict[int, int] = field(default_factory=dict)  # hash of the subscriber's id -> claimed time
    known: set[int] = field(default_factory=set)  # hashes of the first subscribers heard of

    def advance(self, times_us: np.ndarray, subscribers: Callable[[], np.ndarray]) -> np.ndarray:
        """The watermark after each record (int64, never falling); `subscribers` hashes their ids, if it is asked.

        A record more than a day ahead does not move it by itself: it is a claim, and when three subscribers (or as many
        as there are) claim times within a day of each other, the watermark moves to the earliest of these.
        """
        if times_us.size == 0:
            return np.empty(0, np.int64)
        start = int(times_us[0]) if self.us is None else self.us
        after = np.maximum(np.maximum.accumulate(times_us), start)
        before = np.concatenate([[start], after[:-1]])
        if (times_us > before + DAY_US).any():
            after = self._advance_slowly(start, times_us, subscribers())
        elif len(self.known) < AGREEING:
            self.hear_of(subscribers())
        self.us = int(after[-1])
        return after

    def _advance_slowly(self, us: int, times_us: np.ndarray, subscribers: np.ndarray) -> np.ndarray:
        after = np.empty(times_us.size, np.int64)
        for at, (time_us, who) in enumerate(zip(times_us.tolist(), subscribers.tolist(), strict=True)):
            if len(self.known) < AGREEING:
                self.known.add(who)
            if time_us > us + DAY_US:
                self._drop_reached(us)
                self.claims[who] = max(time_us, self.claims.get(who, time_us))
                near = [claim for claim in self.claims.values() if abs(claim - time_us) <= DAY_US]
                if len(near) >= min(AGREEING, len(self.known)):
                    us = min(near)
            else:
                us = max(us, time_us)
            after[at] = us
        return after

    def hear_of(self, subscribers: np.ndarray) -> None:
        """These subscribers (hashes of their ids) exist: as many as that may be asked to agree."""
        for who in subscribers.tolist():
            if len(self.known) == AGREEING:
                break
            self.known.add(who)

    def _drop_reached(self, us: int) -> None:
        self.claims = {who: claim for who, claim in self.claims.items() if claim > us + DAY_US}
