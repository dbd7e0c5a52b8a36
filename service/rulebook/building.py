"""From documents to what the core judges by: rules, lists, holidays."""

from collections.abc import Iterator, Mapping
from datetime import date
from itertools import pairwise

import polars as pl

from service.core.calendar import to_day
from service.core.events import CLOSED, FIELDS
from service.core.rules import SEVERITIES, Holiday, Offer, Order, Roll, Rule
from service.core.signals import windows_of
from service.rulebook.documents import Document
from service.rulebook.formats import CALENDAR, LIST, PARAMS, RULE
from service.rulebook.language import Compiled
from service.rulebook.problems import RulebookError
from service.rulebook.reading import ALWAYS_KNOWN, Reader
from service.rulebook.shapes import Shape
from service.rulebook.walk import Scalar

Signals = Mapping[str, pl.DataType]
Params = Mapping[str, Scalar]


def build_rule(document: Document, family: str, signals: Signals, params: Params) -> Rule:
    """A rule from its document; `params` are shared, the rule's own go before them. Raises: RulebookError."""
    reader = reader_of(document, RULE, signals, params)
    on = tuple(name for name in reader.items("on") if isinstance(name, str) and name in FIELDS)
    reader.signals = {**signals, **_event_fields(on)}
    when, clear = reader.expression("when"), reader.expression("clear_when")
    levels = {level: reader.expression("severity", level) for level in reversed(SEVERITIES)}
    orders = [
        (
            reader.text("orders", at, "channel"),
            reader.expression("orders", at, "when", beside={"severity": pl.Enum(SEVERITIES)}),
        )
        for at in range(len(reader.items("orders")))
    ]
    _check_window(reader)
    why = reader.sentence_names("why")
    reader.sentence_names("avoid")
    numbers = reader.numbers(_names(when, *levels.values()) + why)
    reader.check_params_are_read()
    if reader.problems or when is None:
        raise RulebookError(reader.problems)
    compiled = [when, clear, *levels.values(), *(condition for _, condition in orders)]
    names = {*_names(*compiled), *numbers, *(name for name in why if name not in ALWAYS_KNOWN)} - {"severity"}
    return Rule(
        id=document.stem,
        family=family,
        version=int(str(reader.at("version"))),
        kind=reader.text("kind"),  # type: ignore[arg-type] # its shape has been checked
        status=reader.text("status"),
        owner=reader.text("owner"),
        runbook=" ".join(reader.text("runbook").split()),
        on=on,
        when=when.expression,
        clear_when=None if clear is None else clear.expression,
        severities=tuple((level, made.expression) for level, made in levels.items() if made is not None),
        default_severity=reader.text("severity", "default"),
        names=frozenset(names),
        numbers=numbers,
        measure=reader.text("measure") or None,
        window_days=day_count(reader.text("window")),
        keep_for_days=day_count(reader.text("keep_for")),
        orders=tuple(Order(channel, None if made is None else made.expression) for channel, made in orders),
        offer=_offer(reader),
        why=reader.words("why"),
        avoid=reader.words("avoid"),
        params={name: value for name, value in reader.params.items() if name in reader.params_read},
        source=dict(_source(reader)),
    )


def build_roll(document: Document, signals: Signals, params: Params) -> Roll:
    """A list of subscribers from its document. Raises: RulebookError."""
    reader = reader_of(document, LIST, signals, params)
    when = reader.expression("when")
    numbers = reader.numbers(_names(when))
    reader.check_params_are_read()
    if reader.problems or when is None:
        raise RulebookError(reader.problems)
    return Roll(
        id=document.stem,
        title=reader.words("title"),
        when=when.expression,
        names=frozenset({*when.names, *numbers}),
        numbers=numbers,
    )


def build_params(document: Document) -> Params:
    """The values that any rule may name. Raises: RulebookError."""
    reader = reader_of(document, PARAMS, {}, {})
    if reader.problems or not isinstance(document.data, dict):
        raise RulebookError(reader.problems)
    return document.data


def build_holidays(document: Document) -> tuple[Holiday, ...]:
    """The holidays of a calendar; days of one file may not overlap. Raises: RulebookError."""
    reader = reader_of(document, CALENDAR, {}, {})
    if reader.problems:
        raise RulebookError(reader.problems)
    holidays = [
        Holiday(
            name=reader.text("holidays", at, "name"),
            first_day=to_day(date.fromisoformat(reader.text("holidays", at, "first"))),
            last_day=to_day(date.fromisoformat(reader.text("holidays", at, "last"))),
            markets=tuple(str(market) for market in reader.items("holidays", at, "markets")),
        )
        for at in range(len(reader.items("holidays")))
    ]
    in_order = sorted(enumerate(holidays), key=lambda entry: (entry[1].first_day, entry[0]))
    for (_, before), (at, after) in pairwise(in_order):
        if after.first_day <= before.last_day:
            reader.fault(("holidays", at), f"{after.name} overlaps {before.name}; expected each day once in a calendar")
    if reader.problems:
        raise RulebookError(reader.problems)
    return tuple(holidays)


def reader_of(document: Document, shape: Shape, signals: Signals, params: Params) -> Reader:
    """A reader of a document, which knows already what is wrong with its shape."""
    reader = Reader(document, signals, params)
    for steps, message in shape.faults(document.data, ()):
        reader.fault(steps, message)
    return reader


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


def day_count(text: str) -> int | None:
    """Days of a text like 14d; None where it says none."""
    digits = text.removesuffix("d")
    return int(digits) if digits.isdigit() else None


def _offer(reader: Reader) -> Offer | None:
    campaign = reader.text("offer", "campaign")
    return Offer(campaign, reader.words("offer", "name")) if campaign else None


def _source(reader: Reader) -> Iterator[tuple[str, str]]:
    for steps in (("when",), ("clear_when",), *(("severity", level) for level in reversed(SEVERITIES))):
        text = reader.text(*steps)
        if text:
            yield ".".join(steps), " ".join(text.split())
    for at in range(len(reader.items("orders"))):
        yield f"orders.{reader.text('orders', at, 'channel')}", reader.text("orders", at, "when") or "true"
