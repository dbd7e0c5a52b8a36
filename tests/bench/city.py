"""A whole city in one process: its past loaded, a day streamed and closed, told, kept and brought back.

Days 1 to n-1 are loaded as daily aggregates; day n comes as columnar batches through the core's step, for a tenth of
the subscribers, eight events each; warnings and the tail go through a real Kafka.
"""

import argparse
import asyncio
import contextlib
import gc
import os
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

import service.core.step as steps
from service.app import collect_seldom, config_of, store_of
from service.commands.context import read_rulebook
from service.core.frames import from_frames, leave, meta, pieces_of, to_frames
from service.core.measures import MEASURES
from service.core.rules import Limits, Rulebook
from service.core.state import DEFAULT_WINDOWS_DAYS, Config, State
from service.core.windows import Windows
from service.history.bulk import KnownDays, bootstrap_days
from service.history.past import Lot
from service.ports import Snapshot
from service.settings import load as load_settings
from service.store.store import Store
from service.wire.decode import Intake
from service.worker.memory import read_resident
from tests.bench.broadcast import Station, slices_of, told_again
from tests.bench.marginals import EVENTS_A_DAY, LAST_DAY, day_of_events, draw_habits, write_days, write_profiles
from tests.bench.place import broker_in, environment, own_folder
from tests.bench.rules import varied
from tests.bench.stopwatch import Stopwatch

_STREAMED = 10  # one of so many subscribers uses something on the last day
_MB = 1 << 20


def add_options(parser: argparse.ArgumentParser) -> None:
    """The sizes, by default those of the figures in the README."""
    parser.add_argument("--subscribers", type=int, default=6_408_500)
    parser.add_argument("--days", type=int, default=91, help="the last one is streamed")
    parser.add_argument("--partitions", type=int, default=24)
    parser.add_argument("--measures", default="spend,data,outgoing")
    parser.add_argument("--windows", default="7,30,90", help="days, separated by commas; the rules name 30 and 90")
    parser.add_argument("--rules", type=int, default=60, help="daily rules, variations of the shipped ones")
    parser.add_argument("--transitions", type=int, default=500_000, help="published after the close")
    parser.add_argument("--tail", type=int, default=1_800_000, help="records that a restore replays")
    parser.add_argument("--profiles", action="store_true", help="everybody has a profile and a consent, too")


@dataclass(slots=True)
class City:
    """What the stages hand on: terms, states by partition, and what was found."""

    options: argparse.Namespace
    folder: Path
    config: Config
    rulebook: Rulebook
    store: Store
    states: dict[int, State] = field(default_factory=dict)
    found: dict[str, Any] = field(default_factory=dict)

    @contextlib.contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Find how many seconds the block takes."""
        began_s = time.perf_counter()
        yield
        self.found[name] = round(time.perf_counter() - began_s, 2)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All stages in one process, one after another."""
    collect_seldom()
    with own_folder() as folder:
        environ = environment("127.0.0.1:1", options.partitions, folder)
        settings = load_settings(environ | {"CHURN_TIME__WINDOWS_DAYS": options.windows}, None)
        rulebook = varied(settings, read_rulebook(settings), options.rules)
        # What so many rules say of a first judged day is no fault here.
        rulebook = replace(rulebook, limits=Limits(breaker_share=1))
        store = store_of(settings)
        city = City(options, folder, config_of(settings, rulebook), rulebook, store)
        _load(city)
        _stream(city)
        transitions = _close(city)
        _weigh(city)
        with broker_in(folder) as address:  # not before: it would take from the processors
            kafka = settings.kafka.model_copy(update={"bootstrap_servers": address})
            settings = settings.model_copy(update={"kafka": kafka})
            asyncio.run(_tell_and_restore(city, Station(settings, city.config, rulebook, store), transitions))
    named = ("subscribers", "days", "partitions", "measures", "windows", "rules")
    sizes = {name: getattr(options, name) for name in named}
    return {**sizes, **city.found, "peak_rss_mb": _peak_rss_mb(), "cpus": os.cpu_count()}


def _load(city: City) -> None:
    """The past as aggregates into snapshots, and these into states, each standing on the last day but one."""
    options = city.options
    unknown = set(options.measures.split(",")) - MEASURES.keys()
    if unknown:
        raise SystemExit(f"there are no measures {sorted(unknown)}; there are {', '.join(MEASURES)}")
    days, profiles = city.folder / "days", city.folder / "profiles.parquet"
    days.mkdir()
    with city.timed("made_s"):
        habits = draw_habits(options.subscribers)
        write_days(habits, range(LAST_DAY - options.days + 1, LAST_DAY), options.measures.split(","), days)
        if options.profiles:
            write_profiles(habits, profiles)
        del habits
    known = KnownDays(days, LAST_DAY, profiles if options.profiles else None)
    with city.timed("bootstrap_s"):
        lot = Lot(city.config, city.rulebook, intake=Intake(options.partitions))
        city.found["lines"] = bootstrap_days(known, city.store, lot)["lines"]
    city.found["bootstrap_peak_rss_mb"] = _peak_rss_mb()
    with city.timed("load_s"):
        for partition in range(options.partitions):
            snapshot = city.store.newest(partition, 0)
            if snapshot is not None:  # a small city leaves some empty
                state = from_frames(city.config, snapshot.manifest, snapshot.frames, snapshot.stored)
                steps.close_quietly(state, city.rulebook, LAST_DAY - 1)
                state.judged = True  # or all that is true would be standing, and nothing would be said
                city.states[partition] = state


