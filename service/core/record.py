"""What the front office sees of one subscriber, as plain values; null where no feed has told."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl

from service.core.attributes import PORTING, UNKNOWN_AMOUNT, UNKNOWN_DAY
from service.core.calendar import month_of, month_text, to_date
from service.core.episodes import OPEN
from service.core.events import CHANNELS, STATUSES
from service.core.holdings import OPEN_ENDED
from service.core.measures import MEASURES
from service.core.rules import Rulebook
from service.core.segments import six_digits
from service.core.signals import View
from service.core.state import State
from service.core.turn import Mute
from service.core.windows import BEFORE

DAILY_DAYS = 90
_MOST_OFFERS = 2
_BILLS = 3
_FAMILY, _BROADBAND = "family", "broadband"

_Used = Mapping[int, Mapping[str, int] | None]  # by day; None: its history cannot be read

_DAILY = {
    "spend_minor": "spend",
    "voice_minutes": "voice",
    "data_bytes": "data",
    "sms": "sms",
    "outgoing": "outgoing",
    "recharge_minor": "recharge",
}
_NOTHING = dict.fromkeys(_DAILY, 0)


def describe(
    state: State, rulebook: Rulebook, subscriber_id: str, episodes: pl.DataFrame, mutes: Iterable[Mute] = ()
) -> dict[str, Any] | None:
    """The record of a subscriber as of the state's cursor, or None where nobody of that id is known.

    `episodes` are those that may be shown: committed ones, columns of TRANSITIONS but `transition`, and `row`; so are
    `mutes`.
    """
    row = state.roster.number(subscriber_id)
    if row < 0:
        return None
    mine = _warnings(episodes, row) if state.episodes.has_any(row) else []
    standing = [line for line in mine if line["state"] in OPEN]
    tables = {name: table.of_row(row) for name, table in state.holdings.tables.items()}
    today = last_day(state)
    used = dict(state.panes.of_row(row, today - DAILY_DAYS + 1, today))
    return {
        "subscriber_id": subscriber_id,
        "as_of": _as_of(state, row),
        **_profile(state, row),
        **_account(state, row, tables),
        **_ties(tables, today),
        "month_to_date": _month_to_date(used, tables, today),
        "segment": _segment(state, rulebook, row),
        "withheld": "feed" if _is_doubted(state, row) else None,
        "mutes": [_mute(mute) for mute in in_force(mutes, today) if _concerns(mute, state, row)],
        "windows": _windows(state, row),
        "days_silent": _silent(state, row),
        "contacts": _contacts(state, subscriber_id),
        "offers": _offers(standing, rulebook),
        "warnings": {
            "open": [plain(line) for line in standing if line["suppressed_by"] is None],
            "withheld": [plain(line) for line in standing if line["suppressed_by"] is not None],
            "past": [plain(line) for line in mine if line["state"] == "resolved" and line["suppressed_by"] is None],
        },
        "daily": _daily(used, today),
        "holidays": _holidays(rulebook, today, _text(state, "market", row)),
    }


def is_at_hand(state: State) -> bool:
    """Whether `describe` reads nothing that lies outside of memory."""
    today = last_day(state)
    return state.panes.are_at_hand(today - DAILY_DAYS + 1, today)


def plain(episode: Mapping[str, Any]) -> dict[str, Any]:
    """An episode's line with its JSON columns as values."""
    line = {name: value for name, value in episode.items() if name not in {"row", "at", "transition"}}
    return line | {name: json.loads(line[name] or "{}") for name in ("numbers", "consent", "orders", "why")}


def last_day(state: State) -> int:
    """The day that the watermark lies in: today, as far as the log tells."""
    if state.watermark.us is None:
        return state.closed_day or 0
    return max(int(state.days_of(np.array([state.watermark.us]))[0]), state.closed_day or 0)


def _closed(state: State, row: int) -> int | None:
    """The last day that a row has behind it."""
    return None if state.closed_day is None else int(state.closed_days(np.array([row]))[0])


def _as_of(state: State, row: int) -> dict[str, Any]:
    closed = _closed(state, row)
    return {
        "cursor": state.cursor,
        "closed_day": None if closed is None else _iso(closed),
        "watermark_us": state.watermark.us,
    }


def _profile(state: State, row: int) -> dict[str, Any]:
    texts = ("msisdn", "market", "area", "manager", "channel", "industry", "plan", "vip_level", "forwarding_network")
    return {
        **{name: _text(state, name, row) for name in texts},
        "birthday": _day(state, "birthday", row),
        "activated_on": _day(state, "activated_on", row),
        "tenure_days": _since(state, "activated_on", row),
        "device": {
            "generation": _text(state, "device_generation", row),
            "dual_sim": _flag(state, "dual_sim", row),
        },
        "competitor_called_on": _day(state, "competitor_called_on", row),
    }


def _silent(state: State, row: int) -> int | None:
    closed = _closed(state, row)
    if closed is None:
        return None
    last = int(state.attributes["last_outgoing"][row])
    since = int(state.attributes["first_seen"][row]) if last == UNKNOWN_DAY else last
    return max(closed - since, 0)


