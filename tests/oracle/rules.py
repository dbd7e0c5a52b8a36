"""The rules that the two files can fire, with their thresholds copied here by hand, and why the others cannot.

Nothing here reads the rules folder: a threshold that moves there has to be moved here, by somebody who means it.
"""

from dataclasses import dataclass

import polars as pl

HIGH_VALUE_MINOR = 10_000  # 100 yuan a month

SPEND_DROP, SPEND_RECOVERED, SPEND_LEAST_MINOR = 0.3, 0.2, 1_000
VOICE_DROP, VOICE_RECOVERED, VOICE_LEAST_MINUTES = 0.4, 0.3, 30
DATA_DROP, DATA_RECOVERED, DATA_LEAST_BYTES = 0.5, 0.4, 10_000_000

SILENT_DAYS, SILENT_TIMES_USUAL_GAP, SPOKE_AGAIN_DAYS = 14, 3, 7

CANCELLED_KEPT_DAYS = 30

WARNED_SILENT_DAYS, CRITICAL_SILENT_DAYS = 7, 14

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
    "plan_downgraded": "profiles name no fee, and come once",
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
    "postpaid_daily": {"spend_drop": "no charges are told", **_SILENT_IN_BOTH},
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


def _all(*conditions: pl.Expr) -> pl.Expr:
    return pl.all_horizontal(*conditions)


_NEVER = pl.lit(value=False)
_normal = pl.col("status") == "normal"
_high_value = pl.col("monthly_value") >= HIGH_VALUE_MINOR
_unlinked = pl.col("days_unlinked").is_not_null()


def _drop_rule(measure: str, least: int, drop: float, recovered: float) -> DailyRule:
    window = f"{measure}_30d"
    fallen = pl.col(f"{window}_drop")
    return DailyRule(
        name=f"{measure}_drop",
        when=_all(_normal, pl.col(f"{window}_baseline") >= least, fallen >= drop),
        clear_when=fallen < recovered,
        critical=_all(pl.col("days_silent") >= CRITICAL_SILENT_DAYS, _high_value),
        warning=(pl.col("days_silent") >= WARNED_SILENT_DAYS) | _unlinked | _high_value,
        otherwise="notice",
        numbers=(window, f"{window}_baseline", f"{window}_drop", "days_silent", "days_unlinked", "monthly_value"),
    )


def _usual_silence() -> pl.Expr:
    """So many of one's usual gaps, in days; zero where no rhythm is known, which leaves the decision to the 14 days."""
    rhythm = pl.col("outgoing_30d_baseline")
    return pl.when(rhythm > 0).then(SILENT_TIMES_USUAL_GAP * 30 / rhythm).otherwise(0.0)


DAILY_RULES = (
    _drop_rule("spend", SPEND_LEAST_MINOR, SPEND_DROP, SPEND_RECOVERED),
    _drop_rule("voice", VOICE_LEAST_MINUTES, VOICE_DROP, VOICE_RECOVERED),
    _drop_rule("data", DATA_LEAST_BYTES, DATA_DROP, DATA_RECOVERED),
    DailyRule(
        name="outgoing_silence",
        when=_all(_normal, pl.col("days_silent") >= SILENT_DAYS, pl.col("days_silent") >= _usual_silence()),
        clear_when=pl.col("days_silent") < SPOKE_AGAIN_DAYS,
        critical=_high_value | _unlinked,
        warning=_NEVER,
        otherwise="warning",
        numbers=("days_silent", "outgoing_30d_baseline", "monthly_value"),
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
