"""Signals of what ties a subscriber: bundles and groups."""

import polars as pl

from service.core.catalogue.signal import BOOL, I32, STR, TODAY, Made, Signal, days_since
from service.core.events import CLOSED


def _held(name: str, meaning: str) -> tuple[Signal, pl.Expr]:
    return Signal(BOOL, "", meaning), pl.col(name).fill_null(value=False)


_BUNDLES, _HARD = (pl.col(name).fill_null(0) for name in ("bundles", "hard_bundles"))

BUNDLES: Made = {
    "bundled": (Signal(BOOL, "", "holds any bundle"), _BUNDLES > 0),
    "bundles": (Signal(I32, "bundles", "bundles held"), _BUNDLES),
    "hard_bundles": (Signal(I32, "bundles", "hard bundles held"), _HARD),
    "soft_bundles": (Signal(I32, "bundles", "bundles held that are not hard"), _BUNDLES - _HARD),
    "has_package": _held("has_package", "holds a package plan"),
    "has_vpn": _held("has_vpn", "holds a network group's short numbers (VPN)"),
    "has_family": _held("has_family", "holds a family plan"),
    "has_broadband": _held("has_broadband", "holds broadband with it"),
    "blocks_port": _held("blocks_port", "holds a bundle that blocks porting"),
    "hard_days_left": (
        Signal(I32, "days", "days until the last hard bundle ends", "none is held, or it is open-ended", may_pass=True),
        pl.col("hard_end") - TODAY,
    ),
    "days_unlinked": (
        Signal(I32, "days", "days since the last bundle went", "one is held, or none ever was"),
        days_since(pl.col("unlinked_day")),
    ),
    "unlinked_reason": (
        Signal(STR, "", "why the last bundle went", "days_unlinked is null", CLOSED["bundle.unlinked", "reason"]),
        pl.col("unlinked_reason"),
    ),
    "ever_bundled": _held("ever_bundled", "ever held a bundle"),
}

GROUPS: Made = {
    "in_group": (Signal(BOOL, "", "is a member of a group"), pl.col("group_id").is_not_null()),
    "group_id": (Signal(STR, "", "the group joined last", "member of none"), pl.col("group_id")),
    "key_person": _held("key_person", "is the key person of a group"),
}
