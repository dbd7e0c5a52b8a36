"""Who is told of a warning now, and who is not and why: what withholds it, and which of its orders are made.

An episode that is withheld is kept, counted and shown with `suppressed_by`, and looked at again at every close: when
the reason is gone it is published then, with its orders. What was published once stays so.

    experimental     its rule is judged and never published
    standing         it was true on the rule's first day, and nobody has released it yet
    mute:<id>        somebody muted what matches
    rule:<id>        an open episode of a rule that inhibits it
    holiday:<name>   a calendar mutes its rule
    breaker          the close would have published too much, and nobody has released it yet
    cap              its rule has published as many as it may on that day

Orders are `ordered`, or withheld by the law (`restricted`, `porting`, `no_consent`), for one of the reasons above (the
part before the colon), or because the subscriber has had, or gets just now, another order (`contacted`).
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from service.core.calendar import to_date
from service.core.episodes import OPEN
from service.core.events import CHANNELS
from service.core.rules import SEVERITIES, Rulebook
from service.core.signals import View, columns
from service.core.state import State
from service.core.turn import CONTACTS, Mute

LEAVING = ("code_issued", "requested", "ported")  # who asked to port, or has, must not be courted
WANTED = "wanted"  # an order that the law allows, before it is known whether it is made
_SUPPRESSIONS = ("experimental", "standing", "mute", "rule", "holiday", "breaker", "cap")
_RANKS = {severity: rank for rank, severity in enumerate(SEVERITIES)}
_REASON = pl.col("suppressed_by")


@dataclass(frozen=True, slots=True)
class Moment:
    """When it is decided: the day, which rules have their first day (None: all of them), whether a day closes.

    `held`: whether the breaker holds this close back, None where that is to be found.
    """

    day: int
    fresh: frozenset[str] | None = frozenset()
    closes: bool = True
    held: bool | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """Lines (columns of TRANSITIONS, and row) as they are told or withheld, and whether the breaker holds the close."""

    lines: pl.DataFrame
    held: bool


def publish(state: State, rulebook: Rulebook, lines: pl.DataFrame, moment: Moment) -> Published:
    """Decide of unpublished lines: new ones, and those withheld so far. Orders that are made become contacts."""
    before = lines
    lines = _withhold(state, rulebook, lines, moment)
    is_free = lines["suppressed_by"].is_null()
    held = moment.held if moment.held is not None else moment.closes and _trips(state, rulebook, int(is_free.sum()))
    if held:
        released = _released(state, before, "breaker")
        lines = lines.with_columns(
            suppressed_by=pl.when(_REASON.is_null() & ~released).then(pl.lit("breaker")).otherwise(_REASON)
        )
    lines = _cap(state, rulebook, lines, moment.day)
    day = pl.lit(to_date(moment.day))
    lines = lines.with_columns(published_on=pl.when(_REASON.is_null()).then(day).otherwise("published_on"))
    return Published(settle_orders(state, rulebook, lines, moment.day), held)


def reasons(state: State, rulebook: Rulebook, lines: pl.DataFrame, day: int) -> pl.Series:
    """What of mutes, inhibiting episodes and calendars withholds each line on a day, null where nothing does."""
    inhibited = _inhibited(state, rulebook, lines, day)
    named = (_muted(state.mutes.values(), day), inhibited, _on_holiday(rulebook, day))
    # In one piece: of a frame in several polars makes as many lines of a constant as there are pieces.
    return lines.rechunk().with_columns(suppressed_by=pl.coalesce(*named))["suppressed_by"]


def _withhold(state: State, rulebook: Rulebook, lines: pl.DataFrame, moment: Moment) -> pl.DataFrame:
    experimental = _experimental(rulebook)
    fresh = pl.lit(value=True) if moment.fresh is None else pl.col("rule").is_in(sorted(moment.fresh))
    # What was only tried before is no news either when its rule begins to count.
    is_new = _REASON.is_null() | (_REASON == "experimental")
    stands = (fresh & is_new & moment.closes) | (_REASON == "standing").fill_null(value=False)
    return lines.with_columns(
        suppressed_by=pl.coalesce(
            pl.when(pl.col("rule").is_in(experimental)).then(pl.lit("experimental")),
            pl.when(stands & ~_released(state, lines, "standing")).then(pl.lit("standing")),
            pl.lit(reasons(state, rulebook, lines, moment.day)),
            pl.when((_REASON == "breaker") & ~_released(state, lines, "breaker")).then(pl.lit("breaker")),
        )
    )


def _experimental(rulebook: Rulebook) -> list[str]:
    return [rule.id for rule in rulebook.rules if rule.status == "experimental"]


def _released(state: State, lines: pl.DataFrame, what: str) -> pl.Expr:
    """Flags of the lines that an operator lets go."""
    flags = pl.Series(np.zeros(lines.height, bool))
    for release in state.releases.values():
        if release.what == what:
            mine = lines["raised_on"] <= to_date(release.through)
            flags |= mine if release.rule is None else mine & (lines["rule"] == release.rule)
    return pl.lit(flags)


def _muted(mutes: Iterable[Mute], day: int) -> pl.Expr:
    found = [pl.lit(None, pl.String)]
    for mute in sorted(mutes, key=lambda mute: mute.id):
        if mute.since <= day <= mute.until:
            match = pl.all_horizontal(pl.col(name) == wanted for name, wanted in sorted(mute.matchers.items()))
            found.append(pl.when(match).then(pl.lit(f"mute:{mute.id}")))
    return pl.coalesce(found)


def _inhibited(state: State, rulebook: Rulebook, lines: pl.DataFrame, day: int) -> pl.Expr:
    """Why a line is inhibited: the first rule that inhibits its own and has an open episode of its subscriber.

    What is only tried, and what a calendar mutes, inhibits nothing.
    """
    nothing = pl.lit(None, pl.String)
    tried = _experimental(rulebook)
    pairs = [(rule.id, other) for rule in rulebook.rules for other in sorted(rule.inhibits) if rule.id not in tried]
    if not pairs or lines.is_empty():
        return nothing
    inhibits = pl.DataFrame(pairs, schema={"by": pl.String, "rule": pl.String}, orient="row")
    sources = sorted(set(inhibits["by"]))
    is_source = pl.col("rule").is_in(sources) & pl.col("state").is_in(OPEN) & _on_holiday(rulebook, day).is_null()
    known = state.episodes.frame.filter(is_source).select("row", by="rule")
    fresh = lines.filter(is_source).select(pl.col("row").cast(pl.Int32), by="rule")
    targets = pl.concat([known, fresh]).unique().join(inhibits, on="by").group_by("row", "rule").agg(pl.col("by").min())
    found = lines.select(pl.col("row").cast(pl.Int32), "rule").join(
        targets, on=["row", "rule"], how="left", maintain_order="left"
    )
    return pl.lit(found.select(pl.when(pl.col("by").is_not_null()).then(pl.format("rule:{}", "by"))).to_series())


def _on_holiday(rulebook: Rulebook, day: int) -> pl.Expr:
    found = [pl.lit(None, pl.String)]
    for holiday in rulebook.holidays:
        if holiday.mutes and holiday.first_day <= day <= holiday.last_day:
            concerned = pl.col("rule").is_in(sorted(holiday.mutes))
            if holiday.markets:
                concerned &= pl.col("market").is_in(list(holiday.markets))
            found.append(pl.when(concerned).then(pl.lit(f"holiday:{holiday.name}")))
    return pl.coalesce(found)


def _trips(state: State, rulebook: Rulebook, count: int) -> bool:
    limits = rulebook.limits
    return count > limits.breaker_least and count > limits.breaker_share * state.subscribers


def _cap(state: State, rulebook: Rulebook, lines: pl.DataFrame, day: int) -> pl.DataFrame:
    """Of a rule with a cap the gravest, then dearest, are told; what it has told on the day already counts."""
    capped = {rule.id: rule.most_per_day for rule in rulebook.rules if rule.most_per_day is not None}
    if not capped or lines.is_empty():
        return lines
    told = state.episodes.frame.filter((pl.col("published_on") == to_date(day)) & pl.col("rule").is_in(list(capped)))
    done = dict(told.group_by("rule").len().iter_rows())
    left = {rule: max(0, -(-most // state.config.partitions) - done.get(rule, 0)) for rule, most in capped.items()}
    free = lines.with_row_index("_at").filter(_REASON.is_null() & pl.col("rule").is_in(list(capped)))
    place = pl.int_range(pl.len()).over("rule")
    beyond = _by_urgency(free).filter(place >= pl.col("rule").replace_strict(left, return_dtype=pl.Int64))
    is_beyond = np.zeros(lines.height, bool)
    is_beyond[beyond["_at"].to_numpy()] = True
    return lines.with_columns(suppressed_by=pl.when(pl.Series(is_beyond)).then(pl.lit("cap")).otherwise(_REASON))


def _by_urgency(lines: pl.DataFrame) -> pl.DataFrame:
    """The gravest first, then who brings most; the rest is an order, the same at any time."""
    rank = pl.col("severity").replace_strict(_RANKS, return_dtype=pl.Int8)
    keys = (rank, pl.col("money_at_risk_minor").fill_null(0), "rule", "episode_id")
    return lines.sort(*keys, descending=[True, True, False, False])


def settle_orders(state: State, rulebook: Rulebook, lines: pl.DataFrame, day: int) -> pl.DataFrame:
    """Make one order of a subscriber's wanted ones, where the last is long enough ago; say of the others why not."""
    lines = lines.with_columns(orders=_reconsidered(state, lines))
    is_wanted = pl.col("orders").str.contains(f'"{WANTED}"', literal=True)
    reason = _REASON.str.split(":").list.first()
    orders = pl.col("orders").str.replace_all(f'"{WANTED}"', pl.format('"{}"', reason.fill_null("")), literal=True)
    lines = lines.with_columns(orders=pl.when(is_wanted & _REASON.is_not_null()).then(orders).otherwise("orders"))
    wanted = lines.with_row_index("_at").filter(is_wanted)
    if wanted.is_empty():
        return lines
    since = to_date(day - rulebook.limits.contact_gap_days)
    ordered = state.episodes.contacts.filter((pl.col("outcome") == "ordered") & (pl.col("day") > since))
    first = _by_urgency(wanted).unique("subscriber_id", keep="first", maintain_order=True)
    made = first.join(ordered, on="subscriber_id", how="anti")
    told = dict(zip(made["_at"].to_list(), map(_one_order, made["orders"].to_list()), strict=True))
    contacted = wanted["orders"].str.replace_all(f'"{WANTED}"', '"contacted"', literal=True)
    told = dict(zip(wanted["_at"].to_list(), contacted.to_list(), strict=True)) | told
    at = np.fromiter(told, np.int64, len(told))
    lines = lines.with_columns(lines["orders"].scatter(at, list(told.values())))
    ordered_now = lines[at]
    state.episodes.contact(_contacts(ordered_now, pl.repeat(to_date(day), ordered_now.height, eager=True)))
    return lines


