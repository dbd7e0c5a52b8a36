"""The life of episodes, one subscriber and one day after another, in plain Python: what the core has to say."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b

SEVERITIES = ("notice", "warning", "critical")


@dataclass(frozen=True)
class Terms:
    """A rule on a level: it holds below `below`, clears from `clear` on, is a warning below `grave`."""

    name: str
    below: int
    clear: int
    grave: int
    wait: int = 1
    keep: int = 0
    cool: int = 0
    inhibits: tuple[str, ...] = ()
    most: int | None = None
    experimental: bool = False
    orders: bool = True


@dataclass
class Case:
    """An episode."""

    who: str
    rule: Terms
    held: int
    state: str = "pending"
    raised: int = -1
    severity: str = "notice"
    reason: str | None = None
    published: bool = False
    recovering: int = -1
    resolved: int = -1
    order: str | None = None

    def rank(self) -> int:
        return SEVERITIES.index(self.severity)


@dataclass
class Life:
    """All cases of all days; `told` are (day, subscriber, rule, transition, severity, reason, order)."""

    rules: Sequence[Terms]
    gap: int
    first_day: int
    cases: list[Case] = field(default_factory=list)
    contacts: dict[str, int] = field(default_factory=dict)
    told: list[tuple[int, str, str, str, str, str | None, str | None]] = field(default_factory=list)

    def close(self, day: int, levels: Mapping[str, int], *, first: bool) -> None:
        """Live through a day on which each subscriber has a level."""
        said: dict[int, str] = {}
        raising: list[Case] = []
        for who in sorted(levels):
            for rule in self.rules:
                raising += self._judge(day, who, rule, levels[who], said)
        self._publish(day, raising, said, first=first)
        for case in self.cases:
            if id(case) in said:
                line = (case.who, case.rule.name, said[id(case)], case.severity, case.reason, case.order)
                self.told.append((day, *line))

    def _judge(self, day: int, who: str, rule: Terms, level: int, said: dict[int, str]) -> Iterator[Case]:
        holds, clears = level < rule.below, level >= rule.below and level >= rule.clear
        live = next((c for c in self.cases if c.who == who and c.rule is rule and c.state != "resolved"), None)
        grave = "warning" if level < rule.grave else "notice"
        if live is None:
            if holds:
                yield from self._begin(day, who, rule, grave, said)
        elif live.state == "pending":
            if not holds:
                self.cases.remove(live)
            elif day - live.held + 1 >= rule.wait:
                live.severity = grave
                yield live
        elif clears:
            self._recover(day, live, said)
        elif holds:
            if live.state == "recovering":
                live.state, live.recovering = "raised", -1
                said[id(live)] = "reopened"
            if SEVERITIES.index(grave) > live.rank():
                self._deepen(day, live, grave, said)

    def _begin(self, day: int, who: str, rule: Terms, grave: str, said: dict[int, str]) -> Iterator[Case]:
        past = [c for c in self.cases if c.who == who and c.rule is rule and c.resolved + rule.cool > day]
        if past and rule.cool:
            last = max(past, key=lambda c: c.resolved)
            last.state, last.resolved = "raised", -1
            said[id(last)] = "reopened"
            return
        case = Case(who, rule, day, severity=grave)
        self.cases.append(case)
        if rule.wait > 1:
            case.severity, case.reason = "notice", "pending" if day else "pending:standing"
            said[id(case)] = "pending"
        else:
            yield case

    def _recover(self, day: int, live: Case, said: dict[int, str]) -> None:
        since = day if live.recovering < 0 else live.recovering
        if since + live.rule.keep <= day:
            live.state, live.resolved, live.recovering = "resolved", day, -1
            said[id(live)] = "resolved"
        elif live.recovering < 0:
            live.state, live.recovering = "recovering", day
            said[id(live)] = "recovering"

    def _deepen(self, day: int, live: Case, grave: str, said: dict[int, str]) -> None:
        if live.published and self._inhibitor(live):
            return
        live.severity = grave
        said[id(live)] = "escalated"
        live.order = "contacted" if live.order == "ordered" else live.order
        if live.published and live.order == "wanted":
            self._order(day, [live])

    def _inhibitor(self, case: Case) -> str | None:
        by = sorted(
            c.rule.name
            for c in self.cases
            if c.who == case.who
            and case.rule.name in c.rule.inhibits
            and c.state not in ("pending", "resolved")
            and not c.rule.experimental
        )
        return f"rule:{by[0]}" if by else None

    def _publish(self, day: int, raising: list[Case], said: dict[int, str], *, first: bool) -> None:
        standing = [c for c in raising if c.reason == "pending:standing"]
        for case in raising:
            case.state, case.raised, case.reason = "raised", day, None
            case.order = "wanted" if case.rule.orders else None
        waiting = [
            c
            for c in self.cases
            if c not in raising
            and c.state in ("raised", "recovering")
            and c.reason not in (None, "experimental", "standing")
        ]
        before = {id(c): c.reason for c in waiting}
        for case in [*raising, *waiting]:
            if case.rule.experimental:
                case.reason = "experimental"
            elif (first and id(case) not in before) or case in standing:
                case.reason = "standing"
            else:
                case.reason = self._inhibitor(case)
        self._cap([*raising, *waiting])
        news = [c for c in [*raising, *waiting] if c.reason is None]
        for case in news:
            case.published = True
        self._order(day, [c for c in news if c.order is not None])
        for case in [*raising, *waiting]:
            if case.order is not None and case.reason is not None:
                case.order = case.reason.partition(":")[0]
            if id(case) not in before or before[id(case)] != case.reason:
                said[id(case)] = "raised" if id(case) not in before or case.reason is None else "suppressed"

    def _cap(self, lines: list[Case]) -> None:
        for rule in self.rules:
            if rule.most is not None:
                free = [c for c in lines if c.rule is rule and c.reason is None]
                free.sort(key=lambda c: (-c.rank(), self._name(c)))
                for case in free[rule.most :]:
                    case.reason = "cap"

    def _name(self, case: Case) -> str:
        """The id that the case has outside: where all else is alike, it decides."""
        told = f"{case.who}\0{case.rule.name}\0{self.first_day + case.held}"
        return blake2b(told.encode(), digest_size=16).hexdigest()

    def _order(self, day: int, news: list[Case]) -> None:
        """One order a subscriber: of the gravest, then by the rule's name; none within the gap."""
        for who in {c.who for c in news}:
            mine = sorted((c for c in news if c.who == who), key=lambda c: (-c.rank(), c.rule.name))
            free = self.contacts.get(who, -1000) <= day - self.gap
            for at, case in enumerate(mine):
                case.order = "ordered" if free and not at else "contacted"
            if free:
                self.contacts[who] = day


def live(rules: Sequence[Terms], days: Sequence[Mapping[str, int]], gap: int, first_day: int) -> Life:
    """Close each day in turn, from `first_day` (since 1970) on."""
    life = Life([replace(rule) for rule in rules], gap, first_day)
    for day, levels in enumerate(days):
        life.close(day, levels, first=day == 0)
    return life
