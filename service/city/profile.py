"""What a simulated city is like: the shape of a profile file, and its reading with errors that name file and line."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from service.city.fates import DEEPENING, FATES

# Usage is recorded at intervals that fit a window of thirty days a whole number of times, so that a rolling sum moves
# with the subscriber and not with the grid of records.
_FITTING_INTERVALS_DAYS = (1, 2, 3, 5, 6, 10, 15, 30)
MEASURES = ("voice", "voice_in", "data", "sms", "spend")
TIERED = ("spend", "voice", "data", "tenure")
_ROUNDED = 0.1  # per hundred: tables are printed rounded

Share = Annotated[float, Field(ge=0)]  # relative weight, or per hundred where said so
Percent = Annotated[float, Field(ge=0, le=100)]
Factor = Annotated[float, Field(ge=0)]
Range = tuple[Factor, Factor]  # from, to


class ProfileError(ValueError):
    """A profile that cannot be used; `faults` are a line (0: the file as a whole) and a sentence each."""

    def __init__(self, path: Path, faults: Sequence[tuple[int, str]]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{path}:{line}: {said}" if line else f"{path}: {said}" for line, said in faults))


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Market(_Part):
    """A market: its share of subscribers, and how many per hundred are prepaid and looked after in person.

    `grouped` weighs its people where members of virtual networks are picked.
    """

    share: Share
    prepaid: Percent
    grouped: Share
    managed: Percent


class Bundles(_Part):
    """Per hundred subscribers: any bundle, a hard one, a soft one; of the soft, a package plan, a virtual network."""

    any: Percent
    hard: Percent
    soft: Percent
    package_plan: Percent
    vpn: Percent

    @model_validator(mode="after")
    def _can_be(self) -> "Bundles":
        if not max(self.hard, self.soft) <= self.any <= self.hard + self.soft:
            raise ValueError("any is at least the greater of hard and soft, and at most both together")
        if max(self.package_plan, self.vpn) > self.soft:
            raise ValueError("package plans and virtual networks are soft bundles, so none is more than soft")
        return self


class FateShare(_Part):
    """How many per hundred of a segment meet a fate, and when.

    `earliest_day`: the first day, from the start, on which it may begin; `shows_within_days`: how long before the end,
    or the day to be judged, it begins at the latest. `least`: monthly levels from which on it is worth telling.
    """

    share: Percent
    earliest_day: Annotated[int, Field(ge=1)] = 1
    shows_within_days: Annotated[int, Field(ge=0)] = 1
    least: Mapping[str, int] = {}


class Segment(_Part):
    """A part of the city with tables of its own: tiers (a share for each of the profile's), bundles, markets, fates.

    `of_markets`: how many per hundred of a market belong to the segment; who then is missing comes from the others.
    `fates_in` are a market's own. `outside_holidays`: holidays of single markets do not move these people.
    """

    share: Share
    code: int | None = None
    spend: Sequence[Share]
    voice: Sequence[Share]
    data: Sequence[Share]
    tenure: Sequence[Share]
    bundles: Bundles
    of_markets: Mapping[str, Percent] | None = None
    fates: Mapping[str, FateShare] = {}
    fates_in: Mapping[str, Mapping[str, FateShare]] = {}
    outside_holidays: bool = False

    @field_validator("fates")
    @classmethod
    def _are_fates(cls, value: Mapping[str, FateShare]) -> Mapping[str, FateShare]:
        return _require_fates(value)

    @field_validator("fates_in")
    @classmethod
    def _are_fates_too(cls, value: Mapping[str, Mapping[str, FateShare]]) -> Mapping[str, Mapping[str, FateShare]]:
        for fates in value.values():
            _require_fates(fates)
        return value


def _require_fates(fates: Mapping[str, FateShare]) -> Mapping[str, FateShare]:
    if unknown := sorted(set(fates) - set(FATES)):
        raise ValueError(f"unknown fates {unknown}; there are {sorted(FATES)}")
    if sum(fate.share for fate in fates.values()) > 100 + _ROUNDED:
        raise ValueError("the shares of all fates together exceed 100")
    return fates


class LevelTier(_Part):
    """Subscribers whose monthly level lies between the tier before and `to` (0: none at all)."""

    to: Annotated[int, Field(ge=0)]
    share: Share


class Plan(_Part):
    """A tariff and its monthly fee."""

    name: str
    fee_minor: Annotated[int, Field(gt=0)]


class BundleKinds(_Part):
    """Names and shares of kinds: of hard bundles, and of soft ones that are neither package plan nor network."""

    hard: Mapping[str, Share]
    soft: Mapping[str, Share]


class Consent(_Part):
    """Per hundred subscribers: who said yes and who said no on a channel; of the others nothing is known."""

    granted: Percent
    refused: Percent


class Networks(_Part):
    """Names of networks: our own, and the competitors'."""

    home: str
    competitors: Annotated[Sequence[str], Field(min_length=1)]


class Holiday(_Part):
    """A run of days in which usage is multiplied, by measure; in all markets unless some are named."""

    name: str
    first: date
    last: date
    factors: Mapping[str, Factor]
    markets: Sequence[str] = ()


class Disorder(_Part):
    """Per hundred events: told twice, delivered late, delivered beyond any horizon; broken, or of an unknown type."""

    repeated: Percent = 0
    late: Percent = 0
    beyond_horizon: Percent = 0
    malformed: Percent = 0
    unknown: Percent = 0


class Outage(_Part):
    """Days of which a market's usage does not arrive, but as a file so many days after the last (absent: never)."""

    market: str
    first: date
    days: Annotated[int, Field(ge=1)]
    late_days: Annotated[int, Field(ge=1)] | None = None

    @property
    def file_on(self) -> date | None:
        """The day on which the file arrives: so many after the last silent one."""
        return None if self.late_days is None else self.first + timedelta(days=self.days - 1 + self.late_days)


class Profile(_Part):
    """All that a profile file says. Measures are `voice`, `voice_in`, `data`, `sms` and `spend`.

    `tiers` are upper bounds, included: spend (usage charges) in minor units, voice in minutes and data in bytes a
    month, tenure in days. With `judged_on` they hold on the usual month that a judgement at the end of that day
    compares with: the sixty days before the last thirty, halved; tenure is counted up to the end of these sixty.
    """

    name: str
    zone: str
    start: date
    days: Annotated[int, Field(ge=1)]
    judged_on: date | None = None
    markets: Mapping[str, Market]
    areas: Mapping[str, Share]
    managers_per_area: Annotated[int, Field(gt=0)]
    joining: Percent
    tiers: Mapping[str, Annotated[Sequence[Annotated[int, Field(ge=0)]], Field(min_length=1)]]
    least: Mapping[str, Annotated[int, Field(ge=1)]]
    segments: Annotated[Mapping[str, Segment], Field(min_length=1)]
    sms: Annotated[Sequence[LevelTier], Field(min_length=1)]
    plans: Annotated[Sequence[Plan], Field(min_length=2)]
    bundle_kinds: BundleKinds
    consent: Mapping[str, Consent]
    networks: Networks
    record_every_days: Mapping[str, Annotated[Sequence[int], Field(min_length=3, max_length=3)]]
    recharge_every_days: Annotated[Sequence[int], Field(min_length=1)]
    courses: Mapping[str, Mapping[str, Range]]
    from_nothing: Mapping[str, Range]
    noise: Mapping[str, Factor]
    swing: Mapping[str, Annotated[float, Field(ge=0, lt=1)]]
    weekend: Mapping[str, Factor] = {}
    holidays: Sequence[Holiday] = ()
    reports: Mapping[str, Percent]
    disorder: Disorder = Disorder()
    outages: Sequence[Outage] = ()

    @property
    def judged_index(self) -> int | None:
        """The day to be judged, counted from the start."""
        return None if self.judged_on is None else (self.judged_on - self.start).days

    @field_validator("zone")
    @classmethod
    def _is_a_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{value!r} is not a time zone such as Asia/Shanghai") from error
        return value

    @field_validator("record_every_days")
    @classmethod
    def _fits_a_window(cls, value: Mapping[str, Sequence[int]]) -> Mapping[str, Sequence[int]]:
        if odd := sorted({days for every in value.values() for days in every} - set(_FITTING_INTERVALS_DAYS)):
            raise ValueError(f"intervals must divide thirty days, and {odd} do not")
        return value

    @field_validator("tiers")
    @classmethod
    def _ascend(cls, value: Mapping[str, Sequence[int]]) -> Mapping[str, Sequence[int]]:
        for name, tops in value.items():
            if list(tops) != sorted(set(tops)):
                raise ValueError(f"the bounds of {name} must ascend")
        return value

    @model_validator(mode="after")
    def _names_agree(self) -> "Profile":
        for name, wanted, given in (
            ("tiers", set(TIERED), set(self.tiers)),
            ("least", set(TIERED), set(self.least)),
            ("record_every_days", set(MEASURES), set(self.record_every_days)),
            ("noise", set(MEASURES), set(self.noise)),
            ("swing", set(MEASURES), set(self.swing)),
            ("courses", set(DEEPENING), set(self.courses)),
            *((f"courses.{course}", set(MEASURES), set(ranges)) for course, ranges in self.courses.items()),
            ("from_nothing", {"voice", "data"}, set(self.from_nothing)),
            ("reports", {"quota", "balance"}, set(self.reports)),
        ):
            if wanted != given:
                raise ValueError(f"{name} must name {sorted(wanted)}, not {sorted(given)}")
        return self

    @model_validator(mode="after")
    def _segments_fit(self) -> "Profile":
        for name, segment in self.segments.items():
            for table in TIERED:
                if len(getattr(segment, table)) != len(self.tiers[table]):
                    raise ValueError(f"segment {name} needs {len(self.tiers[table])} shares of {table}")
            named = {*(segment.of_markets or {}), *segment.fates_in}
            if strange := sorted(named - set(self.markets)):
                raise ValueError(f"segment {name} names unknown markets {strange}; there are {sorted(self.markets)}")
            if min(self.market_shares(segment)) < 0:
                raise ValueError(f"segment {name} is smaller than its people of the markets that it names")
        return self

    @model_validator(mode="after")
    def _outages_are_of_markets(self) -> "Profile":
        self._require_markets(self.outages)
        return self

    def _require_markets(self, outages: Sequence[Outage]) -> None:
        if strange := sorted({outage.market for outage in outages} - set(self.markets)):
            raise ValueError(f"outages of unknown markets {strange}; there are {sorted(self.markets)}")

    def market_shares(self, segment: Segment) -> list[float]:
        """A segment's shares of the markets, in their order: those it names, and the others what is left of it."""
        sizes = {name: market.share for name, market in self.markets.items()}
        named = segment.of_markets
        if named is None:
            return list(sizes.values())
        city = sum(sizes.values())
        whole = segment.share / sum(other.share for other in self.segments.values())
        shares = {name: sizes[name] / city * percent / 100 for name, percent in named.items()}
        left = whole - sum(shares.values())
        others = {name: size for name, size in sizes.items() if name not in named}
        if not others:
            # Tables are rounded, so markets that are all named only nearly make up the segment.
            return [shares[name] for name in sizes]
        return [shares[name] if name in shares else left * size / sum(others.values()) for name, size in sizes.items()]

    def with_outages(self, outages: Sequence[Outage]) -> "Profile":
        """The same city with more outages. Raises ValueError where one is of a market that is not there."""
        self._require_markets(outages)
        return self.model_copy(update={"outages": (*self.outages, *outages)})

    def in_order(self) -> "Profile":
        """The same city with a feed that has no faults."""
        return self.model_copy(update={"disorder": Disorder(), "outages": ()})


def load_profile(path: Path) -> Profile:
    """Read a profile file. Raises ProfileError with file, line and what was expected."""
    yaml = YAML()
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml"))) or "none"
        raise ProfileError(path, [(0, f"there is no such profile; profiles there: {known}")]) from error
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ProfileError(path, [(line, f"not YAML: {error.problem}")]) from error
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise ProfileError(path, [(0, f"cannot be read: {error}")]) from error
    if not isinstance(tree, dict):
        raise ProfileError(path, [(1, "a profile is a mapping of names to values")])
    try:
        return Profile.model_validate(tree)
    except ValidationError as error:
        raise ProfileError(path, [_fault(tree, dict(fault)) for fault in error.errors()]) from error


def _fault(tree: object, fault: Mapping[str, Any]) -> tuple[int, str]:
    place = [part for part in fault["loc"] if part != "[key]"]
    return _line(tree, place), f"{'.'.join(map(str, place)) or 'profile'}: {fault['msg']}"


def _line(tree: object, place: Sequence[str | int]) -> int:
    """The line of the innermost part of `place` that the file has."""
    line = 1
    for part in place:
        positions = getattr(tree, "lc", None)
        known = positions.data if positions is not None else None
        if known is None or (part not in known if isinstance(tree, dict) else not isinstance(part, int)):
            break
        line = known[part][0] + 1
        tree = tree[part]  # type: ignore[index] # what has line numbers has parts
    return line
