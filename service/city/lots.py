"""The lots that fall: which subscriber meets which fate, when it begins, and how far it goes."""

from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl

from service.city.fates import FATES, NEVER, STABLE, Fate
from service.city.profile import MEASURES, FateShare, Profile
from service.city.quotas import Numbers, allot, pick

_NEWCOMER_DAYS = 90
_NEWCOMERS_LEAVE_MORE = 4.0
_UNTIED_LEAVE_MORE = 2.0
_CONTRACT_DAYS = 30  # a contract has begun so long before it ends
_NOTICE_DAYS = 60
_NAMES = [STABLE, *FATES]


def meet_fates(profile: Profile, people: pl.DataFrame, days: int, rng: np.random.Generator) -> pl.DataFrame:
    """Deal the fates of each segment by quota among those whom they can meet.

    Newcomers and the untied leave more often. Adds fate, begins, passes and leaves; by measure `<measure>_goal`, what
    the fate leaves of a level (1: all of it), and `<measure>_anew`, whether the level is one that begins with it.
    """
    count = people.height
    fate = np.zeros(count, dtype=np.int64)
    begins = np.full(count, NEVER)
    end = days if profile.judged_index is None else profile.judged_index + 1
    leaning = _leaning(people)
    for members, fates in _cells(profile, people):
        # In the order of FATES: what needs somebody rare comes first.
        names = [name for name in FATES if name in fates and fates[name].share > 0]
        rest = max(100 - sum(fates[name].share for name in names), 0)
        wanted = allot([*(fates[name].share for name in names), rest], members.size) if members.size else ()
        for name, quota in zip(names, wanted, strict=False):
            told, share = FATES[name], fates[name]
            free = members[(fate[members] == 0) & _can_meet(people, members, told, share)]
            # However small the city, each fate meets somebody.
            chosen = free[pick(leaning[free] if told.leaves else np.ones(free.size), max(int(quota), 1), rng)]
            latest = max(end - share.shows_within_days, share.earliest_day)
            fate[chosen] = _NAMES.index(name)
            begins[chosen] = rng.integers(share.earliest_day, latest + 1, chosen.size)
    lasts = np.array([NEVER, *(told.lasts_days for told in FATES.values())])[fate]
    gone = np.array([NEVER, *(told.leaves_after_days for told in FATES.values())])[fate]
    met = people.with_columns(
        fate=pl.Series(_NAMES).gather(fate),
        begins=pl.Series(begins),
        passes=pl.Series(np.minimum(begins + lasts, NEVER)),
        leaves=pl.Series(np.minimum(begins + gone, NEVER)),
    )
    return _end_contracts(_go_far(profile, met, fate, rng))


def _leaning(people: pl.DataFrame) -> Numbers:
    newcomer = people["activated_day"].to_numpy() > -_NEWCOMER_DAYS
    untied = ~people.select(pl.any_horizontal("hard_bundle", "soft_bundle", "vpn_bundle")).to_series().to_numpy()
    leaning: Numbers = np.where(newcomer, _NEWCOMERS_LEAVE_MORE, 1.0) * np.where(untied, _UNTIED_LEAVE_MORE, 1.0)
    return leaning


def _cells(profile: Profile, people: pl.DataFrame) -> Iterator[tuple[Numbers, Mapping[str, FateShare]]]:
    """Who shares a table of fates, and the table: a segment's market that has its own, the rest of the segment.

    Who only joins during the run meets none.
    """
    segment, market = (people[f"{name}_number"].to_numpy() for name in ("segment", "market"))
    here = people["joins"].to_numpy() == 0
    markets = list(profile.markets)
    for number, part in enumerate(profile.segments.values()):
        rest = here & (segment == number)
        for name, fates in part.fates_in.items():
            own = rest & (market == markets.index(name))
            rest &= ~own
            yield np.flatnonzero(own), fates
        yield np.flatnonzero(rest), part.fates


def _can_meet(people: pl.DataFrame, members: Numbers, told: Fate, share: FateShare) -> Numbers:
    enough = [pl.col(f"{measure}_level") >= least for measure, least in share.least.items()]
    able: Numbers = people[members].select(pl.all_horizontal(told.needs, *enough).alias("able"))["able"].to_numpy()
    return able if able.size == members.size else np.repeat(able, members.size)


def _go_far(profile: Profile, people: pl.DataFrame, fate: Numbers, rng: np.random.Generator) -> pl.DataFrame:
    """How far each measure goes, one depth for all of a subscriber's; who had nothing may rise from it."""
    depth = rng.random(people.height)
    columns: dict[str, Numbers] = {}
    for measure in (*MEASURES, "recharge"):
        ranges = {"keeps": (1.0, 1.0), "stops": (0.0, 0.0)}
        ranges |= {course: of[measure] for course, of in profile.courses.items() if measure in of}
        courses = ["keeps", *(told.courses.get(measure, "keeps") for told in FATES.values())]
        low, high = np.array([ranges[course] for course in courses])[fate].T
        columns[f"{measure}_goal"] = low + (high - low) * depth
        if measure in MEASURES:
            columns[f"{measure}_anew"] = np.zeros(people.height, dtype=np.bool_)
    for measure, (least, most) in profile.from_nothing.items():
        level = people[f"{measure}_level"].to_numpy()
        anew = (level == 0) & (columns[f"{measure}_goal"] > 1)
        columns[f"{measure}_anew"] = anew
        columns[f"{measure}_level"] = np.where(anew, least + (most - least) * depth, level).astype(np.int64)
    return people.with_columns(**{name: pl.Series(values) for name, values in columns.items()})


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
        hard_starts=pl.min_horizontal("hard_starts", pl.col("begins") - _CONTRACT_DAYS),
    )
