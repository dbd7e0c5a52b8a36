"""Whether a day's feed can be believed: where a whole market falls silent, its feed has, and not its subscribers.

A closed day is implausible for a market where far fewer of its subscribers used anything than on the same weekday of
the weeks before. While such a day lies within the late horizon and has not been filled by what came late, rules that
would take a silent feed for silent subscribers are not judged there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from service.core.attributes import Attributes
from service.core.panes import DamagedError, Panes
from service.core.rules import Limits

EVERYWHERE = "*"
UNKNOWN = ""  # the market of who belongs to none that is known
_WEEK = 7
_LEAST_WEEKS = 2

Volumes = Mapping[str, int]  # active subscribers by market, EVERYWHERE in all


@dataclass(slots=True)
class Feed:
    """Volumes and verdicts of the last closed days.

    `volumes` and `doubted` (markets whose day is implausible so far) by day since 1970; `withheld`: by closed day the
    markets that were not judged on it.
    """

    volumes: dict[int, Volumes] = field(default_factory=dict)
    doubted: dict[int, frozenset[str]] = field(default_factory=dict)
    withheld: dict[int, frozenset[str]] = field(default_factory=dict)

    def close(self, day: int, count: Callable[[int], Volumes], limits: Limits, days: tuple[int, int]) -> None:
        """Judge the feed as of the close of `day`; `count` counts a closed day, with all that came late for it.

        `days`: how late records may come, and for how long verdicts are kept.
        """
        horizon_days, keep = days
        for past in range(day - horizon_days + 1, day + 1):
            if past == day or self.doubted.get(past):
                self.volumes[past] = count(past)
                self.doubted[past] = self._implausible(past, limits)
        open_days = (self.doubted.get(past, frozenset()) for past in range(day - horizon_days + 1, day + 1))
        self.withheld[day] = frozenset().union(*open_days)
        reach = max(_WEEK * limits.feed_weeks + horizon_days, keep)
        for table in (self.volumes, self.doubted, self.withheld):
            for past in [past for past in table if past <= day - reach]:
                del table[past]

    def withholds(self, day: int, attributes: Attributes, rows: np.ndarray) -> np.ndarray:
        """Flags (bool) of the rows whose feed was not believed at the close of `day`."""
        markets = self.withheld.get(day, frozenset())
        if not markets:
            return np.zeros(rows.size, bool)
        if EVERYWHERE in markets:
            return np.ones(rows.size, bool)
        own = attributes.texts("market", rows).fill_null(UNKNOWN)
        return own.is_in(sorted(markets)).to_numpy()

    def days_withheld(self, first: int, last: int, market: str | None) -> int:
        """On how many closed days of first to last a market's subscribers were not judged."""
        either = {EVERYWHERE, market or UNKNOWN}
        return sum(1 for day, markets in self.withheld.items() if first <= day <= last and markets & either)

    def _implausible(self, day: int, limits: Limits) -> frozenset[str]:
        weekdays = [day - _WEEK * week for week in range(1, limits.feed_weeks + 1)]
        doubted = set()
        for market in {EVERYWHERE}.union(*(self.volumes.get(past, {}) for past in weekdays)):
            usual = [
                self.volumes[past].get(market, 0)
                for past in weekdays
                if past in self.volumes and not self.doubted.get(past, frozenset()) & {market, EVERYWHERE}
            ]
            if len(usual) < _LEAST_WEEKS:
                continue
            least = median(usual)
            now = self.volumes[day].get(market, 0) if self.volumes[day] else least
            if least >= limits.feed_least_active and now < limits.feed_least_share * least:
                doubted.add(market)
        return frozenset(doubted)


def volumes_of(panes: Panes, attributes: Attributes, day: int) -> Volumes:
    """How many rows had an outgoing event on a day, by market; a day that cannot be read is none to doubt."""
    try:
        pane = panes.total(day)
    except DamagedError:
        return {}
    rows = pane["row"].to_numpy()[pane["outgoing"].to_numpy() > 0]
    if not rows.size:
        return {EVERYWHERE: 0}
    counted = attributes.texts("market", rows).fill_null(UNKNOWN).value_counts(name="active")
    return {**dict(counted.iter_rows()), EVERYWHERE: int(rows.size)}
