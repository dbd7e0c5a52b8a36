"""Shares turned into whole subscribers: exact quotas instead of dice, so that small cities keep their tables too."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[Any]


def allot(shares: Sequence[float], total: int) -> Numbers:
    """Whole numbers (int64) that sum to `total` in proportion to `shares`, by largest remainder."""
    weights = np.asarray(shares, dtype=np.float64)
    exact = weights / weights.sum() * total
    counts = np.floor(exact).astype(np.int64)
    missing = total - int(counts.sum())
    # A stable order makes ties fall to the first, the same on every machine.
    counts[np.argsort(-(exact - counts), kind="stable")[:missing]] += 1
    allotted: Numbers = counts
    return allotted


def deal(shares: Sequence[float], total: int, rng: np.random.Generator) -> Numbers:
    """The number of a share for each of `total` subscribers (int64), by quota, in random order."""
    return rng.permutation(np.repeat(np.arange(len(shares)), allot(shares, total)))


def rank_deal(shares: Sequence[float], scores: Numbers) -> Numbers:
    """The number of a share for each subscriber (int64), by quota, the lowest scores in the first share."""
    dealt = np.empty(scores.size, dtype=np.int64)
    dealt[np.argsort(scores, kind="stable")] = np.repeat(np.arange(len(shares)), allot(shares, scores.size))
    return dealt


def within_tiers(tops: Sequence[int], tiers: Numbers, rng: np.random.Generator) -> Numbers:
    """A value (float64) inside each subscriber's tier, which reaches from the top of the tier before to its own."""
    bounds = np.concatenate([[0.0], np.asarray(tops, dtype=np.float64)])
    low, high = bounds[tiers], bounds[tiers + 1]
    values: Numbers = low + (high - low) * rng.uniform(0.03, 0.97, tiers.size)
    return values
