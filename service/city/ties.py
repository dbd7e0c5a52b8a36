"""What ties subscribers: bundles by each segment's rates, virtual networks, and the consent to be spoken to."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import polars as pl

from service.city.profile import Bundles, Profile
from service.city.quotas import Numbers, allot, deal, pick

_NOTICE_DAYS = 60  # a hard bundle that ends later than this after the run is never news
_OF_A_NETWORK = 20  # members


class _Held(NamedTuple):
    """For each of some subscribers whether a bundle of a sort is held.

    `soft` is a package plan, or something else that is neither plan nor network.
    """

    hard: Numbers
    soft: Numbers
    vpn: Numbers
    plan: Numbers


def tie(profile: Profile, people: pl.DataFrame, days: int, rng: np.random.Generator) -> pl.DataFrame:
    """People with bundles, networks and consent; `days` is how long the run is."""
    count = people.height
    held = _hold_by_segment(profile, people, rng)
    starts = people["activated_day"].to_numpy()
    others = _kinds(profile.bundle_kinds.soft, count, rng)
    consent = {
        f"consent_{channel}": pl.Series(
            deal([c.granted, c.refused, 100 - c.granted - c.refused], count, rng), dtype=pl.Int64
        )
        for channel, c in profile.consent.items()
    }
    return people.with_columns(
        hard_bundle=pl.Series(held.hard),
        soft_bundle=pl.Series(held.soft),
        vpn_bundle=pl.Series(held.vpn),
        hard_kind=_kinds(profile.bundle_kinds.hard, count, rng),
        soft_kind=pl.select(pl.when(pl.Series(held.plan)).then(pl.lit("package_plan")).otherwise(others)).to_series(),
        vpn_kind=pl.lit("vpn"),
        hard_starts=pl.Series(np.maximum(starts, -rng.integers(30, 600, count))),
        soft_starts=pl.Series(np.maximum(starts, -rng.integers(0, 1200, count))),
        vpn_starts=pl.Series(np.maximum(starts, -rng.integers(0, 1200, count))),
        hard_ends=pl.Series(days + _NOTICE_DAYS + rng.integers(10, 600, count)),
        blocks_port=pl.Series(rng.random(count) < 0.5),  # noqa: PLR2004 - every other contract
        group_id=pl.when(pl.Series(held.vpn)).then(
            pl.format("G{}", pl.Series(rng.integers(1, count // _OF_A_NETWORK + 2, count)))
        ),
        key_person=pl.Series(held.vpn & (rng.random(count) < 1 / _OF_A_NETWORK)),
        **consent,
    )


def _hold_by_segment(profile: Profile, people: pl.DataFrame, rng: np.random.Generator) -> _Held:
    whole = _Held(*np.zeros((4, people.height), dtype=np.bool_))
    market = people["market_number"].to_numpy()
    likely = np.array([of.grouped for of in profile.markets.values()], dtype=np.float64)[market]
    segment = people["segment_number"].to_numpy()
    for number, part in enumerate(profile.segments.values()):
        members = np.flatnonzero(segment == number)
        for column, of_part in zip(whole, _hold(part.bundles, likely[members], rng), strict=True):
            column[members] = of_part
    return whole


def _hold(rates: Bundles, likely: Numbers, rng: np.random.Generator) -> _Held:
    """Bundles by quota; members of networks are picked first, for the likeliest are of few markets."""
    count = likely.size
    both = rates.hard + rates.soft - rates.any
    both, only_hard, only_soft, _ = allot([both, rates.hard - both, rates.soft - both, 100 - rates.any], count)
    soft = int(both + only_soft)
    members = pick(likely, min(round(rates.vpn * count / 100), soft), rng)
    rest = rng.permutation(np.setdiff1d(np.arange(count), members))
    tied = np.concatenate([rng.permutation(members), rest[: soft - members.size]])
    # Plans go first to those without a network: only what is over is held beside one.
    planned = tied[soft - min(round(rates.package_plan * count / 100), soft) :]
    held = _Held(*np.zeros((4, count), dtype=np.bool_))
    held.vpn[members] = True
    held.plan[planned] = True
    held.soft[planned] = True
    held.soft[tied[members.size :]] = True
    held.hard[rng.permutation(tied)[:both]] = True
    held.hard[rest[soft - members.size :][:only_hard]] = True
    return held


def _kinds(shares: Mapping[str, float], count: int, rng: np.random.Generator) -> pl.Series:
    return pl.Series(list(shares)).gather(deal(list(shares.values()), count, rng))
