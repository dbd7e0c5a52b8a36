"""The commands `dead-letters list`, `show` and `replay`: what could not be read, and sending it again once it can."""

import contextlib
import re
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.app import intake_of
from service.commands.broker import ask, require_topics
from service.commands.console import NO, fail, finish, printable
from service.commands.context import AsJson, SettingsFile, read_settings
from service.kafka.letters import LetterMissing, Letters, Overtaken
from service.kafka.log import KafkaLog
from service.kafka.publisher import KafkaPublisher
from service.logs import hashed, show_ids
from service.rulebook.problems import suggest
from service.settings import Settings
from service.wire.feedback import instant_text
from service.wire.letters import Asked, Fate, Letter, Survey
from service.wire.rejects import Fault
from service.wire.topics import Topics

dead_letters = typer.Typer(help="Look at dead letters, and send them again.", no_args_is_help=True)

_T = TypeVar("_T")

_PLACE = re.compile(r"(\d{1,9}):(\d{1,18})", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Reason = Annotated[str | None, typer.Option(help="Only letters of this reason, such as malformed.")]
Since = Annotated[str | None, typer.Option(help="Only letters from this instant on, such as 2025-01-31T08:00:00Z.")]
Until = Annotated[str | None, typer.Option(help="Only letters before this instant.")]
Plain = Annotated[bool, typer.Option("--plain", help="Show ids of subscribers as they are, not their hashes.")]


@dead_letters.command("list")
def list_(  # noqa: PLR0913 - the options of a command are its parameters
    *,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=0, max=100_000, help="How many of the newest to show.")] = 20,
    plain: Plain = False,
    settings_file: SettingsFile = None,
    json_output: AsJson = False,
) -> None:
    """Count dead letters by reason, and list the newest.

    Example: churn-warning dead-letters list --reason malformed --since 2025-01-31T08:00:00Z
    """
    asked = _asked(reason, since, until)
    settings = read_settings(settings_file)
    key = settings.log.id_key
    show_ids(plain=plain or settings.log.level == "debug", id_key=key.get_secret_value() if key else "")
    survey = _ask(settings, lambda letters: letters.survey(asked, limit))
    sentence = f"{survey.letters.total():,} dead letters, of which {survey.replayed.total():,} were replayed."
    if json_output:
        reasons = {one: {"letters": n, "replayed": survey.replayed[one]} for one, n in survey.letters.most_common()}
        counts = {"letters": survey.letters.total(), "replayed": survey.replayed.total(), "reasons": reasons}
        newest = [_told(letter) | {"replayed": replayed} for letter, replayed in survey.newest()]
        finish(counts | {"newest": newest}, "", as_json=True)
        return
    _print_tables(survey)
    typer.echo(sentence)


@dead_letters.command()
def show(
    partition: Annotated[int, typer.Argument(min=0, help="Its partition, as the list tells it.")],
    offset: Annotated[int, typer.Argument(min=0, help="Its offset there.")],
    *,
    raw: Annotated[bool, typer.Option("--raw", help="Only the original value, byte for byte.")] = False,
    settings_file: SettingsFile = None,
    json_output: AsJson = False,
) -> None:
    """Show one dead letter: its headers and original value.

    What is no text in them, or would do something to a terminal, is escaped.

    Example: churn-warning dead-letters show 3 1729
    """
    if raw and json_output:
        fail("--raw and --json exclude each other: the bytes alone, or an object")
    letter = _ask(read_settings(settings_file), lambda letters: letters.find(partition, offset))
    value = letter.record.value
    if raw:
        sys.stdout.buffer.write(value or b"")
        return
    # The value that was asked for says as much of its subscriber as the key.
    told = _told(letter) | {"subscriber": None if (key := letter.record.key) is None else printable(key)}
    headers = [[printable(name), printable(content or b"")] for name, content in letter.record.headers]
    text = None if value is None else printable(value)
    if json_output:
        finish(told | {"headers": headers, "value": text}, "", as_json=True)
        return
    for name, content in (*told.items(), *((f"header {name}", content) for name, content in headers)):
        typer.echo(f"{name}: {content}")
    typer.echo(f"\n{'(no value)' if text is None else text}")


