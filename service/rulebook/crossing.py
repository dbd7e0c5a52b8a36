"""What rules say of one another: which rules a name stands for, and that inhibition goes round in no circle."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from service.rulebook.documents import Document
from service.rulebook.problems import Problem, suggest
from service.rulebook.reading import Reader

INHIBITS = "inhibits"


@dataclass(frozen=True, slots=True)
class Names:
    """The ids of all rules, each with its family."""

    families: Mapping[str, str] = field(default_factory=dict)

    def resolve(self, reader: Reader, *steps: str | int) -> frozenset[str]:
        """The ids of the rules that a list names by id or by family; the reader keeps what is neither."""
        own = reader.document.stem if steps == (INHIBITS,) else ""
        for at, name in enumerate(reader.items(*steps)):
            where = ".".join(map(str, (*steps, at)))
            if name == own:
                reader.fault((*steps, at), f"{where}: {name} is this rule itself; expected others")
            elif not self.rules(name):
                near = suggest(str(name), [*self.families, *self.families.values()])
                reader.fault((*steps, at), f"{where}: {name} is neither a rule nor a family{near}")
        return self.others(reader.items(*steps), own)

    def rules(self, name: object) -> set[str]:
        """The ids that a name stands for: that of a rule, or those of a family."""
        if name in self.families:
            return {str(name)}
        return {rule for rule, family in self.families.items() if family == name}

    def others(self, names: Iterable[object], own: str) -> frozenset[str]:
        """The ids that names stand for; who names its own family means the others of it."""
        return frozenset(rule for name in names for rule in self.rules(name)) - {own}


def find_circles(documents: Iterable[Document], names: Names) -> Iterator[Problem]:
    """Rules that withhold one another, so that none of them would be heard: told at each of them."""
    of_rules = {one.stem: one for one in documents}
    inhibits = {rule: names.others(Reader(one, {}, {}).items(INHIBITS), rule) for rule, one in of_rules.items()}
    told: set[str] = set()
    for start in sorted(inhibits):
        circle = None if start in told else _way_back(start, inhibits)
        if circle is None:
            continue
        told.update(circle)
        said = f"inhibits: {' inhibits '.join([*circle, start])}; expected that none comes back to where it began"
        for one in circle:
            yield of_rules[one].problem((INHIBITS,), said)


def _way_back(start: str, inhibits: Mapping[str, frozenset[str]]) -> list[str] | None:
    """The shortest way from a rule along what is inhibited back to itself."""
    ways = [[start]]
    seen: set[str] = set()
    for way in ways:
        for following in sorted(inhibits.get(way[-1], frozenset())):
            if following == start:
                return way
            if following not in seen:
                seen.add(following)
                ways.append([*way, following])
    return None
