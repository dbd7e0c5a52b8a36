"""Days of a city's past judged again by two rulebooks, from sealed panes: what `rules diff` and backtests cost."""

import argparse
import resource
import time
from dataclasses import replace
from typing import Any

import polars as pl

from service.app import config_of, store_of
from service.commands.context import read_rulebook
from service.core.rules import Rulebook
from service.history.bulk import KnownDays, bootstrap_days
from service.history.past import Lot
from service.history.sealed import open_sealed
from service.history.trial import trials
from service.settings import load as load_settings
from service.wire.decode import Intake
from tests.bench.marginals import LAST_DAY, draw_habits, write_days, write_profiles
from tests.bench.place import environment, own_folder
from tests.bench.stopwatch import Stopwatch

_REACH_DAYS = 90  # of what is counted before the first day


def add_options(parser: argparse.ArgumentParser) -> None:
    """The sizes, by default those of the figures in the README."""
    parser.add_argument("--subscribers", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=90, help="judged; as many and 90 more are made")
    parser.add_argument("--partitions", type=int, default=6)
    parser.add_argument("--measures", default="spend,voice,data,outgoing")
    parser.add_argument(
        "--rulebooks", type=int, default=2, choices=(1, 2), help="2 as in `rules diff`, 1 as in a backtest"
    )


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Make a past, and judge it."""
    with own_folder() as folder:
        settings = load_settings(environment("127.0.0.1:1", options.partitions, folder), None)
        rulebook = read_rulebook(settings)
        config, store = config_of(settings, rulebook), store_of(settings, copies=False)
        (folder / "days").mkdir()
        habits = draw_habits(options.subscribers)
        days = range(LAST_DAY - options.days - _REACH_DAYS, LAST_DAY + 1)
        write_days(habits, days, options.measures.split(","), folder / "days")
        write_profiles(habits, folder / "profiles.parquet")
        known = KnownDays(folder / "days", LAST_DAY, folder / "profiles.parquet")
        bootstrap_days(known, store, Lot(config, rulebook, intake=Intake(options.partitions)))
        made_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        books = [rulebook, _other(rulebook)][: options.rulebooks]
        watch = Stopwatch()
        watch.watch("moves", __import__("service.history.sealed", fromlist=["x"]).Sealed, "move")
        watch.watch("stands", __import__("service.history.sealed", fromlist=["x"]).Sealed, "stand")
        watch.watch("verdicts", __import__("service.history.trial", fromlist=["x"]), "_verdicts")
        watch.watch("orders", __import__("service.history.trial", fromlist=["x"]), "_orders")
        began_s = time.perf_counter()
        judged = 0
        warned: dict[str, int] = {}
        for partition in range(options.partitions):
            snapshot = store.newest(partition, 0)
            shard = None if snapshot is None else open_sealed(config, snapshot)
            if shard is None:
                continue
            for trial in trials(shard, books, range(shard.last_day - options.days + 1, shard.last_day + 1)):
                judged += trial.rulebook is rulebook and len(shard.state.roster)
                for name, course in trial.courses.items():
                    warned[name] = warned.get(name, 0) + int(course.ever.sum())
        took_s = time.perf_counter() - began_s
    return {
        "subscribers": judged,
        "days": options.days,
        "rulebooks": len(books),
        "rules": len(books[0].rules),
        "judged_s": round(took_s, 1),
        "parts": watch.rounded(),
        "warned": warned,
        "made_peak_rss_mb": made_mb,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }


def _other(rulebook: Rulebook) -> Rulebook:
    """The same rules, the conditions of the drops a little stricter."""
    rules = tuple(
        replace(rule, when=rule.when & (pl.col(f"{rule.measure}_30d_drop") >= 0.5))
        if rule.family == "drops" and rule.window_days
        else rule
        for rule in rulebook.rules
    )
    return replace(rulebook, hash="other", rules=rules)
