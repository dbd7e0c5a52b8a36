"""Who lives in a simulated city: one row per subscriber with habits, ties and the fate that awaits them."""

from collections.abc import Mapping
from datetime import date

import numpy as np
import polars as pl

from service.city.fates import FATES, NEVER, STABLE
from service.city.profile import MEASURES, Profile
from service.city.quotas import Numbers, deal, rank_deal, within_tiers

_NEWCOMER_DAYS = 90
_NEWCOMERS_LEAVE_MORE = 4.0
_UNTIED_LEAVE_MORE = 2.0
_USAGE_SHARE_OF_SPEND = 0.6  # what is left after the plan's fee
_NOTICE_DAYS = 60  # a hard bundle that ends later than this after the run is never news
_KEEPS_HEARD = ("voice", "data")
_LEAST_GAP_DAYS = 6  # who has only one of voice and data leaves at most this many days between records
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
    people = _ties(profile, people, days, rng)
    people = _rhythms(profile, people, rng)
    return _meet_fates(profile, people, days, rng)


def _identities(profile: Profile, count: int, days: int, start: date, rng: np.random.Generator) -> pl.DataFrame:
    row = np.arange(count)
    markets = list(profile.markets)
    market = deal([m.share for m in profile.markets.values()], count, rng)
    areas = list(profile.areas)
    area = deal(list(profile.areas.values()), count, rng)
    tops = [tier.to_days for tier in profile.tenure]
    tenure = within_tiers(tops, deal([tier.share for tier in profile.tenure], count, rng), rng).astype(np.int64) + 1
    joining = deal([profile.joining, 100 - profile.joining], count, rng) == 0
    joins = np.where(joining, rng.integers(1, max(days, 2), count), 0)
    by_market = {
        name: _by_quota(np.array([getattr(m, name) for m in profile.markets.values()]), market, rng)
        for name in ("prepaid", "grouped", "managed")
    }
    manager = rng.integers(1, profile.managers_per_area + 1, count)
    return pl.DataFrame({
        "row": row,
        "market": pl.Series(markets).gather(market),
        "area": pl.Series(areas).gather(area),
        "manager_number": area * 100 + manager,
        **by_market,
        "joins": joins,
        "activated_day": np.where(joining, joins, -tenure),
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
    lively = rng.standard_normal(count)
    levels: dict[str, Numbers] = {}
    ranks: dict[str, Numbers] = {}
    for measure, tiers in profile.levels.items():
        score = _TOGETHER * lively + np.sqrt(1 - _TOGETHER**2) * rng.standard_normal(count)
        tier = rank_deal([t.share for t in tiers], score)
        levels[measure] = np.floor(within_tiers([t.to for t in tiers], tier, rng)).astype(np.int64)
        ranks[measure] = np.argsort(np.argsort(score, kind="stable"), kind="stable") / count
    fees = np.array([plan.fee_minor for plan in profile.plans])
    order = np.argsort(fees, kind="stable")
    affordable = np.searchsorted(fees[order], levels["spend"] * (1 - _USAGE_SHARE_OF_SPEND), side="right") - 1
    place = np.clip(affordable, 0, fees.size - 1)
    plan, below = order[place], order[np.maximum(place - 2, 0)]
    names = pl.Series([p.name for p in profile.plans])
    spend = np.maximum(levels["spend"] - fees[plan], levels["spend"] // 5)
    total = fees[plan] + spend
    return people.with_columns(
        spend_level=pl.Series(spend),
        monthly_minor=pl.Series(total),
        spend_rank=pl.Series(ranks["spend"]),
        voice_level=pl.Series(levels["voice"]),
        voice_in_level=pl.Series((levels["voice"] * rng.uniform(0.5, 1.2, count)).astype(np.int64)),
        data_level=pl.Series(levels["data"]),
        data_rank=pl.Series(ranks["data"]),
        sms_level=pl.Series(levels["sms"]),
        plan=names.gather(plan),
        fee_minor=pl.Series(fees[plan]),
        plan_below=names.gather(below),
        fee_below_minor=pl.Series(fees[below]),
        vip_level=pl.Series(["none", "silver", "gold"]).gather(np.searchsorted([10_000, 20_000], total, side="right")),
        quota_bytes=pl.Series(_package(levels["data"])),
    )


def _package(data_level: Numbers) -> Numbers:
    """The data package of each level, in bytes: the next power of two with room for an unusual month."""
    return np.int64(1) << np.ceil(np.log2(np.maximum(data_level, 1) * 1.8)).astype(np.int64)


def _ties(profile: Profile, people: pl.DataFrame, days: int, rng: np.random.Generator) -> pl.DataFrame:
    """Bundles, groups and consent."""
    count = people.height
    shares = profile.bundles
    both = max(shares.hard + shares.soft - shares.any, 0)
    held = deal([both, shares.hard - both, shares.soft - both, max(100 - shares.any, 0)], count, rng)
    starts = people["activated_day"].to_numpy()
    consent = {
        f"consent_{channel}": pl.Series(
            deal([c.granted, c.refused, 100 - c.granted - c.refused], count, rng), dtype=pl.Int64
        )
        for channel, c in profile.consent.items()
    }
    grouped = pl.col("grouped")
    return people.with_columns(
        hard_bundle=pl.Series(held <= 1),
        soft_bundle=pl.Series((held == 0) | (held == 2)),  # noqa: PLR2004 - the third share above
        hard_kind=_kinds(profile.bundles.hard_kinds, count, rng),
        soft_kind=_kinds(profile.bundles.soft_kinds, count, rng),
        hard_starts=pl.Series(np.maximum(starts, -rng.integers(30, 600, count))),
        soft_starts=pl.Series(np.maximum(starts, -rng.integers(0, 1200, count))),
        hard_ends=pl.Series(days + _NOTICE_DAYS + rng.integers(10, 600, count)),
        blocks_port=pl.Series(rng.random(count) < 0.5),  # noqa: PLR2004 - every other contract
        group_id=pl.when(grouped).then(pl.format("G{}", pl.Series(rng.integers(1, count // 20 + 2, count)))),
        key_person=grouped & pl.Series(rng.random(count) < 0.05),  # noqa: PLR2004 - one in a group of twenty
        **consent,
    )


def _kinds(shares: Mapping[str, float], count: int, rng: np.random.Generator) -> pl.Series:
    return pl.Series(list(shares)).gather(deal(list(shares.values()), count, rng))


def _rhythms(profile: Profile, people: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """How many days lie between records of a measure, and on which day of that rhythm a subscriber's fall."""
    count = people.height
    columns: dict[str, Numbers] = {}
    for measure in MEASURES:
        level = people[f"{measure}_level"].to_numpy()
        busiest_first = np.argsort(np.argsort(-level, kind="stable"), kind="stable") * 3 // count
        every = np.asarray(profile.record_every_days[measure])[busiest_first]
        others = [people[f"{other}_level"].to_numpy() for other in _KEEPS_HEARD if other != measure]
        if measure in _KEEPS_HEARD:
            # Who uses one thing only is heard of as often as others are by two.
            every = np.where(np.max(others, axis=0) == 0, np.minimum(every, _LEAST_GAP_DAYS), every)
        columns[f"{measure}_every"] = every
        columns[f"{measure}_phase"] = rng.integers(0, 30, count) % every
    recharge = np.asarray(profile.recharge_every_days)[rng.integers(0, len(profile.recharge_every_days), count)]
    columns["recharge_every"] = recharge
    columns["recharge_phase"] = rng.integers(0, 1000, count) % recharge
    columns["bill_dom"] = rng.integers(1, 6, count)  # bills close on days 1 to 5
    columns["report_dom"] = rng.integers(8, 28, count)
    for report, percent in profile.reports.items():
        columns[f"reports_{report}"] = deal([percent, 100 - percent], count, rng) == 0
    return people.with_columns(**{name: pl.Series(values) for name, values in columns.items()})


def _meet_fates(profile: Profile, people: pl.DataFrame, days: int, rng: np.random.Generator) -> pl.DataFrame:
    """Deal the fates by quota among those whom they can meet, newcomers and the untied leaving more often."""
    count = people.height
    newcomer = people["activated_day"].to_numpy() > -_NEWCOMER_DAYS
    untied = ~(people["hard_bundle"] | people["soft_bundle"]).to_numpy()
    leaning = np.where(newcomer, _NEWCOMERS_LEAVE_MORE, 1.0) * np.where(untied, _UNTIED_LEAVE_MORE, 1.0)
    here = people["joins"].to_numpy() == 0
    names = [STABLE, *FATES]
    fate = np.zeros(count, dtype=np.int64)
    begins = np.full(count, NEVER)
    passes, leaves = begins.copy(), begins.copy()
    for number, name in enumerate(names[1:], start=1):
        told, share = FATES[name], profile.fates.get(name)
        if share is None or share.share == 0:
            continue
        free = np.flatnonzero(people.select(told.needs.alias("needs") & pl.lit(pl.Series(here & (fate == 0))))["needs"])
        wanted = max(round(share.share * count / 100), 1)
        # Weighted picking without replacement: the smallest of exponential waiting times.
        waits = rng.exponential(size=free.size) / (leaning[free] if told.leaves else 1.0)
        chosen = free[np.argsort(waits, kind="stable")[:wanted]]
        latest = max(days - share.shows_within_days, share.earliest_day)
        fate[chosen] = number
        begins[chosen] = rng.integers(share.earliest_day, latest + 1, chosen.size)
        passes[chosen] = np.minimum(begins[chosen] + told.lasts_days, NEVER)
        leaves[chosen] = np.minimum(begins[chosen] + told.leaves_after_days, NEVER)
    met = people.with_columns(
        fate=pl.Series(names).gather(fate),
        fate_number=pl.Series(fate),
        begins=pl.Series(begins),
        passes=pl.Series(passes),
        leaves=pl.Series(leaves),
        left_over=pl.Series(rng.uniform(0.08, 0.35, count)),
        stays_near=pl.Series(rng.uniform(0.8, 0.88, count)),
        rises_to=pl.Series(rng.uniform(1.35, 1.8, count)),
    )
    return _end_contracts(met)


def _end_contracts(people: pl.DataFrame) -> pl.DataFrame:
    """Contracts end on the day that the fates of lapsing and ending need."""
    lapses, ends = pl.col("fate") == "bundle_lapses", pl.col("fate") == "bundle_ends"
    return people.with_columns(
        hard_ends=pl.when(lapses)
        .then("begins")
        .when(ends)
        .then(pl.col("begins") + _NOTICE_DAYS - 1)
        .otherwise("hard_ends"),
        # A contract has begun before it ends.
        hard_starts=pl.min_horizontal("hard_starts", pl.col("begins") - 30),
    )
