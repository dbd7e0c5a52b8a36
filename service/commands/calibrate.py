"""The command `rules calibrate`: the ratios that warn a wanted share of those who can be warned."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from service.app import config_of
from service.commands.console import fail, finish, watched
from service.commands.context import (
    Aggregates,
    AsJson,
    AsOfDay,
    OptionalFile,
    SettingsFile,
    note_silence,
    read_mapping,
    read_rulebook,
    read_settings,
)
from service.commands.past import MappingName
from service.commands.sealed import check_closed, last_days, partitions_in, past_of, shards_of
from service.core.calendar import to_date, to_day
from service.core.measures import MEASURES
from service.core.panes import DamagedError
from service.core.rules import Rulebook
from service.core.state import Config
from service.history.calibrate import Ratio, Sample, ratios, take
from service.history.files import FileError, Source, read_usage
from service.history.past import Lot, live_through
from service.history.sealed import check_reach
from service.rulebook.problems import suggest
from service.settings import Settings, SettingsError

_MEASURES = (*MEASURES, "bill")


def calibrate(  # noqa: PLR0913 - the options of a command are its parameters
    file: OptionalFile = None,
    *,
    as_of: AsOfDay = None,
    rate: Annotated[list[str] | None, typer.Option(help="Wanted share, such as spend=0.108; once per measure.")] = None,
    mapping: MappingName = None,
    aggregates: Aggregates = None,
    settings_file: SettingsFile = None,
    json_output: AsJson = False,
) -> None:
    """Print the drop ratios that give wanted warning rates.

    For each band of the segments and each rule that judges a drop: how many can be warned, the ratio and the share that
    it warns today, and the ratio that would warn the wanted share. From a usage file, or from the store's snapshots.

    Example: churn-warning rules calibrate usage.parquet --mapping prepaid_monthly --as-of 2013-08-31 --rate voice=0.195
    """
    settings = read_settings(settings_file)
    rulebook = read_rulebook(settings)
    wanted = dict(map(_rate, rate or []))
    day = None if as_of is None else to_day(as_of.date())
    sample = Sample(rulebook)
    try:
        config = config_of(settings, rulebook)
        if file is None:
            day = _take_store(settings, sample, aggregates, day)
        else:
            if day is None:
                fail("A usage file is judged as of a day: --as-of YYYY-MM-DD")
            _take_file(Source(file, read_mapping(settings, mapping)), sample, config, day)
        found = list(ratios(sample, wanted))
    except (FileError, SettingsError, DamagedError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"The past cannot be read: {error.strerror or error}")
    answer = {"as_of": str(to_date(day)), "rulebook": rulebook.hash, "ratios": [one.plain() for one in found]}
    finish(answer, "\n".join(_table(found)), as_json=json_output)


def _rate(text: str) -> tuple[str, float]:
    measure, _, share = text.partition("=")
    if measure not in _MEASURES:
        fail(f"--rate {text}: there is no measure {measure}{suggest(measure, _MEASURES)}")
    try:
        value = float(share)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        fail(f"--rate {text}: expected a share between 0 and 1, such as {measure}=0.1")
    return measure, value


def _take_file(source: Source, sample: Sample, config: Config, day: int) -> None:
    usage = read_usage(source)
    lot = Lot(config, sample.rulebook).quiet
    try:
        past, last = live_through(usage.events, lot, day, lambda pieces: watched(pieces, "Summing"))
    except FileError as error:
        raise FileError(f"{source.file}: {error}") from error
    note_silence(to_date(day), last)
    take(sample, past.state)


def _take_store(settings: Settings, sample: Sample, aggregates: Path | None, day: int | None) -> int:
    rulebook = sample.rulebook
    config = config_of(settings, rulebook)
    with past_of(settings, rulebook, aggregates) as store:
        partitions = partitions_in(settings, store)
        last = min(last_days(store, partitions), default=0)
        until = last if day is None else day
        check_closed(until, last)
        for shard in watched(shards_of(settings, config, store, partitions), "Summing", len(partitions)):
            check_reach([shard], until)
            shard.ask(rulebook, sorted(_names(rulebook)))
            shard.stand(until)
            take(sample, shard.state)
    return until


def _names(rulebook: Rulebook) -> set[str]:
    rules = {name for rule in rulebook.rules if not rule.on for name in rule.names}
    bands = {f"{band.measure}_{band.window_days}d_drop" for band in rulebook.bands}
    return rules | bands | {"fee_month"}


def _table(found: list[Ratio]) -> Iterator[str]:
    yield f"{'':28}{'can be':>12}{'ratio':>9}{'warns':>9}{'wanted':>9}{'ratio':>9}{'warns':>9}"
    for one in found:
        shares = (one.rate, one.wanted_rate)
        shown = ["-" if share is None else f"{share:.1%}" for share in shares]
        ratio = "-" if one.wanted_ratio is None else f"{one.wanted_ratio:.3f}"
        reached = "-" if one.reached_rate is None else f"{one.reached_rate:.1%}"
        name = f"{one.key.kind} {one.key.name}"
        counted = f"{one.can_be_warned:>12,}{one.ratio:>9.3f}{shown[0]:>9}{shown[1]:>9}"
        yield f"{name:28}{counted}{ratio:>9}{reached:>9}"
