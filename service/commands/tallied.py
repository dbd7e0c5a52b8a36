"""`rules backtest` without a usage file: the rules over the days that lie in the store, or in daily aggregates."""

from pathlib import Path
from typing import Any

from service.app import config_of
from service.commands.console import watched
from service.commands.sealed import check_closed, last_days, partitions_in, past_of, shards_of
from service.core.calendar import to_date
from service.core.rules import Rulebook
from service.history.tally import Tallies, backtest_sealed
from service.settings import Settings

_HEADS = ("warned", "precision", "recall", "lift", "a day", "lead days", "at risk")
_FIGURES = ("warned", "precision", "recall", "lift", "raised_a_day", "lead_days", "money_at_risk_minor")


def tally(
    settings: Settings, rulebook: Rulebook, aggregates: Path | None, asked: int | None, count: int
) -> tuple[range, Tallies]:
    """The days judged (since 1970), and what came of them; as of `asked`, or of the last day closed by all shards.

    Raises: FileError, SettingsError, DamagedError, OSError.
    """
    config = config_of(settings, rulebook)
    with past_of(settings, rulebook, aggregates) as store:
        partitions = partitions_in(settings, store)
        last = min(last_days(store, partitions), default=0)
        if asked is not None:
            check_closed(asked, last)
        until = last if asked is None else asked
        days = range(until - count + 1, until + 1)
        steps = iter(watched(range(len(partitions) * count), f"Judging {to_date(days[0])} to {to_date(days[-1])}"))
        shards = shards_of(settings, config, store, partitions)
        found = backtest_sealed(shards, rulebook, days, lambda: next(steps, None))
        next(steps, None)
    return days, found


def table(answer: dict[str, Any]) -> str:
    """For people."""
    lines = [f"{answer['subscribers']:,} subscribers, {answer['leavers']:,} of whom left in these days", ""]
    lines.append(f"{'':24}" + "".join(f"{head:>12}" for head in _HEADS) + "  mostly also")
    for name, one in answer["rules"].items():
        shared = "" if one["overlap"] is None else f"  {one['overlap']['rule']} {one['overlap']['share']:.0%}"
        lines.append(f"{name:24}" + "".join(f"{_short(one[figure]):>12}" for figure in _FIGURES) + shared)
    return "\n".join(lines)


def _short(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:,}" if isinstance(figure, int) else f"{figure:,.3f}"
