"""What judging costs with few rules and with many: one shard, its last day closed, judged by each rulebook in turn.

The rules are variations of the shipped daily ones, each with thresholds and a scope of its own, so that no two
conditions are the same. The best of several turns counts.
"""

import argparse
import os
import time
from collections.abc import Mapping
from copy import deepcopy
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

import service.core.step as steps
from service.app import config_of, domains, given_params, store_of
from service.commands.context import read_rulebook
from service.core.frames import from_frames
from service.core.judge import Found, daily_rules, judge_rows
from service.core.rules import Rulebook
from service.core.state import State
from service.history.bulk import KnownDays, bootstrap_days
from service.history.past import Lot
from service.rulebook.loading import build
from service.settings import Settings
from service.settings import load as load_settings
from service.wire.decode import Intake
from tests.bench.marginals import LAST_DAY, draw_habits, write_days, write_profiles
from tests.bench.place import environment, own_folder

_SWAY = 0.2  # thresholds lie within a tenth on each side of the shipped ones


def add_options(parser: argparse.ArgumentParser) -> None:
    """The sizes, by default those of the figures in the README."""
    parser.add_argument("--subscribers", type=int, default=267_000)
    parser.add_argument("--days", type=int, default=91)
    parser.add_argument("--few", type=int, default=20)
    parser.add_argument("--many", type=int, default=200)
    parser.add_argument("--turns", type=int, default=5)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds for a shard, and how many times those of few rules many take."""
    with own_folder() as folder:
        settings = load_settings(environment("127.0.0.1:1", 1, folder), None)
        shipped = read_rulebook(settings)
        state = _shard(settings, shipped, options, folder)
        found: dict[str, Any] = {"subscribers": state.subscribers, "cpus": os.cpu_count()}
        for name, count in (("few", options.few), ("many", options.many)):
            rulebook = varied(settings, shipped, count)
            seconds, met = _judged(state, rulebook, options.turns)
            found |= {name: count, f"{name}_s": round(seconds, 3), f"{name}_met": met}
    return {**found, "ratio": round(found["many_s"] / found["few_s"], 2)}


def _shard(settings: Settings, rulebook: Rulebook, options: argparse.Namespace, folder: Path) -> State:
    """A shard whose past was loaded as aggregates, the last day closed."""
    days, profiles = folder / "days", folder / "profiles.parquet"
    days.mkdir()
    habits = draw_habits(options.subscribers)
    measures = ("spend", "voice", "data", "outgoing", "recharge")
    write_days(habits, range(LAST_DAY - options.days + 1, LAST_DAY), measures, days)
    write_profiles(habits, profiles)
    config, store = config_of(settings, rulebook), store_of(settings)
    bootstrap_days(KnownDays(days, LAST_DAY, profiles), store, Lot(config, rulebook, intake=Intake(1)))
    snapshot = store.newest(0, 0)
    assert snapshot is not None
    state = from_frames(config, snapshot.manifest, snapshot.frames, snapshot.stored)
    steps.close_quietly(state, rulebook, LAST_DAY - 1)
    return state


def varied(settings: Settings, shipped: Rulebook, count: int) -> Rulebook:
    """So many daily rules, each a variation of a shipped one."""
    own = {f"{rule.family}/{rule.id}.yaml": shipped.contents[f"{rule.family}/{rule.id}.yaml"] for rule in shipped.rules}
    daily = [f"{rule.family}/{rule.id}.yaml" for rule in daily_rules(shipped)]
    contents = {file: said for file, said in shipped.contents.items() if file not in own and "/" not in file}
    contents |= {file: said for file, said in shipped.contents.items() if file.startswith("signals/")}
    for number, file in enumerate(islice(cycle(daily), count)):
        varied = _variation(own[file], number, 1 + _SWAY * (number / count - 0.5))
        contents[f"{file.removesuffix('.yaml')}_{number}.yaml"] = varied
    return build(contents, domains(settings), given_params(settings))


def _variation(rule: object, number: int, by: float) -> Mapping[str, object]:
    assert isinstance(rule, dict)
    varied = deepcopy(rule)
    varied.pop("inhibits", None)
    varied["scope"] = f"monthly_value <> {number}"
    for name, value in varied.get("params", {}).items():
        varied["params"][name] = round(value * by, 4) if isinstance(value, float) else round(value * by)
    return varied


def _judged(state: State, rulebook: Rulebook, turns: int) -> tuple[float, int]:
    """The seconds of the quickest turn, and how many meet a rule."""
    seconds, found = [], Found()
    for _ in range(turns):
        found, began_s = Found(), time.perf_counter()
        for rows in np.array_split(state.rows, -(-state.rows.size // steps.SLICE_ROWS)):
            judge_rows(state, rulebook, rows, found)
        seconds.append(time.perf_counter() - began_s)
    return min(seconds), sum(rows.size for parts in found.met.values() for rows in parts)
