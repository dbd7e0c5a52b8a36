"""The rules that the two files can fire, with their thresholds copied here by hand, and why the others cannot.

Nothing here reads the rules folder: a threshold that moves there has to be moved here, by somebody who means it.
"""

from dataclasses import dataclass

import polars as pl

HIGH_VALUE_MINOR = 10_000  # 100 yuan a month

SPEND_DROP, SPEND_RECOVERED, SPEND_LEAST_MINOR = 0.3, 0.2, 1_000
VOICE_DROP, VOICE_RECOVERED, VOICE_LEAST_MINUTES = 0.4, 0.3, 30
DATA_DROP, DATA_RECOVERED, DATA_LEAST_BYTES = 0.5, 0.4, 10_000_000

SILENT_DAYS, SILENT_TIMES_USUAL_GAP, SILENT_WITHOUT_RHYTHM_DAYS = 6, 3, 14
NEWCOMER_DAYS, NEWCOMER_SILENT_DAYS, HARDLY_ACTIVE_DAYS, A_MONTH_DAYS = 365, 3, 2, 30

CANCELLED_KEPT_DAYS = 30

# Comparable are at least so many, of one tier of the usual month: its upper bounds, included; the last tier is open.
LEAST_COMPARED = 200
COMPARED = {
    "spend": (1000, 2000, 3000, 4000, 5000, 6000, 8000, 10000, 13000, 18000),
    "voice": (0, 30, 90, 160, 240, 340, 450, 600, 800, 1200),
    "data": (0, 10240, 102400, 1048576, 10485760, 31457280, 52428800, 104857600, 157286400),
}

CONTACT_GAP_DAYS = 14
DROPS = frozenset({"spend_drop", "voice_drop", "data_drop"})
# While one is open, those of the same subscriber are withheld.
INHIBITS = {
    "nothing_charged": frozenset({"quiet_newcomer"}),
    "outgoing_silence": DROPS | {"voice_silence"},
    "quiet_newcomer": DROPS | {"outgoing_silence", "voice_silence"},
    "spend_drop": frozenset({"voice_drop", "data_drop"}),
    "voice_drop": frozenset({"data_drop"}),
    "voice_silence": frozenset({"voice_drop"}),
}

CRITICAL_SILENT_DAYS = 14

# Days to act in, by severity.
ACT_WITHIN_DAYS = {"critical": 1, "warning": 3, "notice": 7}

# What neither file can fire, and for want of what.
_SILENT_IN_BOTH = {
    "bill_drop": "no feed of closed bills",
    "bundle_cancelled": "no feed of bundles",
    "bundle_ending": "no feed of bundles",
    "bundle_lapsed": "no feed of bundles",
    "charged_but_unused": "no recurring fees: the monthly file has charges of usage only, the daily one none",
    "competitor_called": "no feed of calls to competitors",
    "complaint_opened": "no feed of complaints",
    "data_overflow": "no feed of quotas",
    "device_changed": "no feed of devices",
    "forwarding_away": "no feed of call forwarding",
    "group_left": "no feed of groups",
    "plan_downgraded": "profiles name no fee, or none but zero, and come once",
    "port_queried": "no feed of number portability",
    "port_requested": "no feed of number portability",
    "ported": "no feed of number portability",
    "pre_cancelled": "the only status told is the end",
    "reactivated": "nobody who left comes back",
    "recharge_overdue": "a recharge a month at most, three in all: never five gaps",
    "suspended": "no feed of suspensions",
}
# What each file cannot fire, by mapping.
SILENT_RULES = {
    "prepaid_monthly": {"cancelled": "no status is told", **_SILENT_IN_BOTH},
    "postpaid_daily": {
        "nothing_charged": "no fees are told, and no recharges",
        "spend_drop": "no charges are told",
        "outgoing_silence": "all are in their first year, and called by quiet_newcomer: it is withheld",
        "voice_silence": "the same; the two who stopped calling had fallen silent before",
        **_SILENT_IN_BOTH,
    },
}


@dataclass(frozen=True, slots=True)
class DailyRule:
    """A rule judged at each close: conditions over the columns of `windows.signals`, and what it shows."""

    name: str
    when: pl.Expr
    clear_when: pl.Expr
    critical: pl.Expr
    warning: pl.Expr
    otherwise: str  # severity where neither is true
    numbers: tuple[str, ...]
    keep_days: int = 0  # recovers for so long before it is over
    cool_down_days: int = 0  # holds again so soon after: the same case


def _all(*conditions: pl.Expr) -> pl.Expr:
    return pl.all_horizontal(*conditions)


_NEVER = pl.lit(value=False)
_normal = pl.col("status") == "normal"
_high_value = pl.col("monthly_value") >= HIGH_VALUE_MINOR
_unlinked = pl.col("days_unlinked").is_not_null()


