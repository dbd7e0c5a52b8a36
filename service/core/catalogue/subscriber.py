"""Signals of who a subscriber is: status, tenure, market and people, segment, porting, consent."""

import polars as pl

from service.core.attributes import PORTING, UNKNOWN_DAY
from service.core.catalogue.signal import BOOL, I32, STR, Made, Signal, days_since, flag, known_day
from service.core.events import CHANNELS, CLOSED, STATUSES

STANDING: Made = {
    "status": (Signal(STR, "", "account status; normal if never told", among=STATUSES), pl.col("status")),
    "days_in_status": (
        Signal(I32, "days", "days since the status began", "no status was ever told"),
        days_since(known_day("status_since")),
    ),
    "tenure_days": (
        Signal(I32, "days", "days since activation", "the activation is unknown"),
        days_since(known_day("activated_on")),
    ),
    "days_known": (Signal(I32, "days", "days since the subscriber was first seen"), days_since(pl.col("first_seen"))),
    **{
        name: (Signal(STR, "", meaning, "unknown"), pl.col(name))
        for name, meaning in {
            "market": "market the subscriber belongs to",
            "area": "sales area",
            "manager": "account manager",
            "plan": "plan",
            "vip_level": "VIP level",
            "forwarding_network": "network calls are forwarded to",
        }.items()
    },
    "device_generation": (
        Signal(STR, "", "generation of the handset", "unknown", CLOSED["device.changed", "generation"]),
        pl.col("device_generation"),
    ),
    "dual_sim": (Signal(BOOL, "", "the handset takes two SIMs", "unknown"), flag("dual_sim")),
}

SEGMENT: Made = {
    "segment": (Signal(I32, "code", "segment code of the closed day, 0 where not eligible"), pl.col("segment")),
    "segment_before": (
        Signal(I32, "code", "segment code before that", "there was no other yet"),
        pl.when(pl.col("segment_since") != UNKNOWN_DAY).then(pl.col("segment_before")),
    ),
    "days_in_segment": (
        Signal(I32, "days", "days since the segment began", "it never was another"),
        days_since(known_day("segment_since")),
    ),
}

RIGHTS: Made = {
    "porting": (Signal(STR, "", "number portability: how far it is", among=PORTING), pl.col("porting")),
    "days_since_porting": (
        Signal(I32, "days", "days since the porting state began", "porting is none"),
        days_since(known_day("porting_since")),
    ),
    **{
        f"consent_{channel}": (
            Signal(BOOL, "", f"consent to be contacted by {channel}", "never told"),
            flag(f"consent_{channel}"),
        )
        for channel in CHANNELS
    },
}
