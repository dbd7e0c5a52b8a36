"""Segments, tiers and six-digit codes of one subscriber after another, in plain Python from their events.

Written a second time and apart from the service, so that the two can be compared; months have so many days as WINDOW.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

WINDOW = 5  # days; tiers are told for thirty
BANDS = {"spend": (0.1, 0.3, 500), "voice": (0.15, 0.4, 10), "data": (0.2, 0.5, 1000), "sms": (0.2, 0.5, 10)}
SPEND_TOPS = [1000, 4000, 9000]
VOICE_TOPS = [0, 30, 90]
TENURE_TOPS = [50, 100]
MARKETS = ["campus", "public"]


@dataclass(frozen=True)
class Happened:
    """One event of a subscriber: the day it came in, its type, its day, its fields."""

    came: date
    kind: str
    day: date
    fields: Mapping[str, Any]


@dataclass
class Subscriber:
    """What the end of a day finds out about one of them."""

    events: list[Happened] = field(default_factory=list)
    segment: int = 0
    since: date | None = None

    def close(self, today: date) -> tuple[int, date | None] | None:
        """The end of a day; returns the segment before and since when, if it changed."""
        now = self._segment(today)
        if now == self.segment:
            return None
        was = (self.segment, self.since)
        self.segment, self.since = now, today
        return was

    def _told(self, kind: str, name: str, today: date) -> Any:
        """The last that was told by the end of a day."""
        told = [one for one in self.events if one.kind == kind and one.came <= today and name in one.fields]
        return told[-1].fields[name] if told else None

    def _sum(self, measure: str, first: date, last: date, today: date) -> int:
        total = 0
        for one in self.events:
            if one.came <= today and first <= one.day <= last:
                if measure == "spend" and one.kind == "charge" and one.fields["kind"] == "usage":
                    total += one.fields["amount_minor"]
                if measure == "voice" and one.kind == "usage.voice":
                    total += one.fields["billed_minutes"]
                if measure == "data" and one.kind == "usage.data":
                    total += one.fields["bytes"]
        return total

    def window(self, measure: str, today: date) -> int:
        return self._sum(measure, today - timedelta(days=WINDOW - 1), today, today)

    def before(self, measure: str, today: date) -> int:
        """Of twice as many days before the window."""
        return self._sum(measure, today - timedelta(days=3 * WINDOW - 1), today - timedelta(days=WINDOW), today)

    def trend(self, measure: str, today: date) -> int:
        if self._told("subscriber.status", "status", today) in {"pre_cancelled", "cancelled"}:
            return 5
        stable, warned, floor = BANDS[measure]
        now, before = self.window(measure, today), self.before(measure, today)
        if before <= 0:
            return 2 if now >= floor else 1
        moved = now / (before / 2) - 1
        if moved <= -warned:
            return 4
        if moved < -stable:
            return 3
        return 2 if moved > stable else 1

    def _segment(self, today: date) -> int:
        if self._told("subscriber.status", "status", today) in {"pre_cancelled", "cancelled"}:
            return 5
        if not self._is_eligible(today):
            return 0
        moved = [(digit, self.trend(measure, today)) for digit, measure in enumerate(("spend", "voice", "data"), 1)]
        for level in (4, 2):
            for digit, trend in moved:
                if trend == level:
                    return level * 10 + digit
        return 3 if any(trend == 3 for _, trend in moved) else 1

    def _is_eligible(self, today: date) -> bool:
        came = [one for one in self.events if one.came <= today]
        activated = self._told("subscriber.profile", "activated_on", today) or min(one.day for one in came)
        year, month = divmod(today.year * 12 + today.month - 1 - 2, 12)
        fees = sum(
            one.fields["amount_minor"]
            for one in came
            if one.kind == "charge"
            and one.fields["kind"] == "recurring"
            and one.fields["bill_month"] == today.year * 12 + today.month - 1
            and one.day <= today
        )
        return (
            activated < date(year, month + 1, 1)
            and (fees > 0 or self.window("spend", today) > 0)
            and (self._told("subscriber.status", "status", today) or "normal") == "normal"
        )

    def tiers(self, today: date) -> dict[str, int | None]:
        """Three-digit codes by dimension, None where nobody has told."""
        activated = self._told("subscriber.profile", "activated_on", today)
        market = self._told("subscriber.profile", "market", today)
        tenure = None if activated is None else (today - timedelta(days=WINDOW) - activated).days
        return {
            "bundle": 101 + self._bundles(today),
            "spend": 201 + _tier(SPEND_TOPS, self.before("spend", today) / 2 * 30 / WINDOW),
            "voice": 301 + _tier(VOICE_TOPS, self.before("voice", today) / 2 * 30 / WINDOW),
            "tenure": None if tenure is None else 501 + _tier(TENURE_TOPS, tenure),
            "market": 601 + MARKETS.index(market) if market in MARKETS else None,
        }

    def bundles(self, today: date) -> list[Mapping[str, Any]]:
        """What is held at the end of a day."""
        held: dict[str, Mapping[str, Any]] = {}
        for one in self.events:
            if one.came <= today and one.kind == "bundle.linked":
                held[one.fields["bundle_id"]] = one.fields
            if one.came <= today and one.kind == "bundle.unlinked":
                held.pop(one.fields["bundle_id"], None)
        return [one for one in held.values() if one.get("ends_on") is None or one["ends_on"] >= today]

    def _bundles(self, today: date) -> int:
        kinds = {bool(one.get("hard")) for one in self.bundles(today)}
        return {(): 0, (False,): 1, (True,): 2, (False, True): 3}[tuple(sorted(kinds))]

    def codes(self, today: date) -> list[int]:
        """All six-digit codes, ascending."""
        if self.segment == 0:
            return []
        measures = {10: "spend", 20: "voice", 30: "data", 40: "sms"}
        return sorted(
            tier * 1000 + number * 10 + self.trend(measure, today)
            for tier in self.tiers(today).values()
            if tier is not None
            for number, measure in measures.items()
        )


def _tier(tops: Sequence[int], amount: float) -> int:
    return next((place for place, top in enumerate(tops) if amount <= top), len(tops))


def counted(subscribers: Iterable[Subscriber], today: date) -> dict[str, dict[tuple[str, int], int]]:
    """How many there are, by table and (key, segment)."""
    cells: dict[str, dict[tuple[str, int], int]] = defaultdict(lambda: defaultdict(int))
    for one in subscribers:
        cells["segments"]["", one.segment] += 1
        tiers = one.tiers(today)
        market = one._told("subscriber.profile", "market", today)
        cells["market"][market or "", one.segment] += 1
        for name in ("bundle", "spend", "voice", "tenure"):
            cells[name]["" if tiers[name] is None else str(tiers[name]), one.segment] += 1
        held = one.bundles(today)
        kinds = {"any": bool(held), "hard": any(b.get("hard") for b in held)}
        kinds |= {"soft": any(not b.get("hard") for b in held), "vpn": any(b.get("kind") == "vpn" for b in held)}
        for name, holds in kinds.items():
            if holds:
                cells["bundles"][name, one.segment] += 1
        for code in one.codes(today):
            cells["codes"][str(code), one.segment] += 1
    return {name: dict(of) for name, of in cells.items()}
