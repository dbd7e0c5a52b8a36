"""What may become of a simulated subscriber: how usage changes, which events tell of it, and whom it can meet."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

Course = Literal["fades", "stops", "grows", "dips"]
DEEPENING = ("fades", "grows", "dips")  # courses of which a profile says how far they go
NEVER = 1_000_000  # a day number (from the start) that no run reaches


@dataclass(frozen=True, slots=True)
class Move:
    """An event that tells of a fate, so many days after it begins.

    Fields are expressions over the population and `on`, the date of the event.
    """

    after_days: int
    type: str
    fields: Mapping[str, pl.Expr] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fate:
    """A way a subscriber may go.

    `courses` says what happens to each measure (`voice`, `voice_in`, `data`, `sms`, `spend`, `recharge`) from the day
    the fate begins: it `fades`, `stops`, `grows`, or `dips` by less than anybody would warn of; a profile says how far.
    `lasts_days`: it passes again; `leaves_after_days`: the subscriber is gone. `needs` is who can meet it, an
    expression over the population.
    """

    why: str
    courses: Mapping[str, Course] = field(default_factory=dict)
    moves: tuple[Move, ...] = ()
    lasts_days: int = NEVER
    leaves_after_days: int = NEVER
    needs: pl.Expr = field(default_factory=lambda: pl.lit(value=True))

    @property
    def leaves(self) -> bool:
        """Whether the subscriber is made to leave."""
        return self.leaves_after_days < NEVER


def _status(after_days: int, status: str) -> Move:
    return Move(after_days, "subscriber.status", {"status": pl.lit(status)})


def _porting(after_days: int, step: str) -> Move:
    return Move(after_days, f"np.{step}", {"to_network": pl.col("competitor")})


def _unlinked(after_days: int, reason: str) -> Move:
    return Move(after_days, "bundle.unlinked", {"bundle_id": _BUNDLE_ID, "reason": pl.lit(reason)})


def _complaint(after_days: int, step: str) -> Move:
    fields = {"complaint_id": pl.format("C-{}", pl.col("subscriber_id")), "topic": pl.col("complaint_topic")}
    return Move(after_days, f"complaint.{step}", fields)


def _balance(after_days: int, amount: pl.Expr, arrears: pl.Expr) -> Move:
    return Move(after_days, "balance", {"amount_minor": amount, "arrears_minor": arrears})


# What is not there cannot fade; from which level on it is worth telling, a profile says.
_TALKS = pl.col("voice_level") > 0
_SURFS = pl.col("data_level") > 0
_PAYS = pl.col("spend_level") > 0
_HELD = [pl.col(f"{kind}_bundle").cast(pl.Int64) for kind in ("hard", "soft", "vpn")]
_BUNDLED_ONCE = pl.sum_horizontal(_HELD) == 1
_BUNDLE_ID = (
    pl.when("hard_bundle")
    .then(pl.format("H-{}", "subscriber_id"))
    .when("soft_bundle")
    .then(pl.format("S-{}", "subscriber_id"))
    .otherwise(pl.format("V-{}", "subscriber_id"))
)
_ALL_OUT: Mapping[str, Course] = dict.fromkeys(("voice", "data", "sms", "spend"), "stops")
_ALL_STOP: Mapping[str, Course] = {**_ALL_OUT, "voice_in": "stops", "recharge": "stops"}
_ALL_FADE: Mapping[str, Course] = dict.fromkeys(("voice", "data", "sms", "spend"), "fades")
_NOTHING = pl.lit(0, pl.Int64)

STABLE = "stable"

# The order is the order in which subscribers are picked: what needs somebody rare comes first.
FATES: Mapping[str, Fate] = {
    "bundle_lapses": Fate(
        "a contract ran out and none followed",
        moves=(_unlinked(1, "lapsed"),),
        needs=pl.col("hard_bundle") & _BUNDLED_ONCE,
    ),
    "bundle_ends": Fate("a contract ends within two months, without a successor", needs=pl.col("hard_bundle")),
    "bundle_cancelled": Fate(
        "cancelled the only bundle", {"spend": "dips"}, (_unlinked(0, "cancelled"),), needs=_BUNDLED_ONCE
    ),
    "leaves_group": Fate(
        "left the group's virtual network",
        {"voice": "dips"},
        (Move(0, "group.left", {"group_id": pl.col("group_id"), "key_person": pl.col("key_person")}),),
        needs=pl.col("group_id").is_not_null(),
    ),
    "recharge_stops": Fate(
        "stopped recharging and lives on what is left",
        {"recharge": "stops", "voice": "dips"},
        needs=pl.col("prepaid"),
    ),
    "ports": Fate(
        "went to a competitor and took the number along",
        {**_ALL_FADE, "recharge": "stops"},
        (
            Move(6, "competitor.called", {"network": pl.col("competitor")}),
            _porting(18, "queried"),
            _porting(24, "code_issued"),
            _porting(26, "requested"),
            _porting(28, "ported"),
            _status(29, "cancelled"),
        ),
        leaves_after_days=29,
        needs=_TALKS,
    ),
    "runs_off": Fate(
        "ran into arrears and was never seen again",
        _ALL_STOP,
        (
            _balance(-2, -pl.col("fee_minor"), pl.col("fee_minor")),
            _status(0, "suspended_one_way"),
            _status(8, "suspended_two_way"),
            _status(20, "pre_cancelled"),
            _status(32, "cancelled"),
        ),
        leaves_after_days=32,
    ),
    "suspended": Fate(
        "did not pay for some days, then did",
        _ALL_OUT,
        (
            _balance(-1, _NOTHING, pl.col("fee_minor")),
            _status(0, "suspended_one_way"),
            _status(9, "normal"),
            _balance(9, pl.col("fee_minor"), _NOTHING),
        ),
        lasts_days=9,
    ),
    "pauses": Fate(
        "had the line suspended on request",
        {**_ALL_OUT, "voice_in": "stops"},
        (_status(0, "suspended_on_request"), _status(25, "normal")),
        lasts_days=25,
    ),
    "cancels": Fate(
        "lost interest and cancelled",
        {**_ALL_FADE, "voice_in": "fades"},
        (_status(26, "pre_cancelled"), _status(40, "cancelled")),
        leaves_after_days=40,
    ),
    "returns": Fate(
        "gave notice and was won back",
        moves=(_status(0, "pre_cancelled"), _status(7, "normal")),
    ),
    "enquires": Fate("asked whether the number may be ported, and stayed", moves=(_porting(0, "queried"),)),
    "forwards_away": Fate(
        "lets a competitor's number take the calls",
        {"voice": "fades", "data": "fades", "sms": "fades"},
        (Move(0, "forwarding.set", {"peer_network": pl.col("competitor")}),),
        needs=_TALKS,
    ),
    "calls_competitor": Fate(
        "called a competitor's hotline",
        {"spend": "dips"},
        (Move(0, "competitor.called", {"network": pl.col("competitor")}),),
    ),
    "unused": Fate("pays the fee and uses nothing", _ALL_OUT),
    "goes_silent": Fate(
        "stopped using the line, which only receives", {**_ALL_OUT, "recharge": "stops"}, needs=_TALKS
    ),
    "voice_silent": Fate("calls by other means", {"voice": "stops"}, needs=_TALKS & _SURFS),
    "fades_all": Fate("uses less of everything", _ALL_FADE, needs=_TALKS & _SURFS & _PAYS),
    "fades_spend": Fate("pays for less", {"spend": "fades"}, needs=_PAYS),
    "fades_voice": Fate("calls less", {"voice": "fades"}, needs=_TALKS),
    "fades_data": Fate("surfs less", {"data": "fades"}, needs=_SURFS),
    "downgrades": Fate(
        "took a smaller plan",
        {"spend": "fades"},
        (Move(0, "subscriber.profile", {"plan": pl.col("plan_below"), "fee_minor": pl.col("fee_below_minor")}),),
        needs=(pl.col("fee_below_minor") < pl.col("fee_minor")) & _PAYS,
    ),
    "overflows": Fate(
        "uses more data than the package holds",
        {"data": "grows"},
        (
            Move(
                0,
                "quota",
                {
                    "package_id": pl.format("P-{}", "subscriber_id"),
                    "measure": pl.lit("data"),
                    "total": pl.col("quota_bytes"),
                    "used": pl.col("quota_bytes") + pl.col("quota_bytes") // 7,
                    "resets_on": pl.col("on").dt.offset_by("1mo").dt.month_start(),
                },
            ),
        ),
        needs=_SURFS,
    ),
    "changes_device": Fate(
        "took a new handset",
        moves=(
            Move(
                0,
                "device.changed",
                {"generation": pl.lit("5g"), "dual_sim": pl.col("spend_rank") < 0.5},  # noqa: PLR2004 - every other
            ),
        ),
    ),
    "complains": Fate("complained, and was answered", moves=(_complaint(0, "opened"), _complaint(6, "closed"))),
    "complains_in_vain": Fate(
        "complained and waits for an answer", {"spend": "dips"}, (_complaint(0, "opened"),)
    ),
    "declines": Fate("uses a little less", {"spend": "dips", "voice": "dips", "data": "dips"}),
    "dips_spend": Fate("pays for a little less", {"spend": "dips"}, needs=_PAYS),
    "dips_voice": Fate("calls a little less", {"voice": "dips"}, needs=_TALKS),
    "grows_spend": Fate("pays for more", {"spend": "grows"}),
    "grows_voice": Fate("calls more", {"voice": "grows"}),
    "grows_data": Fate("surfs more", {"data": "grows"}),
}  # fmt: skip
