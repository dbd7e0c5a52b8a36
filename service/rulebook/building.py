"""From documents to what the core judges by: rules, lists, shared parameters."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl

from service.core.events import CLOSED, FIELDS
from service.core.rules import SEVERITIES, Offer, Order, Roll, Rule
from service.core.signals import windows_of
from service.rulebook.crossing import Names
from service.rulebook.documents import Document
from service.rulebook.formats import LIST, PARAMS, RULE
from service.rulebook.language import Compiled, Part
from service.rulebook.overrides import Overridden, Params, default_of
from service.rulebook.problems import RulebookError
from service.rulebook.reading import ALWAYS_KNOWN, Reader
from service.rulebook.shapes import Shape
from service.rulebook.thresholds import find_contradictions, find_overlaps

Signals = Mapping[str, pl.DataType]


@dataclass(frozen=True, slots=True)
class Shared:
    """What a document may name that others give: signals, how derived ones are made, parameters, rules.

    `broken`: derived signals that could not be made, which is told of already.
    """

    signals: Signals
    params: Params
    derived: Mapping[str, Part] = field(default_factory=dict)
    broken: frozenset[str] = frozenset()
    names: Names = field(default_factory=Names)


class _Conditions(NamedTuple):
    """The compiled expressions of a rule."""

    scope: Compiled | None
    when: Compiled | None
    clear: Compiled | None
    levels: dict[str, Compiled | None]
    orders: list[tuple[str, Compiled | None]]

    @property
    def all(self) -> list[Compiled]:
        """All there are."""
        one = [self.when, self.scope, self.clear, *self.levels.values(), *(made for _, made in self.orders)]
        return [made for made in one if made is not None]


def build_rule(document: Document, family: str, shared: Shared) -> Rule:
    """A rule from its document; its own parameters go before the shared ones. Raises: RulebookError."""
    reader = reader_under(document, RULE, shared)
    on = tuple(name for name in reader.items("on") if isinstance(name, str) and name in FIELDS)
    reader.signals = {**shared.signals, **_event_fields(on)}
    conditions = _conditions(reader)
    _check_window(reader)
    why = reader.sentence_names("why")
    reader.sentence_names("avoid")
    numbers = reader.numbers([*_names(conditions.when, *conditions.levels.values()), *why])
    inhibits = shared.names.resolve(reader, "inhibits")
    reader.check_params_are_read()
    when, clear = conditions.when, conditions.clear
    if reader.problems or when is None:
        raise RulebookError(reader.problems)
    shown = [*numbers, *(name for name in why if name not in ALWAYS_KNOWN)]
    return Rule(
        id=document.stem,
        family=family,
        version=int(str(reader.at("version"))),
        kind=reader.text("kind"),  # type: ignore[arg-type] # its shape has been checked
        status=reader.text("status"),
        owner=reader.text("owner"),
        runbook=" ".join(reader.text("runbook").split()),
        on=on,
        when=when.expression if conditions.scope is None else conditions.scope.expression & when.expression,
        clear_when=None if clear is None else clear.expression,
        severities=tuple((level, made.expression) for level, made in conditions.levels.items() if made is not None),
        default_severity=reader.text("severity", "default"),
        names=frozenset({*_reads(conditions.all), *reader.stands_for(shown)} - {"severity"}),
        numbers=numbers,
        measure=reader.text("measure") or None,
        window_days=day_count(reader.text("window")),
        keep_for_days=day_count(reader.text("keep_for")),
        orders=tuple(Order(channel, None if made is None else made.expression) for channel, made in conditions.orders),
        offer=_offer(reader),
        why=reader.texts("why"),
        avoid=reader.texts("avoid"),
        params={name: default_of(value) for name, value in reader.params.items() if name in reader.params_read},
        source=dict(_source(reader)),
        for_days=day_count(reader.text("for")) or 1,
        cool_down_days=day_count(reader.text("cool_down")) or 0,
        inhibits=inhibits,
        most_per_day=int(str(reader.at("most_per_day"))) if reader.at("most_per_day") is not None else None,
    )


def build_roll(document: Document, shared: Shared) -> Roll:
    """A list of subscribers from its document. Raises: RulebookError."""
    reader = reader_under(document, LIST, shared)
    when = reader.expression("when")
    numbers = reader.numbers(_names(when))
    reader.check_params_are_read()
    if reader.problems or when is None:
        raise RulebookError(reader.problems)
    return Roll(
        id=document.stem,
        title=reader.texts("title"),
        when=when.expression,
        names=frozenset({*when.reads, *reader.stands_for(numbers)}),
        numbers=numbers,
    )


def build_params(document: Document, signals: Signals) -> Params:
    """The values that any rule may name. Raises: RulebookError."""
    reader = reader_of(document, PARAMS, signals, {})
    params = reader.read_params()
    if reader.problems:
        raise RulebookError(reader.problems)
    return {name: value for name, value in params.items() if value is not None}


def reader_of(document: Document, shape: Shape, signals: Signals, params: Params) -> Reader:
    """A reader of a document, which knows already what is wrong with its shape."""
    reader = Reader(document, signals, params)
    for steps, message in shape.faults(document.data, ()):
        reader.fault(steps, message)
    return reader


def reader_under(document: Document, shape: Shape, shared: Shared) -> Reader:
    """A reader of a document that may name all that others give."""
    reader = reader_of(document, shape, shared.signals, shared.params)
    reader.derived, reader.broken_signals = shared.derived, shared.broken
    return reader


def _conditions(reader: Reader) -> _Conditions:
    """The rule's expressions, none of which may make another impossible."""
    severity = {"severity": pl.Enum(SEVERITIES)}
    made = _Conditions(
        reader.expression("scope"),
        reader.expression("when"),
        reader.expression("clear_when"),
        {level: reader.expression("severity", level) for level in reversed(SEVERITIES)},
        [
            (reader.text("orders", at, "channel"), reader.expression("orders", at, "when", beside=severity))
            for at in range(len(reader.items("orders")))
        ],
    )
    known = reader.words.known
    held = [one.tree for one in (made.scope, made.when) if one is not None]
    if made.scope is not None:
        for said in find_contradictions(held, known):
            reader.fault(("scope",), f"scope: beside when {said}")
    if made.clear is not None:
        for said in find_overlaps(held, made.clear.tree, known):
            reader.fault(("clear_when",), f"clear_when: {said}")
    for level, one in made.levels.items():
        if one is not None and made.when is not None and not any(find_contradictions(held, known)):
            for said in find_contradictions([*held, one.tree], known):
                reader.fault(("severity", level), f"severity.{level}: beside when {said}")
    return made


