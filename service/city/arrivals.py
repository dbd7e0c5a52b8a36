"""How subscribers become known: profile, consent, bundles and groups, on the first day or when they join."""

from datetime import date

import numpy as np
import polars as pl

from service.city.encode import Draft, draft
from service.city.quotas import Numbers
from service.city.rhythm import CityDay, seconds_between

_PROFILE = (
    "msisdn", "market", "area", "manager", "channel", "plan", "fee_minor", "birthday", "vip_level", "activated_on",
)  # fmt: skip
_GRANTED, _REFUSED = 0, 1


def arrivals_of_day(
    profile_people: pl.DataFrame, joins: Numbers, day: CityDay, start: date, rng: np.random.Generator
) -> list[Draft]:
    """Events of those who join on a day (all who were there before, on the first day), from midnight to four.

    First who they are, then what they agreed to, then what ties them.
    """
    rows = np.flatnonzero(joins == day.index)
    if not rows.size:
        return []
    people = profile_people[rows]
    drafts = [_profiles(people, rows, day, rng), *_consents(people, rows, day, rng), *_ties(people, rows, day, start)]
    if day.index > 0:
        drafts.insert(0, draft("subscriber.activated", "n", (day, rows, np.zeros_like(rows))))
    return [drafted for drafted in drafts if drafted.rows.size]


def _profiles(people: pl.DataFrame, rows: Numbers, day: CityDay, rng: np.random.Generator) -> Draft:
    seconds = 60 + rng.integers(0, 3540, rows.size)
    people = people.with_columns(channel=pl.Series(["store", "agent", "online"]).gather(rng.integers(0, 3, rows.size)))
    return draft("subscriber.profile", "p", (day, rows, seconds), **{name: people[name] for name in _PROFILE})


def _consents(people: pl.DataFrame, rows: Numbers, day: CityDay, rng: np.random.Generator) -> list[Draft]:
    drafts = []
    for channel in ("call", "sms", "manager"):
        answer = people[f"consent_{channel}"].to_numpy()
        told = np.flatnonzero(answer <= _REFUSED)
        moment = (day, rows[told], seconds_between(1, 2, told.size, rng))
        names = pl.repeat(channel, told.size, eager=True)
        drafts.append(
            draft("consent.changed", "y" + channel[0], moment, channel=names, granted=answer[told] == _GRANTED)
        )
    return drafts


def _ties(people: pl.DataFrame, rows: Numbers, day: CityDay, start: date) -> list[Draft]:
    drafts = []
    for strength in ("hard", "soft", "vpn"):
        held = people.with_row_index("at").filter(pl.col(f"{strength}_bundle"))
        at = held["at"].to_numpy().astype(np.int64)
        fields = {
            "bundle_id": held.select(pl.format(strength[0].upper() + "-{}", "subscriber_id")).to_series(),
            "kind": held[f"{strength}_kind"],
            "hard": pl.repeat(strength == "hard", at.size, eager=True),
            "starts_on": held.select(pl.lit(start) + pl.duration(days=f"{strength}_starts")).to_series(),
        }
        if strength == "hard":
            fields["ends_on"] = held.select(pl.lit(start) + pl.duration(days="hard_ends")).to_series()
            fields["blocks_port"] = held["blocks_port"]
        drafts.append(draft("bundle.linked", "l" + strength[0], (day, rows[at], 7200 + at % 3600), **fields))
    grouped = np.flatnonzero(people["group_id"].is_not_null().to_numpy())
    members = people[grouped]
    moment = (day, rows[grouped], 10_800 + grouped % 3600)
    drafts.append(draft("group.joined", "g", moment, group_id=members["group_id"], key_person=members["key_person"]))
    return drafts
