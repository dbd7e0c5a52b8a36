"""The commands over usage files, without a broker: `windows`, `bootstrap` and `rules backtest`."""

from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer

from service.app import config_of, intake_of, store_of
from service.clock import SystemClock
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
    unasked,
)
from service.commands.tallied import table, tally
from service.core.calendar import day_at, to_date, to_day
from service.core.panes import DamagedError
from service.core.rules import Rulebook
from service.history.backtest import Backtest, Question
from service.history.backtest import backtest as judge
from service.history.bootstrap import Known, NotEmptyError
from service.history.bootstrap import bootstrap as load
from service.history.bulk import KnownDays, bootstrap_days
from service.history.files import FileError, Source
from service.history.past import Lot
from service.history.scoring import Score
from service.history.windows import write_windows
from service.settings import Settings, SettingsError

File = Annotated[Path, typer.Argument(help="Parquet, CSV or NDJSON; NDJSON of our own events needs no mapping.")]
MappingName = Annotated[str | None, typer.Option("--mapping", help="Mapping in the rules folder's mappings/.")]
AsOf = Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The last day that counts, closed.")]


def windows(  # noqa: PLR0913 - the options of a command are its parameters
    file: File,
    *,
    as_of: AsOf,
    out: Annotated[Path, typer.Option(help="Parquet file to write.")],
    mapping: MappingName = None,
    settings_file: SettingsFile = None,
    json_output: AsJson = False,
) -> None:
    """Write every subscriber's windows as of a day.

    The sums are made by the same core that runs live.

    Example: churn-warning windows usage.parquet --mapping prepaid_monthly --as-of 2013-08-31 --out windows.parquet
    """
    settings = read_settings(settings_file)
    source = Source(file, read_mapping(settings, mapping))
    try:
        config = config_of(settings, read_rulebook(settings))
        answer = write_windows(source, as_of.date(), out, config, lambda pieces: watched(pieces, "Summing"))
    except (FileError, SettingsError) as error:
        fail(str(error))
    note_silence(as_of.date(), date.fromisoformat(str(answer["last_day"])))
    finish(answer, f"The windows of {answer['subscribers']:,} subscribers are in {out}.", as_json=json_output)


def bootstrap(  # noqa: PLR0913 - the options of a command are its parameters
    file: File,
    *,
    mapping: MappingName = None,
    aggregates: Annotated[
        bool,
        typer.Option(
            "--aggregates",
            help="FILE holds days, not events: Parquet (a file, a folder, a quoted pattern) with subscriber_id, day "
            "and any measures, one line per subscriber and day. For whole cities; needs disk for as much again.",
        ),
    ] = False,
    profiles: Annotated[
        Path | None, typer.Option(help="Table of profiles: subscriber_id and any fields of subscriber.profile.")
    ] = None,
    settings_file: SettingsFile = None,
    json_output: AsJson = False,
) -> None:
    """Load history before day one.

    A file's usage becomes each shard's first snapshot; a store in use is refused.

    Examples: churn-warning bootstrap usage.parquet --mapping prepaid_monthly --profiles profiles.parquet;
    churn-warning bootstrap days/ --aggregates --profiles profiles.parquet
    """
    settings = read_settings(settings_file)
    chosen = read_mapping(settings, mapping)
    if aggregates and chosen is not None:
        fail("--aggregates and --mapping exclude each other: aggregates are not told by a mapping")
    try:
        if aggregates:
            answer = _load_days(file, profiles, settings)
        else:
            known = Known(Source(file, chosen), profiles)
            answer = load(known, store_of(settings), _lot(settings), lambda pieces: watched(pieces, "Loading"))
    except (FileError, NotEmptyError, SettingsError) as error:
        fail(str(error))
    except OSError as error:
        fail(unasked(settings, error))
    sentence = (
        f"{answer['subscribers']:,} subscribers of {answer['first_day']} to {answer['last_day']} are the first "
        f"snapshots of {answer['shards']} shards in {settings.snapshots.folder}."
    )
    finish(answer, sentence, as_json=json_output)


def _load_days(file: Path, profiles: Path | None, settings: Settings) -> dict[str, int | str]:
    lot = _lot(settings)
    today = day_at(SystemClock().now_us(), lot.config.zone)
    known = KnownDays(file, today, profiles)
    return bootstrap_days(known, store_of(settings), lot, lambda shards: watched(shards, "Loading"))


