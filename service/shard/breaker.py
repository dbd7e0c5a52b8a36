"""The breaker: usage of which too much is bad is held back before it is taken, not swallowed into dead letters.

What it says depends on the log alone, not on how it is cut into polls; it looks back no further than the shard's life.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from service.shard.world import Terms
from service.wire.records import Records
from service.wire.rejects import Reject

_REMEDY = "mend the feed or the mapping and start again; CHURN_KAFKA__BREAKER_SHARE=1 lets them pass as dead letters"


class Breaker:
    """Of one shard. `reason` says why it holds usage back, for people; None while it does not."""

    def __init__(self, terms: Terms) -> None:
        share, records, run = terms.breaker_share, terms.breaker_records, terms.breaker_run
        # (of so many records in a row, at most so many bad): any share of many, and no run of bad ones alone.
        self._limits = ((records, int(share * records)), (run, run - 1)) if share < 1 else ()
        self._kept = max((window - 1 for window, _ in self._limits), default=0)
        self._wait_s = terms.most_back_off_s
        self._past = np.zeros(0, bool)  # the newest records taken: which were bad
        self._again_s: float | None = None
        self.reason: str | None = None

    @property
    def holds(self) -> bool:
        """Whether usage is to be left where it is for now."""
        return self._again_s is not None

    def is_due(self, now_s: float) -> bool:
        """Whether what it holds back is to be looked at again."""
        return self._again_s is not None and now_s >= self._again_s

    def try_again(self) -> None:
        """Let usage come, to be looked at."""
        self._again_s = None

    def passes(self, records: Records, rejects: Sequence[Reject], now_s: float) -> bool:
        """Whether a batch may be taken, with the bad ones among it; else it is held back from now on."""
        bad = np.isin(records.offsets, [reject.record.offset for reject in rejects])
        flags = np.concatenate([self._past, bad])
        beyond = [found for window, most in self._limits if (found := _first_beyond(flags, window, most))]
        if beyond:
            end, window, count = min(beyond)
            last = int(records.offsets[end - len(self._past) - 1])
            self.reason = f"{count} of the {window} records up to offset {last} are bad ({_faults(rejects)}): {_REMEDY}"
            self._again_s = now_s + self._wait_s
            return False
        self._past = flags[max(0, len(flags) - self._kept) :]
        self.reason = None
        return True


def _first_beyond(flags: np.ndarray, window: int, most: int) -> tuple[int, int, int] | None:
    """(end, window, how many are set) of the first window with more than `most`."""
    sums = np.concatenate([[0], np.cumsum(flags)])
    counts = sums[window:] - sums[:-window]
    beyond = np.flatnonzero(counts > most)
    return (int(beyond[0]) + window, window, int(counts[beyond[0]])) if beyond.size else None


def _faults(rejects: Sequence[Reject]) -> str:
    """The faults, the most frequent first."""
    return ", ".join(fault for fault, _ in Counter(str(reject.fault) for reject in rejects).most_common())