def _stream(city: City) -> None:
    streamed, before = 0, _repeats_bytes(city)
    with city.timed("stream_s"):
        for partition, state in city.states.items():
            ids = state.roster.strings.gather_every(_STREAMED)
            for batch in day_of_events(ids, LAST_DAY, partition):
                steps.step(state, city.rulebook, batch)
            state.cursor = 0  # the log of the rest of this bench begins behind this day
            streamed += len(ids)
    city.found["streamed_events"] = streamed * EVENTS_A_DAY
    city.found["bytes_per_subscriber_repeats"] = round((_repeats_bytes(city) - before) / streamed, 1)


def _close(city: City) -> dict[int, pl.DataFrame]:
    """Close the last day of all shards; returns as many transitions of each as are to be published."""
    share = -(-city.options.transitions // len(city.states))
    watch, kept, raised = Stopwatch(), {}, 0
    watch.watch("judge", steps, "judge_rows")
    watch.watch("assign", steps, "assign")
    watch.watch("sums", Windows, "close")
    watch.watch("cohorts", steps, "compare")
    watch.watch("conclude", steps, "conclude")
    with city.timed("day_close_s"):
        for partition, state in city.states.items():
            turns = steps.close(state, city.rulebook, steps.Due(LAST_DAY, state.cursor, "clock"))
            said = pl.concat([turn.transitions for turn in turns])
            raised += said.height
            kept[partition] = said.filter(pl.col("suppressed_by").is_null()).head(share)
    city.found["day_close"] = watch.rounded()
    city.found["raised"] = raised
    return kept


def _weigh(city: City) -> None:
    """Memory by part of the state, and what other windows would take."""
    count = sum(state.subscribers for state in city.states.values())
    parts = ("roster", "windows", "activity", "attributes", "panes", "holdings", "episodes")
    held = {part: sum(getattr(state, part).nbytes for state in city.states.values()) for part in parts}
    city.found["known"] = count
    city.found["bytes_per_subscriber"] = round(sum(held.values()) / count, 1)
    city.found["bytes_by_part"] = {part: round(size / count, 1) for part, size in held.items()}
    gc.collect()
    city.found["rss_mb"] = _rss_mb()
    state = next(iter(city.states.values()))
    shipped = Windows(DEFAULT_WINDOWS_DAYS)
    shipped.grow(state.subscribers)
    shipped.build(max(DEFAULT_WINDOWS_DAYS), LAST_DAY, state.panes)  # lines of other lengths weigh the same
    city.found["bytes_per_subscriber_shipped_windows"] = round(
        (sum(held.values()) - held["windows"]) / count + shipped.nbytes / state.subscribers, 1
    )


async def _tell_and_restore(city: City, station: Station, kept: dict[int, pl.DataFrame]) -> None:
    share = -(-city.options.transitions // len(city.states))
    turns = {p: slices_of(told_again(part, share), LAST_DAY, city.rulebook.hash) for p, part in kept.items()}
    async with station.open():
        with city.timed("publish_s"):
            await station.say(turns)
        city.found["published"] = sum(turn.transitions.height for said in turns.values() for turn in said)
        del turns
        kept.clear()
        _keep(city)
        city.states.clear()
        gc.collect()
        await station.feed_tail(city.options.tail, city.options.subscribers)
        with city.timed("restore_s"):
            city.states = await station.restore()
        gc.collect()
        city.found["rss_restored_mb"] = _rss_mb()
        city.found["restored"] = {
            "subscribers": sum(state.subscribers for state in city.states.values()),
            "records": sum(state.cursor for state in city.states.values()),
        }


def _keep(city: City) -> None:
    """A snapshot of every shard."""
    before = _stored_bytes(city)
    with city.timed("snapshot_s"):
        for partition, state in city.states.items():
            pieces = pieces_of(state)
            leave(state, city.store.save(partition, Snapshot(meta(state), to_frames(state), pieces)))
    city.found["snapshot_mb"] = round((_stored_bytes(city) - before) / _MB, 1)
    city.found["stored_mb"] = round(_stored_bytes(city) / _MB, 1)


def _repeats_bytes(city: City) -> int:
    return sum(state.repeats.nbytes for state in city.states.values())


def _stored_bytes(city: City) -> int:
    return sum(path.stat().st_size for path in (city.folder / "snapshots").rglob("*") if path.is_file())


def _rss_mb() -> int:
    return (read_resident() or 0) // _MB


def _peak_rss_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