def _lot(settings: Settings) -> Lot:
    rulebook = read_rulebook(settings)
    return Lot(config_of(settings, rulebook), rulebook, intake=intake_of(settings, None))


def backtest(  # noqa: PLR0913 - the options of a command are its parameters
    file: OptionalFile = None,
    *,
    labels: Annotated[str | None, typer.Option(help="Column of the file that says who left: 1 or 0.")] = None,
    as_of: AsOfDay = None,
    left_on: Annotated[
        str | None, typer.Option(help="Column with the day of leaving; without it, the day after --as-of.")
    ] = None,
    mapping: MappingName = None,
    aggregates: Aggregates = None,
    days: Annotated[int, typer.Option(min=1, max=400, help="How many days are judged, without a usage file.")] = 90,
    settings_file: SettingsFile = None,
    json_output: AsJson = False,
) -> None:
    """Try the rules on the past.

    Who was warned at the close of a day, how many of them left and how long before; how good the order of the call list
    is (rules/call_order.yaml), over all and within the groups named there. What a breaker, a cap or the first day of a
    rulebook withholds counts as warned, and its orders as made.

    Without a file the usage of the last days is judged that lies in the store, or in --aggregates: there `warned` is
    who was at any time of these days, who left is who was cancelled in them; what inhibits or mutes is left out.

    Example: churn-warning rules backtest usage.parquet --mapping prepaid_monthly --labels churn_sept --as-of 2013-08-31
    """
    settings = read_settings(settings_file)
    rulebook = read_rulebook(settings)
    if file is None:
        _try_on_store(settings, rulebook, (aggregates, as_of, days), as_json=json_output)
        return
    chosen = read_mapping(settings, mapping)
    if chosen is None:
        fail("Labels stand in rows, so a mapping must tell whose they are: --mapping NAME")
    if labels is None or as_of is None:
        fail("A usage file is judged as of a day, by a column that says who left: --as-of YYYY-MM-DD --labels COLUMN")
    try:
        question = Question(file, chosen, labels, as_of.date(), left_on)
        tried = judge(question, rulebook, config_of(settings, rulebook), lambda pieces: watched(pieces, "Judging"))
    except (FileError, SettingsError) as error:
        fail(str(error))
    note_silence(as_of.date(), tried.last_day)
    finish(tried.plain(), _table(tried), as_json=json_output)


def _try_on_store(
    settings: Settings, rulebook: Rulebook, asked: tuple[Path | None, datetime | None, int], *, as_json: bool
) -> None:
    aggregates, as_of, count = asked
    try:
        days, found = tally(settings, rulebook, aggregates, None if as_of is None else to_day(as_of.date()), count)
    except (FileError, SettingsError, DamagedError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"The past cannot be read: {error.strerror or error}")
    answer = {"first_day": str(to_date(days[0])), "last_day": str(to_date(days[-1])), **found.plain()}
    finish(answer, table(answer), as_json=as_json)


def _table(tried: Backtest) -> str:
    lines = [f"{tried.labelled:,} labelled subscribers, {tried.leavers:,} of whom left", ""]
    heads = ("warned", "precision", "recall", "lift", "a day", "lead days", "at risk")
    lines.append(f"{'':24}" + "".join(f"{head:>10}" for head in heads) + "  mostly also")
    for name, one in tried.scores.items():
        shared = "" if one.overlap is None else f"  {one.overlap.rule} {one.overlap.share:.0%}"
        figures = (one.warned_per_day, one.lead_days, one.money_at_risk_minor)
        lines.append(
            f"{name:24}{_fractions(one.score)}" + "".join(f"{_short(figure):>10}" for figure in figures) + shared
        )
    lines += ["", f"{'first 5 % of the calls':24}" + "".join(f"{head:>10}" for head in (*heads[:4], "ROC AUC"))]
    for name, order in tried.orders.items():
        auc = "-" if order.roc_auc is None else f"{order.roc_auc:.3f}"
        lines.append(f"{name:24}{_fractions(order.top)}{auc:>10}")
    return "\n".join(lines)


def _fractions(score: Score) -> str:
    shown = ["-" if ratio is None else f"{ratio:.3f}" for ratio in (score.precision, score.recall, score.lift)]
    return f"{score.warned:>10,}" + "".join(f"{ratio:>10}" for ratio in shown)


def _short(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:,.0f}" if isinstance(figure, int) else f"{figure:,.1f}"
