"""The bulk of a day: calls, data, messages and what is charged for them."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from service.city.encode import Draft, draft, month_column
from service.city.months import Amounts, Columns
from service.city.profile import Profile
from service.city.quotas import Numbers
from service.city.rhythm import CityDay, seconds_of_usage

_REFUNDED = 0.004  # share of usage charges that are followed by a refund


def numeric_columns(people: pl.DataFrame) -> Columns:
    """The population's numbers and truths as arrays, which the days are made from."""
    wanted = [name for name, dtype in people.schema.items() if dtype.is_numeric() or dtype == pl.Boolean]
    columns = {name: people[name].to_numpy() for name in wanted}
    for fate in ("downgrades", "overflows", "runs_off"):
        columns[fate] = (people["fate"] == fate).to_numpy()
    return columns


def usage_of_day(
    profile: Profile, people: Columns, day: CityDay, amounts: Mapping[str, Amounts], rng: np.random.Generator
) -> list[Draft]:
    """A day's usage and usage charges, of the records that fall on it (see `Month.on`)."""
    return [
        _voice((day, *amounts["voice"]), "out", pl.Series([profile.networks.home, *profile.networks.competitors]), rng),
        _voice((day, *amounts["voice_in"]), "in", None, rng),
        _data(people, (day, *amounts["data"]), rng),
        _messages((day, *amounts["sms"]), rng),
        *_charges(day, *amounts["spend"], rng),
    ]


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