def _account(state: State, row: int, tables: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    attributes = state.attributes
    status_since = _day(state, "status_since", row)
    opened = [line for line in tables["complaints"] if line["open"]]
    porting = PORTING[attributes["porting"][row]]
    recharges = state.holdings.figures["recharges"].lines(row)
    bills = sorted(tables["bills"], key=lambda line: line["bill_month"], reverse=True)[:_BILLS]
    complaint = max(opened, key=lambda line: line["occurred_us"], default=None)
    return {
        "status": None if status_since is None else STATUSES[attributes["status"][row]],
        "status_since": status_since,
        "balance_minor": _amount(state, "balance_minor", row),
        "arrears_minor": _amount(state, "arrears_minor", row),
        "fee_minor": _amount(state, "fee_minor", row),
        "bills": [
            {"bill_month": month_text(line["bill_month"]), "total_minor": line["total_minor"]} for line in bills
        ] or None,
        "quota_left": [
            {
                "package_id": line["package_id"],
                "measure": line["measure"],
                "total": line["total"],
                "used": line["used"],
                "left": max(line["total"] - line["used"], 0),
                "resets_on": None if line["resets"] is None else _iso(line["resets"]),
            }
            for line in tables["quotas"]
        ] or None,
        "last_recharge": None
        if (recharged := _day(state, "last_recharge", row)) is None
        else {"on": recharged, "amount_minor": _amount(state, "last_recharge_minor", row)},
        "recharge_gap_days": recharges[0]["recharge_gap_days"] if recharges else None,
        "open_complaint": None
        if complaint is None
        else {"complaint_id": complaint["complaint_id"], "topic": complaint["topic"], "since": _iso(complaint["day"])},
        "porting": None
        if porting == "none"
        else {
            "state": porting,
            "since": _day(state, "porting_since", row),
            "to_network": _text(state, "porting_network", row),
        },
        "consent": {channel: _flag(state, f"consent_{channel}", row) for channel in CHANNELS},
    }  # fmt: skip


def _ties(tables: Mapping[str, list[dict[str, Any]]], today: int) -> dict[str, Any]:
    held = [
        line for line in tables["bundles"] if line["linked"] and line["starts"] <= today and line["ends"] >= today
    ]  # fmt: skip
    terms = [line["ends"] for line in held if line["hard"] and line["ends"] < OPEN_ENDED]
    members = sorted((line for line in tables["groups"] if line["member"]), key=lambda line: line["occurred_us"])
    known = bool(tables["bundles"])
    return {
        "bundles": [
            {
                "bundle_id": line["bundle_id"],
                "kind": line["kind"],
                "hard": line["hard"],
                "starts_on": _iso(line["starts"]),
                "ends_on": None if line["ends"] == OPEN_ENDED else _iso(line["ends"]),
                "blocks_port": line["blocks_port"],
            }
            for line in held
        ] if known else None,
        "contract_end": _iso(max(terms)) if terms else None,
        "blocks_port": any(line["blocks_port"] for line in held) if known else None,
        "broadband": any(line["kind"] == _BROADBAND for line in held) if known else None,
        "family": any(line["kind"] == _FAMILY for line in held) if known else None,
        "group": {"group_id": members[-1]["group_id"], "key_person": members[-1]["key_person"]} if members else None,
    }  # fmt: skip


def _month_to_date(used: _Used, tables: Mapping[str, list[dict[str, Any]]], today: int) -> dict[str, int]:
    month = month_of(today)
    first = today - to_date(today).day + 1
    lines = (line for day, line in used.items() if day >= first)
    told = [line for line in lines if line is not None]
    fees = [line["amount_minor"] for line in tables["fees"] if line["bill_month"] == month]
    sums = {name: sum(line[measure] for line in told) for name, measure in _DAILY.items()}
    return {name: sums[name] for name in ("spend_minor", "voice_minutes", "data_bytes", "sms")} | {
        "fee_minor": sum(fees)
    }


def _segment(state: State, rulebook: Rulebook, row: int) -> dict[str, Any] | None:
    since = _day(state, "segment_since", row)
    if since is None:
        return None
    attributes = state.attributes
    codes = six_digits(View(state, np.array([row], np.int32)), rulebook)[0]
    return {
        "now": int(attributes["segment"][row]),
        "before": int(attributes["segment_before"][row]),
        "since": since,
        "codes": codes[codes > 0].tolist(),
    }


def _windows(state: State, row: int) -> dict[str, dict[str, dict[str, float | int | None]]]:
    sums = state.windows.of_row(row)
    return {
        measure: {days: _window(state, sums, name) for days, name in named}
        for measure, named in _names_of(state.windows.lengths_days).items()
    }


@lru_cache
def _names_of(lengths_days: tuple[int, ...]) -> dict[str, list[tuple[str, str]]]:
    """By measure the length of each window as text, and the window's name."""
    return {measure: [(str(days), f"{measure}_{days}d") for days in lengths_days] for measure in MEASURES}


def _window(state: State, sums: Mapping[str, int], name: str) -> dict[str, float | int | None]:
    """A window as the signals of its name have it."""
    if not state.windows.is_known(name, state.closed_day or 0):
        return {"sum": None, "baseline": None, "drop": None}
    now, baseline = sums[name], sums[f"{name}{BEFORE}"] / 2
    return {"sum": now, "baseline": baseline, "drop": 1 - now / baseline if baseline > 0 else None}


def _contacts(state: State, subscriber_id: str) -> list[dict[str, Any]]:
    if not state.episodes.was_contacted(subscriber_id):
        return []
    contacts = state.episodes.contacts
    found = np.flatnonzero((contacts["subscriber_id"] == subscriber_id).to_numpy()).tolist()
    lines = sorted((contacts.row(at, named=True) for at in found), key=lambda line: line["day"])
    return [
        {
            "channel": line["channel"],
            "on": line["day"].isoformat(),
            "outcome": line["outcome"],
            "warning_id": line["episode_id"],
        }
        for line in lines
    ]


def _warnings(episodes: pl.DataFrame, row: int) -> list[dict[str, Any]]:
    """The newest first."""
    found = np.flatnonzero(episodes["row"].to_numpy() == row).tolist()
    lines = [episodes.row(at, named=True) for at in found]
    return sorted(lines, key=lambda line: line["raised_us"], reverse=True)


def _offers(standing: Sequence[Mapping[str, Any]], rulebook: Rulebook) -> list[dict[str, Any]]:
    """At most two, of published warnings, the newest first; none while a restricted one is open, told or not."""
    if any(line["kind"] == "restricted" for line in standing):
        return []
    rules = {rule.id: rule for rule in rulebook.rules}
    published = [line["rule"] for line in standing if line["suppressed_by"] is None]
    offers = [rules[rule].offer for rule in published if rule in rules]
    distinct = {offer.campaign: offer for offer in offers if offer is not None}
    return [{"campaign": o.campaign, "name": dict(o.name)} for o in list(distinct.values())[:_MOST_OFFERS]]


def in_force(mutes: Iterable[Mute], today: int) -> list[Mute]:
    """Those that are not over, the first to end before the others."""
    return sorted(
        (mute for mute in mutes if mute.until >= max(mute.since, today)), key=lambda mute: (mute.until, mute.id)
    )


def _concerns(mute: Mute, state: State, row: int) -> bool:
    """Whether a mute may withhold warnings of a subscriber; which of them, what else it names decides."""
    told = {name: _text(state, name, row) for name in ("market", "area", "manager")}
    told["subscriber_id"] = state.roster.text(row)
    return all(told[name] == wanted for name, wanted in mute.matchers.items() if name in told)


def _mute(mute: Mute) -> dict[str, Any]:
    return {"id": mute.id, "matchers": dict(mute.matchers), "until": _iso(mute.until), "by": mute.by, "note": mute.why}


def _is_doubted(state: State, row: int) -> bool:
    """Whether the subscriber's feed was not believed at the last close."""
    return bool(state.feed.withholds(state.closed_day or 0, state.attributes, np.array([row]))[0])


def _daily(used: _Used, today: int) -> list[dict[str, Any]]:
    days = range(today - DAILY_DAYS + 1, today + 1)
    return [{"date": _iso(day), **(_told(used[day]) if day in used else _NOTHING)} for day in days]


def _told(line: Mapping[str, int] | None) -> dict[str, int | None]:
    return {name: None if line is None else line[measure] for name, measure in _DAILY.items()}


def _holidays(rulebook: Rulebook, today: int, market: str | None) -> list[dict[str, str]]:
    return [
        {"name": holiday.name, "from": _iso(holiday.first_day), "to": _iso(holiday.last_day)}
        for holiday in rulebook.holidays
        if holiday.last_day > today - DAILY_DAYS
        and holiday.first_day <= today
        and (not holiday.markets or market in holiday.markets)
    ]


@lru_cache(1024)  # a record names the same ninety days as every other
def _iso(day: int) -> str:
    return to_date(day).isoformat()


def _text(state: State, name: str, row: int) -> str | None:
    return state.attributes.vocabularies[name].text(int(state.attributes[name][row]))


def _day(state: State, name: str, row: int) -> str | None:
    day = int(state.attributes[name][row])
    return None if day == UNKNOWN_DAY else _iso(day)


def _since(state: State, name: str, row: int) -> int | None:
    day, closed = int(state.attributes[name][row]), _closed(state, row)
    return None if day == UNKNOWN_DAY or closed is None else closed - day


def _amount(state: State, name: str, row: int) -> int | None:
    amount = int(state.attributes[name][row])
    return None if amount == UNKNOWN_AMOUNT else amount


def _flag(state: State, name: str, row: int) -> bool | None:
    flag = int(state.attributes[name][row])
    return None if flag < 0 else flag == 1
