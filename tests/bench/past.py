"""Days of a past in sealed panes judged again by two rulebooks: what `rules diff` and a backtest of the store cost."""

import argparse
import resource
import time
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from service.app import config_of, store_of
from service.commands.context import read_rulebook
from service.core.calendar import day_end_us
from service.core.frames import meta, to_frames
from service.core.judge import daily_rules
from service.core.measures import PANE
from service.core.rules import Rulebook
from service.core.state import Config, State, new_state
from service.history import trial as trial_of
from service.history.pieces import Pieces
from service.history.sealed import Sealed, open_sealed
from service.history.trial import trials
from service.ports import Snapshot
from service.settings import load as load_settings
from service.store.store import Store
from tests.bench.marginals import LAST_DAY, Habits, draw_habits, used_on
from tests.bench.place import environment, own_folder
from tests.bench.stopwatch import Stopwatch

_REACH_DAYS = 90  # of what is counted before the first day


def add_options(parser: argparse.ArgumentParser) -> None:
    """The sizes, by default those of the figures in the README."""
    parser.add_argument("--subscribers", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=90, help="judged; 90 more lie before them")
    parser.add_argument("--partitions", type=int, default=6)
    parser.add_argument("--measures", default="spend,voice,data,outgoing")
    parser.add_argument("--rulebooks", type=int, default=2, choices=(1, 2), help="2 as in a diff, 1 as in a backtest")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Store a past, and judge it."""
    with own_folder() as folder:
        settings = load_settings(environment("127.0.0.1:1", options.partitions, folder), None)
        rulebook = read_rulebook(settings)
        config, store = config_of(settings, rulebook), store_of(settings, copies=False)
        began_s = time.perf_counter()
        for partition in range(options.partitions):
            _save(store, config, partition, options)
        made_s = time.perf_counter() - began_s
        books = [rulebook, _stricter(rulebook)][: options.rulebooks]
        watch = Stopwatch()
        watch.watch("stand", Sealed, "stand")
        watch.watch("move", Sealed, "move")
        watch.watch("verdicts", trial_of, "_verdicts")
        watch.watch("orders", trial_of, "_orders")
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        found = [_judge(store, config, partition, books, options.days) for partition in range(options.partitions)]
        took_s, took_cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    return {
        "subscribers": sum(count for count, _ in found),
        "days": options.days,
        "rulebooks": len(books),
        "rules": len(daily_rules(rulebook)),
        "made_s": round(made_s, 1),
        "judged_s": round(took_s, 1),
        "judged_cpu_s": round(took_cpu_s, 1),
        "parts": watch.rounded(),
        "warned": sum(warned for _, warned in found),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }


def _judge(store: Store, config: Config, partition: int, books: list[Rulebook], days: int) -> tuple[int, int]:
    """How many subscribers a shard has, and how many of them the first rulebook ever warned."""
    snapshot = store.newest(partition, 0)
    shard = None if snapshot is None else open_sealed(config, snapshot)
    if shard is None:
        return 0, 0
    first, *_ = trials(shard, books, range(shard.last_day - days + 1, shard.last_day + 1))
    ever = np.logical_or.reduce([course.ever for course in first.courses.values()])
    return len(shard.state.roster), int(ever.sum())


def _save(store: Store, config: Config, partition: int, options: argparse.Namespace) -> None:
    """A shard's snapshot: who there is, and the usage of every day."""
    habits = draw_habits(options.subscribers // options.partitions, seed=partition + 1)
    ids = pl.Series("subscriber_id", [f"{partition}-{n}" for n in range(len(habits.ids))])
    state = new_state(config)
    rows = state.rows_of(ids)
    days = range(LAST_DAY - options.days - _REACH_DAYS + 1, LAST_DAY + 1)
    state.closed_day, state.watermark.us = LAST_DAY, day_end_us(LAST_DAY, config.zone)
    _tell(state, rows, days[0])
    names = tuple(f"{day}.0" for day in days)
    panes = Pieces(names, lambda name: _pane(habits, int(name.partition(".")[0]), options.measures.split(",")))
    store.save(partition, Snapshot(meta(state), to_frames(state), panes))


def _tell(state: State, rows: np.ndarray, first_day: int) -> None:
    attributes = state.attributes
    attributes.see(rows, np.full(rows.size, first_day, np.int32), None)
    attributes.writable("last_outgoing")[rows] = LAST_DAY
    attributes.writable("consent_call")[rows] = rows % 3 > 0
    markets = attributes.vocabularies["market"].intern(pl.Series([f"market-{n}" for n in range(12)]))
    attributes.writable("market")[rows] = markets[rows % 12]


def _pane(habits: Habits, day: int, measures: list[str]) -> pl.DataFrame:
    active, amounts = used_on(habits, day, measures, np.random.default_rng(day))
    told = pl.DataFrame({"row": active.astype(np.int32), **amounts})
    return told.select(
        pl.col(name).cast(dtype) if name in told.columns else pl.lit(0, dtype).alias(name)
        for name, dtype in PANE.items()
    )


def _stricter(rulebook: Rulebook) -> Rulebook:
    """The same rules, but that drops have to be deeper."""
    rules = tuple(
        replace(rule, when=rule.when & (pl.col(f"{rule.measure}_{rule.window_days}d_drop") >= 0.6))
        if rule.family == "drops" and rule.window_days
        else rule
        for rule in rulebook.rules
    )
    return replace(rulebook, hash="stricter", rules=rules)