def _event_fields(on: tuple[str, ...]) -> dict[str, pl.DataType]:
    """The fields a rule on these types may read; a closed set only where all types that have the field agree on it."""
    fields: dict[str, pl.DataType] = {}
    for event_type in on:
        for name, dtype in FIELDS[event_type].items():
            among = CLOSED.get((event_type, name))
            domain = pl.Enum(among) if among else dtype
            field = f"event.{name}"
            fields[field] = domain if fields.get(field, domain) == domain else dtype
    return fields


def _check_window(reader: Reader) -> None:
    """A window that is not configured has no signals, so that nothing can have been measured over it."""
    days = day_count(reader.text("window"))
    known = sorted(windows_of(reader.signals))
    if days and known and days not in known:
        there = " | ".join(f"{one}d" for one in known)
        reader.fault(("window",), f"window: none is of {days} days, expected {there} (CHURN_TIME__WINDOWS_DAYS)")


def _names(*compiled: Compiled | None) -> list[str]:
    return list(dict.fromkeys(name for made in compiled if made is not None for name in made.names))


def _reads(compiled: Iterable[Compiled]) -> Iterator[str]:
    return (name for made in compiled for name in made.reads)


def day_count(text: str) -> int | None:
    """Days of a text like 14d; None where it says none."""
    digits = text.removesuffix("d")
    return int(digits) if digits.isdigit() else None


def _offer(reader: Reader) -> Offer | None:
    campaign = reader.text("offer", "campaign")
    return Offer(campaign, reader.texts("offer", "name")) if campaign else None


def _source(reader: Reader) -> Iterator[tuple[str, str]]:
    for steps in (("scope",), ("when",), ("clear_when",), *(("severity", level) for level in reversed(SEVERITIES))):
        text = reader.text(*steps)
        if text:
            yield ".".join(steps), " ".join(text.split())
    for at in range(len(reader.items("orders"))):
        yield f"orders.{reader.text('orders', at, 'channel')}", reader.text("orders", at, "when") or "true"
    for name in sorted(reader.params_read):
        if isinstance(value := reader.params[name], Overridden):
            yield f"params.{name}", str(value)
