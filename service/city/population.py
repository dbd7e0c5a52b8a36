"""Who lives in a simulated city: one row per subscriber with habits, ties and the fate that awaits them."""

from collections.abc import Callable, Sequence
from datetime import date

import numpy as np
import polars as pl

from service.city.lots import meet_fates
from service.city.profile import MEASURES, Profile, Segment
from service.city.quotas import Numbers, deal, rank_deal, within_tiers
from service.city.rhythm import MONTH_DAYS
from service.city.ties import tie

_MOST_FEE_OF_SPEND = 2 / 3  # a plan's fee beside what is spent beyond it
_KEEPS_HEARD = ("voice", "data")
# How far habits go together: one latent liveliness per subscriber behind spend, voice, data and messages.
_TOGETHER = 0.7


def make_population(profile: Profile, subscribers: int, seed: int, days: int, start: date) -> pl.DataFrame:
    """A population of a profile: a frame of `subscribers` rows.

    Days are counted from `start` (joins, begins, passes, leaves; `NEVER` if not). Levels are per thirty days: voice in
    billed minutes, data in bytes, sms in messages, spend in minor units of usage charges beyond the fee.
    The same arguments give the same frame.
    """
    rng = np.random.default_rng([seed, subscribers])
    people = _identities(profile, subscribers, days, start, rng)
    people = _habits(profile, people, rng)
    people = tie(profile, people, days, rng)
    people = meet_fates(profile, people, days, rng)
    people = people.with_columns(quota_bytes=pl.Series(_package(people["data_level"].to_numpy())))
    return _rhythms(profile, people, rng)


def _identities(profile: Profile, count: int, days: int, start: date, rng: np.random.Generator) -> pl.DataFrame:
    row = np.arange(count)
    names = list(profile.segments)
    segment = deal([part.share for part in profile.segments.values()], count, rng)
    market = _by_segment(profile, segment, profile.market_shares, rng)
    areas = list(profile.areas)
    area = deal(list(profile.areas.values()), count, rng)
    tenure_tier = _by_segment(profile, segment, lambda part: part.tenure, rng)
    tenure = within_tiers(profile.tiers["tenure"], tenure_tier, profile.least["tenure"], rng)
    joining = deal([profile.joining, 100 - profile.joining], count, rng) == 0
    joins = np.where(joining, rng.integers(1, max(days, 2), count), 0)
    by_market = {
        name: _by_quota(np.array([getattr(m, name) for m in profile.markets.values()]), market, rng)
        for name in ("prepaid", "managed")
    }
    manager = rng.integers(1, profile.managers_per_area + 1, count)
    return pl.DataFrame({
        "row": row,
        "segment": pl.Series(names).gather(segment),
        "segment_number": segment,
        "market": pl.Series(list(profile.markets)).gather(market),
        "market_number": market,
        "outside_holidays": np.array([part.outside_holidays for part in profile.segments.values()])[segment],
        "area": pl.Series(areas).gather(area),
        "manager_number": area * 100 + manager,
        **by_market,
        "joins": joins,
        "tenure_tier": tenure_tier,
        "activated_day": np.where(joining, joins, _tenure_counts_to(profile) - tenure),
        "birthday": pl.Series(rng.integers(-12_000, 12_000, count)).cast(pl.Int32).cast(pl.Date),
        "competitor": pl.Series(list(profile.networks.competitors)).gather(
            rng.integers(0, len(profile.networks.competitors), count)
        ),
        "complaint_topic": pl.Series(["bill", "coverage", "speed", "service"]).gather(rng.integers(0, 4, count)),
    }).with_columns(
        subscriber_id=pl.format("S{}", pl.col("row").cast(pl.String).str.zfill(8)),
        # 100 is no prefix of any operator: nobody's real number.
        msisdn=pl.format("86100{}", pl.col("row").cast(pl.String).str.zfill(8)),
        manager=pl.when("managed").then(pl.format("M{}", pl.col("manager_number").cast(pl.String).str.zfill(4))),
        activated_on=pl.lit(start) + pl.duration(days="activated_day"),
    )  # fmt: skip


def _tenure_counts_to(profile: Profile) -> int:
    """The day, from the start, up to which tenure is counted: the last of the usual month that is judged by."""
    judged = profile.judged_index
    return 0 if judged is None else judged - MONTH_DAYS


def _by_segment(
    profile: Profile, segment: Numbers, shares_of: Callable[[Segment], Sequence[float]], rng: np.random.Generator
) -> Numbers:
    """The number of a share for each subscriber (int64), dealt by quota within each segment."""
    dealt = np.zeros(segment.size, dtype=np.int64)
    for number, part in enumerate(profile.segments.values()):
        members = np.flatnonzero(segment == number)
        if members.size:
            dealt[members] = deal(shares_of(part), members.size, rng)
    return dealt


def _by_quota(percents: Numbers, market: Numbers, rng: np.random.Generator) -> Numbers:
    """Yes or no for each subscriber: exactly so many per hundred of each market."""
    chosen = np.zeros(market.size, dtype=np.bool_)
    for number, percent in enumerate(percents):
        members = np.flatnonzero(market == number)
        if members.size:
            chosen[members] = deal([percent, 100 - percent], members.size, rng) == 0
    return chosen


