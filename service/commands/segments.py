"""The command `segments`: who is in which segment, by tier, market, area and bundle."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from service.app import config_of, intake_of, store_of
from service.commands.console import fail, finish, watched
from service.commands.context import (
    AsJson,
    SettingsFile,
    note_silence,
    read_mapping,
    read_rulebook,
    read_settings,
    unasked,
)
from service.core.segments import SEGMENTS
from service.history.files import FileError, Source
from service.history.past import Lot
from service.history.segments import Kept, StoreError, compared, of_file, of_store
from service.settings import Settings, SettingsError

_COLUMNS = (*map(str, SEGMENTS), "total")
_OF_TIER = ("market", "area")  # shares of a market, not of a segment: as people compare markets


class Against(StrEnum):
    """What a month is compared with."""

    OWN = "own"
    COHORT = "cohort"


def segments(  # noqa: PLR0913 - the options of a command are its parameters
    file: Annotated[
        Path | None,
        typer.Argument(help="Parquet, CSV or NDJSON; NDJSON of our own events needs no mapping. Else the snapshots."),
    ] = None,
    *,
    as_of: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The last day that counts, closed. Of a file, needed.")
    ] = None,
    mapping: Annotated[str | None, typer.Option(help="Mapping in the rules folder's mappings/.")] = None,
    against: Annotated[
        Against | None, typer.Option(help="Compare with the own usual month, or as comparable ones moved.")
    ] = None,
    settings_file: SettingsFile = None,
    json_output: AsJson = False,
) -> None:
    """Count the segments by tier, market, area and bundle.

    Of a file of events, taken through the core that runs live; without one, of the newest snapshots.

    Example: churn-warning segments events.ndjson --as-of 2013-01-31
    """
    settings = read_settings(settings_file)
    rulebook = compared(read_rulebook(settings), against)
    try:
        lot = Lot(config_of(settings, rulebook), rulebook, intake=intake_of(settings, None))
        day = None if as_of is None else as_of.date()
        if file is None:
            answer = _of_store(settings, day, lot, anew=against is not None)
        elif day is None:
            fail("A file goes on for days: name the last one that counts, with --as-of YYYY-MM-DD")
        else:
            source = Source(file, read_mapping(settings, mapping))
            # A file holds the whole base: no partition is asked for.
            lot = Lot(lot.config, rulebook)
            answer = of_file(source, day, lot, lambda pieces: watched(pieces, "Counting"))
            note_silence(day, date.fromisoformat(answer["last_day"]))
    except (FileError, StoreError, SettingsError, ValueError) as error:
        fail(str(error))
    finish(answer, "\n".join(_text(answer)), as_json=json_output)


def _of_store(settings: Settings, day: date | None, lot: Lot, *, anew: bool) -> dict[str, Any]:
    try:
        store = store_of(settings)
        kept = Kept(store, tuple(sorted(store.shards())), anew)
        return of_store(kept, day, lot, lambda shards: watched(shards, "Counting"))
    except OSError as error:
        fail(unasked(settings, error))


def _text(answer: Mapping[str, Any]) -> Iterator[str]:
    """The tables for people: columns are segments, figures per hundred."""
    in_any = answer["subscribers"] - answer["not_eligible"]
    against = "their own usual month" if answer["against"] == Against.OWN else "it as comparable subscribers moved"
    yield (
        f"{in_any:,} subscribers in segments as of {answer['as_of'] or 'days that differ'}, against {against}; "
        f"{answer['not_eligible']:,} are not eligible."
    )
    yield from ("", f"{'segment':26}{'subscribers':>12}{'share %':>9}")
    for code, one in answer["segments"].items():
        yield f"{code:>2} {one['name']:23}{one['subscribers']:>12,}{_figure(one['share_pct']):>9}"
    for name, tiers in answer["dimensions"].items():
        share = "of_tier_pct" if name in _OF_TIER else "of_segment_pct"
        yield from _table(f"{name}, % of the {name if name in _OF_TIER else 'segment'}", _lines(tiers), share)
    yield from _table("bundles held, % of the segment", list(answer["bundles"].items()), "of_segment_pct")


def _lines(tiers: Sequence[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    return [(tier["label"] or "unknown", tier["segments"]) for tier in tiers]


def _table(title: str, lines: Sequence[tuple[str, Mapping[str, Any]]], share: str) -> Iterator[str]:
    yield from ("", f"{title:26}" + "".join(f"{column:>8}" for column in _COLUMNS))
    for label, cells in lines:
        yield f"{label:26}" + "".join(f"{_figure(cells[column][share]):>8}" for column in _COLUMNS)


def _figure(share: float | None) -> str:
    return "-" if share is None else f"{share:.2f}"