def _one_order(orders: str) -> str:
    """The first of the wanted channels is ordered."""
    said: dict[str, str] = json.loads(orders)
    chosen = next(channel for channel, one in said.items() if one == WANTED)
    left = {channel: "contacted" if one == WANTED else one for channel, one in said.items()}
    return json.dumps({**left, chosen: "ordered"})


def _reconsidered(state: State, lines: pl.DataFrame) -> pl.Series:
    """Orders that were withheld with a warning that no longer is are wanted again, or forbidden by now."""
    kinds = "|".join(_SUPPRESSIONS)
    were = pl.col("orders").str.contains(f'"(?:{kinds})"')
    again = lines.with_row_index("_at").filter(_REASON.is_null() & were)
    orders = lines["orders"]
    if again.is_empty():
        return orders
    names = ("porting", *(f"consent_{channel}" for channel in CHANNELS))
    now = columns(View(state, again["row"].to_numpy()), names)
    told = [
        json.dumps({channel: _law(said, channel, line) for channel, said in json.loads(text).items()})
        for text, line in zip(again["orders"].to_list(), now.iter_rows(named=True), strict=True)
    ]
    return orders.scatter(again["_at"], told)


def _law(said: str, channel: str, now: Mapping[str, object]) -> str:
    if said not in _SUPPRESSIONS:
        return said
    if now["porting"] in LEAVING:
        return "porting"
    return WANTED if now[f"consent_{channel}"] else "no_consent"


def orders_of(transitions: pl.DataFrame) -> pl.DataFrame:
    """The contacts (columns of CONTACTS) that published transitions order, as of the day they were raised."""
    if transitions.is_empty():
        return pl.DataFrame(schema=CONTACTS)
    is_news = pl.col("transition").is_in(("raised", "escalated")) & _REASON.is_null()
    return _contacts(transitions.filter(is_news), transitions.filter(is_news)["raised_on"])


def _contacts(lines: pl.DataFrame, days: pl.Series) -> pl.DataFrame:
    told = lines.select("subscriber_id", "orders", "episode_id", day=days)
    ordering = told.filter(pl.col("orders").str.contains('"ordered"', literal=True))
    made = [
        (row["subscriber_id"], channel, row["day"], row["episode_id"], "ordered")
        for row in ordering.to_dicts()
        for channel, said in json.loads(row["orders"]).items()
        if said == "ordered"
    ]
    return pl.DataFrame(made, schema=CONTACTS, orient="row")