@dead_letters.command()
def replay(  # noqa: PLR0913 - the options of a command are its parameters
    *,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int | None, typer.Option(min=1, help="How many at most, the oldest first; all if absent.")] = None,
    at: Annotated[str | None, typer.Option(metavar="PARTITION:OFFSET", help="Only this one letter.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Send nothing, say what would be done.")] = False,
    settings_file: SettingsFile = None,
    json_output: AsJson = False,
) -> None:
    """Send dead letters back where they came from, each once.

    However often this runs, is killed, or runs twice at a time: a letter that was replayed is marked so in the same
    transaction and passed over from then on. One that is bad again becomes a new dead letter, and many of them at once
    make shards hold their usage back: try a few first. Status 1 if any cannot be sent: its value was left out for its
    size, or it names no topic of ours.

    Example: churn-warning dead-letters replay --reason unmapped --limit 100
    """
    asked = _asked(reason, since, until, at)
    if at is not None and (reason, since, until, limit) != (None, None, None, None):
        fail("--at names one letter: leave out --reason, --since, --until and --limit")
    settings = read_settings(settings_file)

    async def work(letters: Letters) -> dict[Fate, int]:
        if asked.at is not None:
            await letters.find(*asked.at)
        fates = await (letters.foresee(asked, limit) if dry_run else letters.replay(asked, limit))
        return {fate: fates[fate] for fate in Fate}

    fates = _ask(settings, work)
    told = [
        f"{'Would replay' if dry_run else 'Replayed'} {fates[Fate.SENT]:,} dead letters.",
        f"{fates[Fate.REPLAYED]:,} were replayed before.",
        f"{fates[Fate.CUT]:,} cannot be, for the broker took no record of their size and they lack their value.",
        f"{fates[Fate.FOREIGN]:,} cannot be, for they name no topic and partition of ours.",
    ]
    sentence = " ".join(line for line, count in zip(told, fates.values(), strict=True) if count or line is told[0])
    finish({"dry_run": dry_run} | {str(fate): count for fate, count in fates.items()}, sentence, as_json=json_output)
    if fates[Fate.CUT] or fates[Fate.FOREIGN]:
        raise typer.Exit(NO)


def _asked(reason: str | None, since: str | None, until: str | None, at: str | None = None) -> Asked:
    """What the options ask for, or the end with a sentence."""
    if reason is not None and reason not in set(Fault):
        fail(f"--reason {reason} is no reason{suggest(reason, Fault)}; there are {', '.join(Fault)}")
    since_us, until_us = _instant("--since", since), _instant("--until", until)
    if since_us is not None and until_us is not None and since_us >= until_us:
        fail(f"--since {since} is not before --until {until}: no letter can be between")
    return Asked(reason, since_us, until_us, _place(at))


def _instant(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    at = None
    with contextlib.suppress(ValueError):
        at = datetime.fromisoformat(text)
    if at is None or at.tzinfo is None:
        fail(f"{option} {printable(text)} is no instant of RFC 3339, such as 2025-01-31T08:00:00Z")
    return (at - _EPOCH) // timedelta(microseconds=1)


def _place(at: str | None) -> tuple[int, int] | None:
    if at is None:
        return None
    parts = _PLACE.fullmatch(at)
    if parts is None:
        fail(f"--at {printable(at)} is no place, which is PARTITION:OFFSET as the list tells them, such as 3:1729")
    return int(parts[1]), int(parts[2])


def _ask(settings: Settings, task: Callable[[Letters], Coroutine[Any, Any, _T]]) -> _T:
    return ask(_opened(settings), task, LetterMissing, Overtaken)


@contextlib.asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Letters]:
    topics = Topics(settings.topics.prefix)
    await require_topics(settings, topics.usage, topics.feedback, topics.dead_letters)

    def publisher() -> KafkaPublisher:
        # Of the topic alone: two replays of it meet under whatever other settings.
        return KafkaPublisher(settings.kafka, f"churn-warning-{topics.dead_letters}-replay")

    log = KafkaLog(settings.kafka)
    try:
        await log.start()
        yield Letters(log, topics, intake_of(settings, None), publisher)
    finally:
        await log.stop()


def _print_tables(survey: Survey) -> None:
    console = Console()
    reasons = Table("reason", "letters", "replayed")
    for reason, count in survey.letters.most_common():
        reasons.add_row(Text(printable(reason)), f"{count:,}", f"{survey.replayed[reason]:,}")
    newest = Table("partition", "offset", "when", "reason", "from", "bytes", "subscriber", "replayed")
    for letter, replayed in survey.newest():
        told = _told(letter)
        cells = (told["partition"], told["offset"], told["at"], told["reason"], told["from"], told["size_bytes"])
        last = (told["subscriber"] or "", "yes" if replayed else "")
        newest.add_row(*(Text(str(cell)) for cell in (*cells, *last)))
    for table in (reasons, newest):
        if table.row_count:
            console.print(table)


def _told(letter: Letter) -> dict[str, Any]:
    record, key = letter.record, letter.record.key
    return {
        "partition": record.partition,
        "offset": record.offset,
        "at": instant_text(record.timestamp_us),
        "reason": printable(letter.reason),
        "message": printable(letter.message),
        "from": f"{printable(letter.topic)}-{letter.partition}@{letter.offset}",
        "size_bytes": letter.size_bytes,
        "subscriber": None if key is None else printable(hashed(key.decode(errors="replace"))),
    }