def _drop_rule(measure: str, least: int, drop: float, recovered: float) -> DailyRule:
    window = f"{measure}_30d"
    own, fallen = pl.col(f"{window}_drop"), pl.col(f"{window}_drop_vs_cohort")
    return DailyRule(
        name=f"{measure}_drop",
        when=_all(_normal, pl.col(f"{window}_baseline") >= least, own > 0, fallen >= drop),
        clear_when=(own <= 0) | (fallen < recovered),
        critical=_all(pl.col("days_silent") >= CRITICAL_SILENT_DAYS, _high_value),
        warning=_unlinked | _high_value,
        otherwise="notice",
        numbers=(
            window,
            *(f"{window}_{name}" for name in ("baseline", "drop", "cohort", "drop_vs_cohort")),
            *("days_silent", "days_unlinked", "monthly_value"),
        ),
        keep_days=7,
        cool_down_days=30,
    )


def _silent_for(least_days: int) -> pl.Expr:
    """Silent for so long, and for so many of one's usual gaps; where no rhythm is known, for two weeks."""
    long_silent = pl.col("days_silent") >= SILENT_WITHOUT_RHYTHM_DAYS
    return _all(
        pl.col("days_silent") >= least_days,
        pl.coalesce(pl.col("silent_gaps") >= SILENT_TIMES_USUAL_GAP, long_silent),
    )


_long_silent = pl.col("days_silent") >= CRITICAL_SILENT_DAYS
_newcomer = pl.coalesce("tenure_days", "days_known") < NEWCOMER_DAYS
_known_a_month = pl.col("days_known") >= A_MONTH_DAYS
_hardly_active = pl.col("active_days_30d") <= HARDLY_ACTIVE_DAYS

DAILY_RULES = (
    _drop_rule("spend", SPEND_LEAST_MINOR, SPEND_DROP, SPEND_RECOVERED),
    _drop_rule("voice", VOICE_LEAST_MINUTES, VOICE_DROP, VOICE_RECOVERED),
    _drop_rule("data", DATA_LEAST_BYTES, DATA_DROP, DATA_RECOVERED),
    DailyRule(
        name="outgoing_silence",
        when=_all(_normal, _silent_for(SILENT_DAYS)),
        clear_when=pl.col("days_silent") < SILENT_DAYS,
        critical=_all(_long_silent, _high_value | _unlinked),
        warning=_NEVER,
        otherwise="warning",
        numbers=("days_silent", "own_gap_days", "monthly_value"),
        cool_down_days=30,
    ),
    DailyRule(
        name="quiet_newcomer",
        when=_all(_normal, _newcomer, _silent_for(NEWCOMER_SILENT_DAYS) | _all(_known_a_month, _hardly_active)),
        clear_when=~_newcomer | _all(pl.col("days_silent") < NEWCOMER_SILENT_DAYS, ~_hardly_active),
        critical=_all(_long_silent, _high_value | _unlinked),
        warning=_NEVER,
        otherwise="warning",
        numbers=("days_silent", "own_gap_days", "active_days_30d", "tenure_days", "days_known", "monthly_value"),
        cool_down_days=30,
    ),
    DailyRule(
        name="nothing_charged",
        when=_all(
            _normal,
            _known_a_month,
            pl.col("spend_30d") <= 0,
            pl.col("recharge_30d") <= 0,
            (pl.col("fee") == 0) | _all(pl.col("days_since_recharge").is_not_null(), pl.col("outgoing_30d") == 0),
        ),
        clear_when=(pl.col("spend_30d") > 0) | (pl.col("recharge_30d") > 0),
        critical=_all(pl.col("recharge_90d") <= 0, (pl.col("spend_90d") <= 0) | _newcomer),
        warning=_newcomer,
        otherwise="notice",
        numbers=(
            "spend_30d",
            "spend_90d",
            "recharge_90d",
            "days_since_recharge",
            "outgoing_30d",
            "tenure_days",
            "days_known",
        ),
    ),
    DailyRule(
        name="voice_silence",
        when=_all(
            _normal,
            pl.col("voice_30d") == 0,
            pl.col("outgoing_30d") > 0,
            pl.col("voice_30d_baseline") >= VOICE_LEAST_MINUTES,
        ),
        clear_when=pl.col("voice_30d") > 0,
        critical=_NEVER,  # no feed of call forwarding
        warning=_unlinked | _high_value,
        otherwise="notice",
        numbers=("voice_30d", "voice_30d_baseline", "voice_in_30d", "outgoing_30d", "monthly_value"),
    ),
)
# The one rule of single events that can fire: an account that ends.
CANCELLED = "cancelled"
# Beyond a notice, each of the daily rules asks for a call: nobody here has a manager, who would go before.
CALLING_RULES = frozenset(rule.name for rule in DAILY_RULES)


def _halved(measure: str) -> pl.Expr:
    return pl.col(f"{measure}_30d_drop") >= 0.5


# What says that somebody leaves, each counting one; other signs need feeds that neither file has.
SIGNS = (
    _all(pl.col("fee") == 0, pl.col("spend_30d") <= 0),
    _all(pl.col("fee") == 0, pl.col("spend_90d") <= 0),
    _all(pl.col("fee") == 0, pl.col("recharge_90d") <= 0),
    pl.col("active_days_90d") <= HARDLY_ACTIVE_DAYS,
    _silent_for(NEWCOMER_SILENT_DAYS),
    _silent_for(SILENT_DAYS),
    _newcomer,
    _halved("spend") | _halved("voice") | _halved("data"),
)
