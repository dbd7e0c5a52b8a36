"""Which rulebook judges a day: versions that were published, each from a day on, over the one there was before."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from service.core.rules import Book, Rule, Rulebook


@dataclass(frozen=True, slots=True)
class Publication:
    """That a rulebook is to judge from a day on (since 1970). `number` counts them; of a day the last counts."""

    hash: str
    effective_on: int
    number: int
    published_at: str  # RFC 3339
    by: str


@dataclass(frozen=True, slots=True)
class Books:
    """See Book. `fallback` judges the days before any publication; one whose rulebook is not among `known` is void."""

    fallback: Rulebook
    known: Mapping[str, Rulebook] = field(default_factory=dict)  # by hash
    publications: tuple[Publication, ...] = ()

    def on(self, day: int) -> Rulebook:
        """The rulebook in force on a day: of those published for it or before, the one of the latest day."""
        publication = self.publication_on(day)
        return self.fallback if publication is None else self.known[publication.hash]

    def named(self, rulebook_hash: str) -> Rulebook | None:
        """A rulebook by its hash, None where it is not known."""
        return self.known.get(rulebook_hash) or self.fallback.named(rulebook_hash)

    def publication_on(self, day: int) -> Publication | None:
        """The publication by which a rulebook is in force on a day; None where none is."""
        return _in_force([one for one in self.publications if one.hash in self.known], day)

    def next_after(self, day: int) -> Publication | None:
        """The publication that takes effect next after a day."""
        days = [one.effective_on for one in self.publications if one.hash in self.known and one.effective_on > day]
        return self.publication_on(min(days)) if days else None

    def wanted_from(self, day: int) -> frozenset[str]:
        """Hashes of the rulebooks that were to be in force on a day or later, were they all known."""
        starts = {day, *(one.effective_on for one in self.publications if one.effective_on > day)}
        found = (_in_force(self.publications, start) for start in starts)
        return frozenset(one.hash for one in found if one is not None)

    @property
    def latest(self) -> Rulebook:
        """The one that will be in force when all that is published has taken effect."""
        return self.on(max((one.effective_on for one in self.publications), default=0))


@dataclass(frozen=True, slots=True)
class AsRecorded:
    """See Book: days that were closed are judged by the rulebook that their record names, where that is known."""

    book: Book
    hashes: Mapping[int, str]  # by day

    def on(self, day: int) -> Rulebook:
        """The recorded one, else the one in force."""
        return self.book.named(self.hashes.get(day, "")) or self.book.on(day)

    def named(self, rulebook_hash: str) -> Rulebook | None:
        """A rulebook by its hash, None where it is not known."""
        return self.book.named(rulebook_hash)


def fresh_rules(former: Rulebook | None, now: Rulebook) -> frozenset[str]:
    """Ids of the rules of `now` that `former` did not judge so: new, of a higher version, or with other conditions.

    Conditions are other ones, too, where a signal that the rulebook makes is made otherwise.

    Whoever meets one of them on the first day of `now` may have met it for long: that is standing, not news. A rule
    that was only tried before (experimental) is new as well. None: nothing was judged before.
    """
    before = {} if former is None else {rule.id: rule for rule in former.rules if rule.status != "deprecated"}
    judged = [rule for rule in now.rules if rule.status != "deprecated"]
    made = frozenset[str]() if former is None else _made_otherwise(former, now)
    return frozenset(
        rule.id
        for rule in judged
        if rule.id not in before or _differs(before[rule.id], rule) or not made.isdisjoint(rule.names)
    )


def _made_otherwise(former: Rulebook, now: Rulebook) -> frozenset[str]:
    """Names of signals that both rulebooks make, each in its own way."""
    shared = now.derived.keys() & former.derived.keys()
    return frozenset(
        name for name in shared if not now.derived[name].expression.meta.eq(former.derived[name].expression)
    )


def _differs(before: Rule, now: Rule) -> bool:
    return (
        now.version > before.version
        or (now.status != "experimental" and before.status == "experimental")
        or now.on != before.on
        or not now.when.meta.eq(before.when)
    )


def _in_force(publications: list[Publication] | tuple[Publication, ...], day: int) -> Publication | None:
    due = [one for one in publications if one.effective_on <= day]
    return max(due, key=lambda one: (one.effective_on, one.number), default=None)
