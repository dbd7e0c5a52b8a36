"""`rules backtest` without a usage file: the rules over the days that lie in the store, or in daily aggregates."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from service.commands.sealed import Asked, judge_days
from service.core.rules import Rulebook
from service.history.sealed import Sealed
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

    def judge(shards: Iterator[Sealed], judged: range, step: Callable[[], object]) -> Tallies:
        return backtest_sealed(shards, rulebook, judged, step)

    return judge_days(settings, rulebook, aggregates, Asked(asked, count), judge)


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
