"""Shares turned into whole subscribers: exact quotas instead of dice, so that small cities keep their tables too."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[Any]

# A value keeps so far, in relation to it, from the bounds of its tier: who swings a little stays where planned.
_MARGIN = 0.03


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


def pick(weights: Numbers, count: int, rng: np.random.Generator) -> Numbers:
    """Places of `count` subscribers, or of all there are, without replacement: the heavier, the likelier."""
    with np.errstate(divide="ignore"):
        # The smallest of exponential waiting times; who weighs nothing waits for ever.
        waits = rng.exponential(size=weights.size) / weights
    chosen: Numbers = np.argsort(waits, kind="stable")[: max(count, 0)]
    return chosen


def within_tiers(tops: Sequence[int], tiers: Numbers, least: int, rng: np.random.Generator) -> Numbers:
    """A whole value (int64) well inside each subscriber's tier: above the top of the tier before, up to its own.

    A tier whose top is 0 is of those who have nothing; everybody else has at least `least`.
    """
    bounds = np.concatenate([[0.0], np.asarray(tops, dtype=np.float64)])
    low = np.maximum(np.ceil(bounds[tiers] * (1 + _MARGIN)), least)
    high = np.maximum(np.floor(bounds[tiers + 1] * (1 - _MARGIN)), low)
    values = np.floor(low + (high + 1 - low) * rng.random(tiers.size))
    placed: Numbers = np.where(bounds[tiers + 1] > 0, np.minimum(values, high), 0).astype(np.int64)
    return placed