def _habits(profile: Profile, people: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Levels by tier quotas, going together through one latent liveliness; a plan that fits the spend."""
    count = people.height
    segment = people["segment_number"].to_numpy()
    lively = rng.standard_normal(count)
    tiers: dict[str, Numbers] = {}
    levels: dict[str, Numbers] = {}
    for measure in ("spend", "voice", "data", "sms"):
        score = _TOGETHER * lively + np.sqrt(1 - _TOGETHER**2) * rng.standard_normal(count)
        if measure == "sms":
            tops, least = [tier.to for tier in profile.sms], 1
            tiers[measure] = rank_deal([tier.share for tier in profile.sms], score)
        else:
            tops, least = list(profile.tiers[measure]), profile.least[measure]
            tiers[measure] = _rank_by_segment(profile, segment, measure, score)
        levels[measure] = within_tiers(tops, tiers[measure], least, rng)
    people = _with_plan(profile, people, levels["spend"])
    return people.with_columns(
        **{f"{measure}_level": pl.Series(level) for measure, level in levels.items()},
        **{f"{measure}_tier": pl.Series(tier) for measure, tier in tiers.items()},
        spend_rank=pl.Series(_rank(levels["spend"])),
        data_rank=pl.Series(_rank(levels["data"])),
        voice_in_level=pl.Series((levels["voice"] * rng.uniform(0.5, 1.2, count)).astype(np.int64)),
    )


def _rank_by_segment(profile: Profile, segment: Numbers, measure: str, scores: Numbers) -> Numbers:
    dealt = np.zeros(segment.size, dtype=np.int64)
    for number, part in enumerate(profile.segments.values()):
        members = np.flatnonzero(segment == number)
        if members.size:
            dealt[members] = rank_deal(getattr(part, measure), scores[members])
    return dealt


def _rank(values: Numbers) -> Numbers:
    """Each value's place among all, from 0 to 1."""
    rank: Numbers = np.argsort(np.argsort(values, kind="stable"), kind="stable") / values.size
    return rank


def _with_plan(profile: Profile, people: pl.DataFrame, spend: Numbers) -> pl.DataFrame:
    """The dearest plan that does not cost too much beside the usage charges, and a smaller one to go to."""
    fees = np.array([plan.fee_minor for plan in profile.plans])
    order = np.argsort(fees, kind="stable")
    affordable = np.searchsorted(fees[order], spend * _MOST_FEE_OF_SPEND, side="right") - 1
    place = np.clip(affordable, 0, fees.size - 1)
    plan, below = order[place], order[np.maximum(place - 2, 0)]
    names = pl.Series([p.name for p in profile.plans])
    total = fees[plan] + spend
    return people.with_columns(
        monthly_minor=pl.Series(total),
        plan=names.gather(plan),
        fee_minor=pl.Series(fees[plan]),
        plan_below=names.gather(below),
        fee_below_minor=pl.Series(fees[below]),
        vip_level=pl.Series(["none", "silver", "gold"]).gather(np.searchsorted([10_000, 20_000], total, side="right")),
    )


def _package(data_level: Numbers) -> Numbers:
    """The data package of each level, in bytes: the next power of two with room for an unusual month."""
    return np.int64(1) << np.ceil(np.log2(np.maximum(data_level, 1) * 1.8)).astype(np.int64)


def _rhythms(profile: Profile, people: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """How many days lie between records of a measure, and on which day of that rhythm a subscriber's fall."""
    count = people.height
    columns: dict[str, Numbers] = {}
    for measure in MEASURES:
        level = people[f"{measure}_level"].to_numpy()
        busiest_first = np.argsort(np.argsort(-level, kind="stable"), kind="stable") * 3 // count
        intervals = np.asarray(profile.record_every_days[measure])
        every = intervals[busiest_first]
        others = [people[f"{other}_level"].to_numpy() for other in _KEEPS_HEARD if other != measure]
        if measure in _KEEPS_HEARD:
            # Who uses one thing only is heard of as often as others are by two.
            every = np.where(np.max(others, axis=0) == 0, intervals.min(), every)
        columns[f"{measure}_every"] = every
        columns[f"{measure}_phase"] = rng.integers(0, MONTH_DAYS, count) % every
    recharge = np.asarray(profile.recharge_every_days)[rng.integers(0, len(profile.recharge_every_days), count)]
    columns["recharge_every"] = recharge
    columns["recharge_phase"] = rng.integers(0, 1000, count) % recharge
    columns["bill_dom"] = rng.integers(1, 6, count)  # bills close on days 1 to 5
    columns["report_dom"] = rng.integers(8, 28, count)
    for report, percent in profile.reports.items():
        columns[f"reports_{report}"] = deal([percent, 100 - percent], count, rng) == 0
    return people.with_columns(**{name: pl.Series(values) for name, values in columns.items()})
