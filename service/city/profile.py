"""What a simulated city is like: the shape of a profile file, and its reading with errors that name file and line."""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from service.city.fates import FATES

# Usage is recorded at intervals that fit a window of thirty days a whole number of times, so that a rolling sum moves
# with the subscriber and not with the grid of records.
_FITTING_INTERVALS_DAYS = (1, 2, 3, 5, 6, 10, 15, 30)

Share = Annotated[float, Field(ge=0)]  # relative weight, or per hundred where said so
Percent = Annotated[float, Field(ge=0, le=100)]
Factor = Annotated[float, Field(ge=0)]


class ProfileError(ValueError):
    """A profile that cannot be used; `faults` are a line (0: the file as a whole) and a sentence each."""

    def __init__(self, path: Path, faults: Sequence[tuple[int, str]]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{path}:{line}: {said}" if line else f"{path}: {said}" for line, said in faults))


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Market(_Part):
    """A market: its share of subscribers, and how many per hundred are prepaid, in a group, looked after in person."""

    share: Share
    prepaid: Percent
    grouped: Percent
    managed: Percent


class TenureTier(_Part):
    """Subscribers whose time on the network lies between the tier before and `to_days`."""

    to_days: Annotated[int, Field(gt=0)]
    share: Share


class LevelTier(_Part):
    """Subscribers whose monthly level lies between the tier before and `to` (0: none at all)."""

    to: Annotated[int, Field(ge=0)]
    share: Share


class Plan(_Part):
    """A tariff and its monthly fee."""

    name: str
    fee_minor: Annotated[int, Field(gt=0)]


class Bundles(_Part):
    """Per hundred subscribers: any bundle, a hard one, a soft one."""

    any: Percent
    hard: Percent
    soft: Percent
    hard_kinds: Mapping[str, Share]
    soft_kinds: Mapping[str, Share]


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


class FateShare(_Part):
    """How many per hundred meet a fate, the first day (from the start) it may begin, and the days it needs to show."""

    share: Percent
    earliest_day: Annotated[int, Field(ge=1)] = 1
    shows_within_days: Annotated[int, Field(ge=0)] = 1


class Disorder(_Part):
    """Per hundred events: told twice, delivered late, delivered beyond any horizon; broken, or of an unknown type."""

    repeated: Percent = 0
    late: Percent = 0
    beyond_horizon: Percent = 0
    malformed: Percent = 0
    unknown: Percent = 0


class Profile(_Part):
    """All that a profile file says. Measures are `voice`, `voice_in`, `data`, `sms` and `spend`."""

    name: str
    zone: str
    start: date
    markets: Mapping[str, Market]
    areas: Mapping[str, Share]
    managers_per_area: Annotated[int, Field(gt=0)]
    joining: Percent
    tenure: Annotated[Sequence[TenureTier], Field(min_length=1)]
    levels: Mapping[str, Sequence[LevelTier]]
    plans: Annotated[Sequence[Plan], Field(min_length=2)]
    bundles: Bundles
    consent: Mapping[str, Consent]
    networks: Networks
    record_every_days: Mapping[str, Annotated[Sequence[int], Field(min_length=3, max_length=3)]]
    recharge_every_days: Annotated[Sequence[int], Field(min_length=1)]
    noise: Mapping[str, Factor]
    weekend: Mapping[str, Factor] = {}
    holidays: Sequence[Holiday] = ()
    reports: Mapping[str, Percent]
    fates: Mapping[str, FateShare]
    disorder: Disorder = Disorder()

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

    @field_validator("fates")
    @classmethod
    def _are_fates(cls, value: Mapping[str, FateShare]) -> Mapping[str, FateShare]:
        if unknown := sorted(set(value) - set(FATES)):
            raise ValueError(f"unknown fates {unknown}; there are {sorted(FATES)}")
        if sum(fate.share for fate in value.values()) > 100:  # noqa: PLR2004 - per hundred
            raise ValueError("the shares of all fates together exceed 100")
        return value

    @model_validator(mode="after")
    def _names_agree(self) -> "Profile":
        for name, wanted, given in (
            ("levels", {"spend", "voice", "data", "sms"}, set(self.levels)),
            ("record_every_days", set(MEASURES), set(self.record_every_days)),
            ("noise", set(MEASURES), set(self.noise)),
            ("reports", {"quota", "balance"}, set(self.reports)),
        ):
            if wanted != given:
                raise ValueError(f"{name} must name {sorted(wanted)}, not {sorted(given)}")
        return self

    def in_order(self) -> "Profile":
        """The same city with a feed that has no faults."""
        return self.model_copy(update={"disorder": Disorder()})


MEASURES = ("voice", "voice_in", "data", "sms", "spend")


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
