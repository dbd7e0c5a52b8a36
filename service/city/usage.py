"""The bulk of a day: calls, data, messages and what is charged for them."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from service.city.encode import Draft, draft, month_column
from service.city.fates import FATES
from service.city.profile import MEASURES, Profile
from service.city.quotas import Numbers
from service.city.rhythm import CityDay, is_due, seconds_of_usage

Columns = Mapping[str, Numbers]

_FADING_DAYS = 6  # a habit is not lost overnight
_REFUNDED = 0.004  # share of usage charges that are followed by a refund
_COURSES = ("keeps", "fades", "stops", "grows", "dips")


def _course_table() -> dict[str, Numbers]:
    """By measure, the number of the course (of _COURSES) that each fate sets it on; fate 0 keeps everything."""
    return {
        measure: np.array([0, *(_COURSES.index(fate.courses.get(measure, "keeps")) for fate in FATES.values())])
        for measure in (*MEASURES, "recharge")
    }


_COURSE_TABLE = _course_table()


def numeric_columns(people: pl.DataFrame) -> Columns:
    """The population's numbers and truths as arrays, which the days are made from."""
    wanted = [name for name, dtype in people.schema.items() if dtype.is_numeric() or dtype == pl.Boolean]
    columns = {name: people[name].to_numpy() for name in wanted}
    for fate in ("downgrades", "overflows", "runs_off"):
        columns[fate] = (people["fate"] == fate).to_numpy()
    return columns


def is_present(people: Columns, index: int) -> Numbers:
    """For each subscriber whether the line exists on a day of the run."""
    present: Numbers = (people["joins"] <= index) & (index < people["leaves"])
    return present


def course_factors(people: Columns, measure: str, index: int, rows: Numbers) -> Numbers:
    """What their fate has left of a measure on a day, for subscribers `rows` (float64; 1 is all of it)."""
    begins = people["begins"][rows]
    course = _COURSE_TABLE[measure][people["fate_number"][rows]]
    concerned = (begins <= index) & (index < people["passes"][rows])
    course = np.where(concerned, course, 0)
    every, none = np.ones(rows.size), np.zeros(rows.size)
    goals = [every, people["left_over"][rows], none, people["rises_to"][rows], people["stays_near"][rows]]
    goal: Numbers = np.choose(course, goals)
    way = np.clip((index - begins + 1) / _FADING_DAYS, 0, 1)
    # What stops, stops at once.
    return np.where(course == _COURSES.index("stops"), 0.0, 1 + (goal - 1) * way)


def usage_of_day(
    profile: Profile, people: Columns, day: CityDay, factors: Mapping[str, Numbers], rng: np.random.Generator
) -> tuple[list[Draft], Mapping[str, tuple[Numbers, Numbers]]]:
    """A day's usage and usage charges.

    Gives the drafts, and for bills and quotas the rows and amounts of `spend` (minor units) and `data` (bytes).
    """
    amounts = {m: _amounts(profile, (people, m), day, factors[m], rng) for m in MEASURES}
    drafts = [
        _voice((day, *amounts["voice"]), "out", pl.Series([profile.networks.home, *profile.networks.competitors]), rng),
        _voice((day, *amounts["voice_in"]), "in", None, rng),
        _data(people, (day, *amounts["data"]), rng),
        _messages((day, *amounts["sms"]), rng),
        *_charges(day, *amounts["spend"], rng),
    ]
    return drafts, {"spend": amounts["spend"], "data": amounts["data"]}


def _amounts(
    profile: Profile, which: tuple[Columns, str], day: CityDay, factor: Numbers, rng: np.random.Generator
) -> tuple[Numbers, Numbers]:
    """Whose records of a measure fall on the day, and how much they hold (int64, at least 1)."""
    people, measure = which
    due = is_due(day.index, people[f"{measure}_every"], people[f"{measure}_phase"])
    rows = np.flatnonzero(due & (people[f"{measure}_level"] > 0) & is_present(people, day.index))
    level = people[f"{measure}_level"][rows] * people[f"{measure}_every"][rows] / 30
    left = course_factors(people, measure, day.index, rows)
    noise = np.exp(rng.standard_normal(rows.size) * profile.noise[measure])
    amount = level * left * factor[rows] * noise
    used = left > 0
    return rows[used], np.maximum(np.rint(amount[used]), 1).astype(np.int64)


def _voice(
    told: tuple[CityDay, Numbers, Numbers], direction: str, networks: pl.Series | None, rng: np.random.Generator
) -> Draft:
    day, rows, minutes = told
    count = rows.size
    fields: dict[str, pl.Series | Numbers] = {
        # Minutes are billed rounded up, call by call: about four seconds in five were spoken.
        "seconds": np.maximum(minutes * 48 + rng.integers(-11, 12, count), 1),
        "billed_minutes": minutes,
        "direction": pl.repeat(direction, count, eager=True),
    }
    if networks is not None:
        # Half of the calls stay in the home network.
        fields["peer_network"] = networks.gather(np.maximum(rng.integers(1 - len(networks), len(networks), count), 0))
    return draft("usage.voice", "v" + direction[0], (day, rows, seconds_of_usage(count, rng)), **fields)


def _data(people: Columns, told: tuple[CityDay, Numbers, Numbers], rng: np.random.Generator) -> Draft:
    day, rows, volume = told
    over = people["overflows"][rows] & (day.index >= people["begins"][rows])
    rat = pl.Series(["4g", "5g"]).gather((people["data_rank"][rows] > 0.6).astype(np.int64))  # noqa: PLR2004 - the newer handsets
    moment = (day, rows, seconds_of_usage(rows.size, rng))
    return draft("usage.data", "d", moment, bytes=volume, rat=rat, in_package=~over)


def _messages(told: tuple[CityDay, Numbers, Numbers], rng: np.random.Generator) -> Draft:
    day, rows, count = told
    direction = pl.repeat("out", rows.size, eager=True)
    return draft("usage.sms", "s", (day, rows, seconds_of_usage(rows.size, rng)), count=count, direction=direction)


def _charges(day: CityDay, rows: Numbers, minor: Numbers, rng: np.random.Generator) -> list[Draft]:
    """Usage charges, and here and there a small refund of one, later the same day."""
    seconds = seconds_of_usage(rows.size, rng)
    back = np.flatnonzero((rng.random(rows.size) < _REFUNDED) & (minor >= 20))  # noqa: PLR2004 - worth a refund
    later = np.minimum(seconds[back] + 600, 86_399)
    return [
        draft("charge", "cu", (day, rows, seconds), **_charge(minor, "usage", day)),
        draft("charge", "cb", (day, rows[back], later), **_charge(-(minor[back] // 20), "refund", day)),
    ]


def _charge(minor: Numbers, kind: str, day: CityDay) -> dict[str, pl.Series | Numbers]:
    return {
        "amount_minor": minor,
        "kind": pl.repeat(kind, minor.size, eager=True),
        "bill_month": month_column(day.month, minor.size),
    }
