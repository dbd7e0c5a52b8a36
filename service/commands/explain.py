"""The command `rules explain`: of each rule why it holds of a subscriber, or which number is missing by how much."""

from collections.abc import Iterator
from datetime import date
from typing import Annotated

import typer

from service.app import config_of, intake_of
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
from service.commands.sealed import check_closed, newest_of, partitions_in, past_of
from service.core.calendar import to_date, to_day
from service.core.cohorts import compare
from service.core.frames import from_frames
from service.core.panes import DamagedError
from service.core.rules import Rulebook
from service.core.state import Config, State
from service.history.explain import Answer, Explanation, number
from service.history.explain import explain as ask
from service.history.files import FileError, Source, read_usage
from service.history.past import Lot, live_through
from service.history.sealed import check_reach, open_sealed
from service.ports import Snapshot
from service.rulebook.problems import suggest
from service.settings import Settings, SettingsError
from service.store.store import Store
from service.wire.partitioning import partitions_of

_MOST_NAMES = 100_000  # among which the nearest one is looked for
_WORDS = {True: "yes", False: "no", None: "unknown"}


def explain(  # noqa: PLR0913 - the options of a command are its parameters
    subscriber: Annotated[str, typer.Argument(help="Subscriber's id.")],
    file: OptionalFile = None,
    *,
    as_of: AsOfDay = None,
    mapping: MappingName = None,
    aggregates: Aggregates = None,
    rule: Annotated[str | None, typer.Option(help="Only this rule.")] = None,
    settings_file: SettingsFile = None,
    json_output: AsJson = False,
) -> None:
    """Say why each rule holds of a subscriber or not.

    Every condition with its values, and which number is missing by how much; from a usage file, or from the newest
    snapshot of the subscriber's shard. Of a day before that snapshot usage is known, and profile and bundles as of the
    snapshot; which warnings are open, and by what they are withheld, is known from a usage file.

    Example: churn-warning rules explain 861380000000001 --as-of 2024-03-01
    """
    settings = read_settings(settings_file)
    rulebook = read_rulebook(settings)
    ids = [one.id for one in rulebook.rules]
    if rule is not None and rule not in ids:
        fail(f"there is no rule {rule}{suggest(rule, ids)}")
    day = None if as_of is None else to_day(as_of.date())
    try:
        config = config_of(settings, rulebook)
        if file is None:
            with past_of(settings, rulebook, aggregates) as store:
                state, row = _of_store(settings, rulebook, store, subscriber, day)
        else:
            if day is None:
                fail("A usage file is judged as of a day: --as-of YYYY-MM-DD")
            source = Source(file, read_mapping(settings, mapping))
            state, row = _of_file(source, Lot(config, rulebook), subscriber, day)
    except (FileError, SettingsError, DamagedError, ValueError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"The past cannot be read: {error.strerror or error}")
    closed = to_date(state.closed_day or 0)
    told = [one for one in ask(state, rulebook, row) if rule in (None, one.rule)]
    answer = {"subscriber": subscriber, "as_of": str(closed), "rules": [one.plain() for one in told]}
    finish(answer, "\n".join(_sentences(subscriber, closed, told)), as_json=json_output)


def _of_file(source: Source, lot: Lot, subscriber: str, day: int) -> tuple[State, int]:
    usage = read_usage(source)
    try:
        past, last = live_through(usage.events, lot, day, lambda pieces: watched(pieces, "Judging"), judged=True)
    except FileError as error:
        raise FileError(f"{source.file}: {error}") from error
    note_silence(to_date(day), last)
    row = past.state.roster.number(subscriber)
    if row < 0:
        raise _unknown(past.state, subscriber, str(source.file))
    return past.state, row


def _of_store(
    settings: Settings, rulebook: Rulebook, store: Store, subscriber: str, day: int | None
) -> tuple[State, int]:
    config, intake = config_of(settings, rulebook), intake_of(settings, None)
    partitions = partitions_in(settings, store)
    if intake.partitioner != "any":
        partitions = partitions_of([subscriber.encode()], intake.partitions, intake.partitioner).tolist()
    for partition in partitions:
        snapshot = newest_of(settings, store, partition)
        state = from_frames(config, snapshot.manifest, snapshot.frames, snapshot.stored)
        row = state.roster.number(subscriber)
        if row < 0:
            continue
        closed = state.closed_day
        if closed is None:
            raise FileError(f"shard {partition} has closed no day yet")
        check_closed(closed if day is None else day, closed)
        if day is not None and day < closed:
            state = _stood(config, rulebook, newest_of(settings, store, partition), day)
        state.cohorts.table = compare(state.windows, state.attributes, state.rows, rulebook, state.closed_day or 0)
        return state, row
    raise _unknown(state, subscriber, f"the snapshot of shard {partition}")


def _stood(config: Config, rulebook: Rulebook, snapshot: Snapshot, day: int) -> State:
    """A shard as of the close of an earlier day."""
    shard = open_sealed(config, snapshot)
    if shard is None:
        raise FileError("the shard has closed no day yet")
    check_reach([shard], day)
    names = {name for one in rulebook.rules for name in one.names if not name.startswith("event.")}
    shard.ask(rulebook, sorted(names))
    shard.stand(day)
    return shard.state


def _unknown(state: State, subscriber: str, where: str) -> FileError:
    names = state.roster.take(state.rows).to_list() if state.subscribers <= _MOST_NAMES else []
    return FileError(f"there is no subscriber {subscriber} in {where}{suggest(subscriber, names)}")


def _sentences(subscriber: str, closed: date, told: list[Explanation]) -> Iterator[str]:
    yield f"{subscriber} at the close of {closed}"
    for one in told:
        yield ""
        on = f", judged when {' or '.join(one.on)} arrives" if one.on else ""
        status = "" if one.status == "stable" else f" ({one.status})"
        yield f"{one.rule}{status}: {_WORDS[one.holds]}{on}"
        if one.warning is not None:
            withheld = one.warning.suppressed_by
            published = f"withheld: {withheld}" if withheld else "published"
            yield f"  open since {one.warning.raised_on}, {one.warning.severity}, {published}"
        # The condition as a whole is said already.
        whole = one.when.parts if one.when.joined == "and" else (one.when,)
        for part in whole:
            yield from _lines(part, "  ")


def _lines(answer: Answer, indent: str) -> Iterator[str]:
    if answer.parts:
        what = "any of" if answer.joined == "or" else "all of"
        yield f"{indent}{_WORDS[answer.is_true]:8}{what}"
        for part in answer.parts:
            yield from _lines(part, f"{indent}  ")
        return
    values = ", ".join(f"{name} {number(value)}" for name, value in answer.values.items() if value is not None)
    noted = "; ".join(part for part in (values, answer.missing) if part)
    yield f"{indent}{_WORDS[answer.is_true]:8}{answer.text}" + (f"   [{noted}]" if noted else "")
