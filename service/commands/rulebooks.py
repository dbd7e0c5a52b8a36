"""The commands `rules publish`, `versions` and `release`: which rulebook judges from when, and what it kept back."""

import contextlib
import getpass
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.app import builder_of, config_of, domains, given_params
from service.clock import SystemClock
from service.commands.broker import ask, require_topics
from service.commands.console import NO, fail, finish, printable
from service.commands.context import AsJson, SettingsFile, read_settings
from service.core.books import Books
from service.core.calendar import day_at, to_date, to_day
from service.core.rules import Rulebook
from service.kafka.log import KafkaLog
from service.kafka.publisher import KafkaPublisher
from service.kafka.rulebooks import (
    DayMissing,
    Overtaken,
    Published,
    RulebookTopic,
    TooEarly,
    VersionMissing,
    Wish,
)
from service.kafka.sender import KafkaSender
from service.rulebook.loading import load
from service.rulebook.problems import RulebookError, suggest
from service.settings import Settings, SettingsError
from service.wire.feedback import Released, instant_text, to_partition
from service.wire.rulebooks import Version, publications_of
from service.wire.topics import Topics

_T = TypeVar("_T")
_MOST_TEXT = 256  # of a name, as the contract has it
By = Annotated[str | None, typer.Option("--by", help="Who does it; the user of this machine if absent.")]


class Withheld(StrEnum):
    """Why warnings are kept back until somebody releases them."""

    STANDING = "standing"
    BREAKER = "breaker"


@dataclass(frozen=True, slots=True)
class _Known:
    """What was published, and the last closed day of each shard by partition."""

    versions: Mapping[str, Version]
    closed: Mapping[int, int]


def publish(  # noqa: PLR0913 - the options of a command are its parameters
    folder: Annotated[Path | None, typer.Argument(help="Rules folder; the settings' if absent.")] = None,
    *,
    rulebook_hash: Annotated[
        str | None, typer.Option("--hash", help="A version that was published before, to roll back to.")
    ] = None,
    effective: Annotated[
        str | None, typer.Option(metavar="DAY", help="The first day it judges; that after the open day if absent.")
    ] = None,
    by: By = None,
    settings_file: SettingsFile = None,
    json_output: AsJson = False,
) -> None:
    """Publish a rulebook, to judge from a day on.

    Every shard switches at its close of that day, also of a service that runs. The folder is checked first, and
    nothing published where anything is wrong. The day must be later than the open day of every shard; status 1 if
    some shard has opened it meanwhile.

    Example: churn-warning rules publish rules/ --effective 2026-02-01 --by mona
    """
    if folder is not None and rulebook_hash is not None:
        fail("--hash names a version that was published: leave out the folder")
    settings = read_settings(settings_file)
    who, day = _who(by), _day("--effective", effective)
    read = None if rulebook_hash is not None else _read(settings, folder or settings.rules.folder)
    now_us = SystemClock().now_us()

    async def work(topic: RulebookTopic) -> tuple[Published, Rulebook]:
        rulebook = read or _built(settings, await topic.versions(), str(rulebook_hash))
        wish = Wish(
            hash=rulebook.hash,
            files=rulebook.contents,
            effective_on=day,
            today=day_at(now_us, settings.time.zone) if settings.time.clock == "wall" else None,
            by=who,
            at=instant_text(now_us),
        )
        return await topic.publish(wish), rulebook

    published, rulebook = _ask(settings, work)
    publication, late = published.publication, published.overtaken_by
    answer = {
        "hash": publication.hash,
        "rules": [rule.id for rule in rulebook.rules],
        "effective_on": to_date(publication.effective_on).isoformat(),
        "number": publication.number,
        "by": who,
        "opened_before": list(late),
    }
    sentence = f"Rulebook {publication.hash} with {len(rulebook.rules)} rules judges from {answer['effective_on']} on."
    if late:
        sentence += (
            f" But partitions {', '.join(map(str, late))} had opened that day meanwhile and switch when they hear of "
            "it: publish it for a later day where all are to switch together."
        )
    finish(answer, sentence, as_json=json_output)
    if late:
        raise typer.Exit(NO)


