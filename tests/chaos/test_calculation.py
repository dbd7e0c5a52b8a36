"""What the core calculates in one go is what a shard says turn by turn, acknowledgements included."""

from service.core.state import new_state
from service.ports import Records
from service.wire.feedback import Acknowledged, of_warning
from service.wire.messages import Outlet
from tests.chaos.calculation import DAY, Input, calculate
from tests.chaos.comparison import Said, compare, said
from tests.doubles.stand import PARTITIONS, TOPICS, Stand, month, neighbours
from tests.shard.runs import AT, live_through

OUT = [
    *(TOPICS.warnings, TOPICS.segments, TOPICS.late, TOPICS.dead_letters),
    *(TOPICS.outbound(one) for one in ("call", "sms", "manager")),
]


def found(stand: Stand) -> list[Said]:
    days = (one for one in stand.records(TOPICS.decisions, AT) if one.key is not None and one.key.startswith(DAY))
    return [said(record) for record in (*(one for topic in OUT for one in stand.records(topic, AT)), *days)]


def expected(stand: Stand) -> list[Said]:
    usage, feedback = (Records.of(stand.records(topic, AT)) for topic in (TOPICS.usage, TOPICS.feedback))
    given = Input(usage, feedback, stand.records(TOPICS.decisions, AT))
    terms = stand.terms
    messages = calculate(given, new_state(terms.config), terms.rulebook, terms.intake, Outlet(TOPICS, AT))
    return [said(message) for message in messages]


async def test_a_shard_says_what_is_calculated() -> None:
    stand = Stand()
    days = month(neighbours(AT, 9))
    torn = [type(one)(one.topic, one.partition, one.key, (one.value or b"")[:-1]) for one in days[40:43]]
    stand.feed([*days[:100], *torn, *days[60:70], *days[100:200]])
    await live_through(stand, most=17)
    for number, record in enumerate(stand.records(TOPICS.warnings, AT)):
        name, _, transition = dict(record.headers)["ce_id"].decode().partition(".")
        if transition == "raised" and record.key is not None:
            report = Acknowledged(f"a{number}", record.key.decode(), name, "m-07", "2024-03-05T00:00:00Z")
            stand.feed([of_warning(report, TOPICS.feedback, AT)])
    stand.feed(days[200:])
    await live_through(stand, most=5)
    names = [one.name for one in found(stand)]
    assert PARTITIONS > AT
    assert {part for name in names for part in name.split(".")} >= {"raised", "acknowledged", "resolved", "call"}
    assert any(".segment." in name for name in names)
    assert sum(name.startswith(TOPICS.usage) for name in names) == len(torn)
    assert not (difference := compare(expected(stand), found(stand))).is_any, difference
