"""A subscriber's record with every key fed, and a rulebook of a few rules, for what shows them."""

import math
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import polars as pl

from service.core.rules import Dimension, Offer, Order, Roll, Rule, Rulebook
from tests.doubles.desk import FIRST_DAY, row

DAYS = 90


FED: Mapping[str, Any] = {
    "msisdn": "+8613800000001",
    "as_of": {"cursor": 1001, "partition": 1, "closed_day": "2025-03-31", "watermark_us": 1_743_436_800_000_000},
    "status": "normal",
    "status_since": "2021-04-01",
    "tenure_days": 1460,
    "activated_on": "2021-04-01",
    "arrears_minor": 0,
    "balance_minor": 2350,
    "quota_left": [
        {
            "package_id": "data-10",
            "measure": "data",
            "total": 10_737_418_240,
            "used": 3_221_225_472,
            "left": 7_516_192_768,
            "resets_on": "2025-04-01",
        }
    ],
    "open_complaint": {"complaint_id": "c-9", "topic": "coverage", "since": "2025-03-28"},
    "porting": {"state": "queried", "since": "2025-03-30", "to_network": "other"},
    "consent": {"call": True, "sms": False, "manager": True},
    "plan": "Campus 59",
    "fee_minor": 5900,
    "bills": [
        {"bill_month": "2025-02", "total_minor": 7210},
        {"bill_month": "2025-01", "total_minor": 10_450},
        {"bill_month": "2024-12", "total_minor": 12_040},
    ],
    "month_to_date": {
        "spend_minor": 410,
        "fee_minor": 5900,
        "voice_minutes": 41,
        "data_bytes": 1_288_490_188,
        "sms": 3,
    },
    "contract_end": "2025-05-20",
    "blocks_port": True,
    "bundles": [
        {
            "bundle_id": "b-1",
            "kind": "device",
            "hard": True,
            "starts_on": "2023-05-21",
            "ends_on": "2025-05-20",
            "blocks_port": True,
        }
    ],
    "broadband": False,
    "family": True,
    "group": {"group_id": "g-2", "key_person": False},
    "manager": "m-07",
    "market": "campus",
    "area": "north",
    "channel": "store",
    "industry": "education",
    "vip_level": "gold",
    "birthday": "2003-04-05",
    "segment": {"now": 42, "before": 1, "since": "2025-03-24", "codes": [304204, 603204]},
    "withheld": "feed",
    "mutes": [
        {
            "id": "m1",
            "matchers": {"market": "campus"},
            "until": "2025-04-05",
            "by": "m-07",
            "note": "A recall of phones",
        }
    ],
    "windows": {"voice": {"30": {"sum": 41, "baseline": 180.5, "drop": 0.773}}},
    "days_silent": 2,
    "last_recharge": {"on": "2025-03-02", "amount_minor": 5000},
    "recharge_gap_days": 29.5,
    "forwarding_network": "other",
    "competitor_called_on": "2025-03-29",
    "device": {"generation": "5G", "dual_sim": True},
    "contacts": [{"channel": "call", "on": "2025-03-10", "outcome": "refused", "warning_id": "e0000"}],
    "offers": [{"campaign": "3-1-0-3", "name": {"en": "Gift of 100 minutes", "zh": "赠送 100 分钟"}}],
    "holidays": [{"name": "Spring Festival", "from": "2025-01-28", "to": "2025-02-04"}],
}


def record(subscriber_id: str = "s-0001", **changes: Any) -> dict[str, Any]:
    """All keys, none null; use falls by three quarters in the last month."""
    days = [FIRST_DAY - timedelta(days=DAYS - 1 - back) for back in range(DAYS)]
    past = row(0, subscriber_id=subscriber_id, state="resolved", outcome="recovered", resolved_on=FIRST_DAY)
    withheld = row(2, subscriber_id=subscriber_id, rule="silence", suppressed_by="rule:drop_voice")
    own = {
        "subscriber_id": subscriber_id,
        "warnings": {"open": [row(1, subscriber_id=subscriber_id)], "withheld": [withheld], "past": [past]},
        "daily": [_day(number, day) for number, day in enumerate(days)],
    }
    return {**FED, **own, **changes}


def _day(number: int, day: Any) -> dict[str, Any]:
    share = (1.0 if number < DAYS - 30 else 0.25) * (1 + 0.4 * math.sin(number * 0.9))
    return {
        "date": day.isoformat(),
        "spend_minor": int(180 * share),
        "voice_minutes": int(9 * share),
        "data_bytes": int(320_000_000 * share),
        "sms": number % 3,
        "outgoing": int(12 * share),
        "recharge_minor": 5000 if number % 30 == 0 else 0,
    }


def rulebook() -> Rulebook:
    """Three rules and a list."""
    return Rulebook(
        hash="0123456789abcdef",
        rules=(
            _rule("drop_voice", "drop", "risk", Offer("3-1-0-3", {"en": "Gift of minutes", "zh": "赠送分钟"})),
            _rule("silence", "silence", "risk", None),
            _rule("port_requested", "porting", "restricted", None),
        ),
        rolls=(Roll("never_bundled", {"en": "Valuable, never bundled"}, pl.lit(value=True), frozenset(), ()),),
        dimensions=(Dimension("market", 600, values=("campus",)),),
    )


def _rule(rule_id: str, family: str, kind: Any, offer: Offer | None) -> Rule:
    return Rule(
        id=rule_id,
        family=family,
        version=3,
        kind=kind,
        status="stable",
        owner="retention",
        runbook="Call and ask what changed.",
        on=("np.requested",) if kind == "restricted" else (),
        when=pl.col("voice_30d_drop") > 0.5,
        clear_when=None,
        severities=(("critical", pl.col("voice_30d_drop") > 0.9),),
        default_severity="warning",
        names=frozenset({"voice_30d_drop"}),
        numbers=("voice_30d_drop",),
        measure="voice",
        window_days=30,
        keep_for_days=None,
        orders=(Order("call", None), Order("sms", None)),
        offer=offer,
        why={"en": "Calls fell.", "zh": "通话下降。"},
        avoid={"en": "Do not mention other networks.", "zh": "不要提及其他运营商。"},
        params={"drop": 0.5},
        source={"when": "voice_30d_drop > 0.5", "severity.critical": "voice_30d_drop > 0.9"},
    )
