"""What an uninterrupted service must say of a log of usage events: the core over the whole of it, without a broker."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date

from aiokafka import ConsumerRecord

from service.app import config_of, intake_of
from service.commands.context import read_rulebook
from service.core.calendar import to_day
from service.core.events import CHANNELS
from service.core.state import new_state
from service.core.step import close_through, step
from service.core.turn import Turn
from service.settings import load
from service.wire.decode import decode
from service.wire.messages import Outlet, turn_messages
from service.wire.records import Record
from service.wire.segments import segment_messages
from service.wire.topics import Topics
from tests.e2e.running import committed, completed

_BATCH = 30_000

Said = Counter[tuple[str, int, bytes, bytes, tuple[tuple[str, bytes], ...]]]  # topic, partition, key, value, headers
Left = Counter[tuple[str, int, int]]  # topic of what does not count, partition and offset of the record


def _record(one: ConsumerRecord) -> Record:
    return Record(one.topic, one.partition, one.offset, one.timestamp * 1000, one.key, one.value, one.headers)


def names(environ: Mapping[str, str]) -> Topics:
    """The topics of a service with these settings."""
    return Topics(load(environ).topics.prefix)


def spoken(environ: Mapping[str, str]) -> list[str]:
    """Topics on which warnings, orders and changes of segment are told."""
    topics = names(environ)
    return [topics.warnings, topics.segments, *(topics.outbound(channel) for channel in CHANNELS)]


def retell(environ: Mapping[str, str], log: Sequence[ConsumerRecord], through: date) -> tuple[Said, Left]:
    """What must be said of a log, and which records must be left out."""
    settings, said, left = load(environ), Said(), Left()
    rulebook = read_rulebook(settings)
    intake, topics = intake_of(settings, None), names(environ)
    for partition in range(settings.topics.partitions):
        records = [_record(one) for one in log if one.partition == partition]
        state, outlet = new_state(config_of(settings, rulebook)), Outlet(topics, partition, settings.money.currency)
        turns: list[Turn] = []
        for first in range(0, len(records), _BATCH):
            decoded = decode(records[first : first + _BATCH], intake)
            left.update((topics.dead_letters, partition, reject.record.offset) for reject in decoded.rejects)
            turns += step(state, rulebook, decoded.batch)
        turns += close_through(state, rulebook, to_day(through), "clock")
        for turn in turns:
            left.update((topics.late, partition, offset) for offset in turn.late["offset"].to_list())
            told = [*turn_messages(turn.transitions, outlet), *segment_messages(turn.segments, outlet)]
            said.update((m.topic, m.partition, m.key or b"", m.value or b"", m.headers) for m in told)
    return said, left


def found(environ: Mapping[str, str], bootstrap: str) -> tuple[Said, Left, list[ConsumerRecord]]:
    """What a committed reader finds: what was said, what was left out, and the log of usage events."""
    topics = names(environ)
    wanted = [topics.usage, *spoken(environ), topics.late, topics.dead_letters]
    records = completed(committed(bootstrap, wanted))
    said = Said(
        (one.topic, one.partition, one.key, one.value, tuple(one.headers))
        for topic in spoken(environ)
        for one in records[topic]
    )
    left = _left(records[topics.late], "churn.late.") + _left(records[topics.dead_letters], "__connect.errors.")
    return said, left, records[topics.usage]


def _left(records: Iterable[ConsumerRecord], prefix: str) -> Left:
    told = [(one.topic, dict(one.headers)) for one in records]
    return Left((topic, int(of[f"{prefix}partition"]), int(of[f"{prefix}offset"])) for topic, of in told)