def versions(*, settings_file: SettingsFile = None, json_output: AsJson = False) -> None:
    """List what was published, and which of it judges.

    Until the first of them takes effect, each process judges by its own rules folder.

    Example: churn-warning rules versions
    """
    settings = read_settings(settings_file)
    known = _ask(settings, _known)
    open_day = max((day + 1 for day in known.closed.values()), default=None)
    build, states = builder_of(settings), _states(known, open_day)
    lines = []
    for one in reversed(publications_of(list(known.versions.values()))):
        problems: tuple[str, ...] = ()
        try:
            rules = len(build(known.versions[one.hash].files).rules)
        except RulebookError as error:
            rules, problems = 0, tuple(map(str, error.problems))
        lines.append(
            {
                "number": one.number,
                "hash": one.hash,
                "effective_on": to_date(one.effective_on).isoformat(),
                "state": states[one.number],
                "rules": rules,
                "by": one.by,
                "published_at": one.published_at,
                "problems": list(problems),
            }
        )
    if json_output:
        told = None if open_day is None else to_date(open_day).isoformat()
        finish({"open_day": told, "publications": lines}, "", as_json=True)
        return
    _print(lines)
    typer.echo(f"{len(known.versions)} rulebooks were published, {len(lines)} times in all.")


def release(  # noqa: PLR0913 - the options of a command are its parameters
    what: Annotated[Withheld, typer.Argument(help="Why they were kept back.")],
    *,
    rule: Annotated[str | None, typer.Option(help="Warnings of this rule only; of all if absent.")] = None,
    through: Annotated[
        str | None, typer.Option(metavar="DAY", help="Those raised until this day; the last closed one if absent.")
    ] = None,
    by: By = None,
    note: Annotated[str | None, typer.Option(help="Why.")] = None,
    settings_file: SettingsFile = None,
    json_output: AsJson = False,
) -> None:
    """Let warnings out that were kept back.

    `standing` are those that were true on a rulebook's first day; `breaker` those of a close that would have told of
    more subscribers than a close may. Every shard publishes at its next close those that are still open, with their
    orders.

    Example: churn-warning rules release standing --rule silent_14d --by mona
    """
    settings = read_settings(settings_file)
    who, day = _who(by), _day("--through", through)
    known = _ask(settings, _known)
    _require_rule(settings, known, rule)
    day = day if day is not None else max(known.closed.values(), default=None)
    if day is None:
        fail("No shard has closed a day yet, so nothing is kept back: name the day by --through")
    now_us = SystemClock().now_us()
    report = Released(
        id=f"release-{what}-{rule or 'all'}-{to_date(day)}-{now_us}",
        what=what.value,
        raised_through=to_date(day).isoformat(),
        by=who,
        occurred_at=instant_text(now_us),
        rule=rule,
        note=note,
    )
    topics = Topics(settings.topics.prefix)

    async def tell_all(sender: KafkaSender) -> None:
        for partition in range(settings.topics.partitions):
            await sender.send(to_partition(report, topics.feedback, partition))

    ask(_sending(settings, topics), tell_all)
    answer = {"what": str(what), "rule": rule, "through": report.raised_through, "by": who}
    of_rule = "" if rule is None else f" of {rule}"
    finish(
        answer,
        f"At its next close every shard publishes what was kept back as {what}{of_rule}, raised until {to_date(day)} "
        "and is still open.",
        as_json=json_output,
    )


def _read(settings: Settings, folder: Path) -> Rulebook:
    """The rulebook of a folder, or the end with every fault named by file and line."""
    try:
        rulebook = load(folder, domains(settings), given_params(settings))
        config_of(settings, rulebook)
    except (RulebookError, SettingsError) as error:
        fail(str(error))
    return rulebook


def _built(settings: Settings, known: Mapping[str, Version], rulebook_hash: str) -> Rulebook:
    """A version that was published, or the end with all that is wrong with it by now."""
    if rulebook_hash not in known:
        raise VersionMissing(rulebook_hash, known)
    try:
        return builder_of(settings)(known[rulebook_hash].files)
    except RulebookError as error:
        fail(f"Rulebook {rulebook_hash} cannot be used with these settings:\n{error}")


def _who(by: str | None) -> str:
    if by is None:
        try:
            by = getpass.getuser()
        except (KeyError, OSError):
            fail("The user of this machine has no name: say who you are by --by")
    if not 0 < len(by) <= _MOST_TEXT:
        fail(f"--by must have 1 to {_MOST_TEXT} characters")
    return by


def _day(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return to_day(date.fromisoformat(text))
    except ValueError:
        fail(f"{option} {printable(text)} is no day, such as 2026-02-01")


def _require_rule(settings: Settings, known: _Known, rule: str | None) -> None:
    """A rule of the folder, or of any version that was published; else the end with the nearest one's name."""
    if rule is None:
        return
    ids = {Path(file).stem for version in known.versions.values() for file in version.files}
    with contextlib.suppress(RulebookError):
        ids |= {one.id for one in load(settings.rules.folder, domains(settings), given_params(settings)).rules}
    if rule not in ids:
        fail(f"--rule {printable(rule)} is no rule{suggest(rule, ids)}")


async def _known(topic: RulebookTopic) -> _Known:
    return _Known(await topic.versions(), await topic.closed_days())


def _states(known: _Known, open_day: int | None) -> dict[int, str]:
    """Of each publication by number what it is for the latest open day: in force, next, later, past or replaced."""
    publications = publications_of(list(known.versions.values()))
    names = {one.hash: Rulebook(one.hash, ()) for one in publications}
    books = Books(Rulebook("", ()), names, publications)
    today = -1 if open_day is None else open_day
    now, then = books.publication_on(today), books.next_after(today)
    states = {}
    for one in publications:
        if books.publication_on(one.effective_on) != one:
            states[one.number] = "replaced"
        elif one in (now, then):
            states[one.number] = "in force" if one == now else "next"
        else:
            states[one.number] = "later" if one.effective_on > today else "past"
    return states


def _print(lines: list[dict[str, Any]]) -> None:
    table = Table("day", "rulebook", "state", "rules", "by", "published")
    for line in lines:
        cells = (line["effective_on"], line["hash"], line["state"], line["rules"], line["by"], line["published_at"])
        table.add_row(*(Text(printable(str(cell))) for cell in cells))
    if lines:
        Console().print(table)
    for problem in dict.fromkeys(f"{line['hash']}: {one}" for line in lines for one in line["problems"]):
        typer.echo(printable(problem))


def _ask(settings: Settings, task: Callable[[RulebookTopic], Coroutine[Any, Any, _T]]) -> _T:
    """What a task with the topic gives, or the end with a sentence."""
    try:
        return ask(_opened(settings), task, Overtaken)
    except VersionMissing as missing:
        near = suggest(missing.hash, missing.known) or "; `rules versions` lists them"
        fail(f"--hash {printable(missing.hash)} was never published{near}")
    except TooEarly as early:
        day = to_date(early.earliest)
        fail(f"Some shard has closed that day or has it open: the earliest day is {day} (--effective {day})")
    except DayMissing:
        fail("No shard has closed a day yet, so nobody knows which comes next: name it by --effective")


@contextlib.asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[RulebookTopic]:
    topics = Topics(settings.topics.prefix)
    await require_topics(settings, topics.rulebook, topics.decisions)

    def publisher() -> KafkaPublisher:
        # Of the topic alone: two that publish to it meet under whatever other settings.
        return KafkaPublisher(settings.kafka, f"churn-warning-{topics.rulebook}-publish")

    log = KafkaLog(settings.kafka)
    try:
        await log.start()
        yield RulebookTopic(log, topics, settings.topics.partitions, publisher)
    finally:
        await log.stop()


@contextlib.asynccontextmanager
async def _sending(settings: Settings, topics: Topics) -> AsyncIterator[KafkaSender]:
    await require_topics(settings, topics.feedback)
    sender = KafkaSender(settings.kafka)
    await sender.start()
    try:
        yield sender
    finally:
        await sender.stop()
