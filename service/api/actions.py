"""What people send when they act on warnings, and what they are answered: part of the published contract."""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from service.api.models import Answer, MuteView, Severity, WarningState
from service.rulebook.problems import suggest

By = Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S", description="Who: a name or an id")]
Note = Annotated[str | None, Field(max_length=2000, description="What they want to say")]
Value = Annotated[str | None, Field(min_length=1, max_length=200)]


class Said(BaseModel):
    """What somebody says; nothing that is not known is taken."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _know_the_names(cls, told: Any) -> Any:  # noqa: ANN401 - whatever was sent
        return know_names(told, cls.model_fields) if isinstance(told, Mapping) else told


def know_names(told: Mapping[str, Any], known: Mapping[str, Any]) -> Mapping[str, Any]:
    """What was told, where all its names are known. Raises: PydanticCustomError with the nearest."""
    for name in told:
        if name not in known:
            near = suggest(name, known) or f"; known are {', '.join(known)}"
            raise PydanticCustomError("unknown", "{name} is unknown{near}", {"name": name, "near": near})
    return told


class Acknowledgement(Said):
    """Who takes a warning over, and what they want to say about it."""

    model_config = ConfigDict(json_schema_extra={"example": {"by": "m-07", "note": "Calling this afternoon."}})

    by: By
    note: Note = None


class Snoozing(Said):
    """Who puts a warning off, and until when."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"by": "m-07", "until": "2025-04-05", "note": "Abroad until then."}}
    )

    by: By
    until: date = Field(description="The local day at whose close it comes back; after the last closed day")
    note: Note = None


class Settlement(Said):
    """Who says how a warning ended."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"by": "m-07", "outcome": "retained", "note": "Took the gift."}}
    )

    by: By
    outcome: Literal["retained", "false_positive"] = Field(description="Kept, or never about to leave")
    note: Note = None


class Acted(Answer):
    """A warning after what was done; `applied` is false while its shard has not yet taken it over."""

    id: str
    applied: bool
    state: WarningState
    acknowledged_by: str | None
    snoozed_until: date | None
    outcome: str | None


class Acknowledged(Answer):
    """`applied` is false while the shard has not yet taken the acknowledgement over."""

    id: str
    applied: bool
    state: WarningState
    acknowledged_by: str | None = Field(description="Who holds it; null while it is not applied")


class Matchers(Said):
    """What a warning has to be to be muted: all that is named."""

    subscriber_id: Value = None
    rule: Value = None
    kind: Literal["risk", "opportunity", "restricted"] | None = None
    severity: Severity | None = None
    market: Value = None
    area: Value = None
    manager: Value = None

    @model_validator(mode="after")
    def _name_something(self) -> "Matchers":
        if not self.named:
            raise PydanticCustomError(
                "empty", "name at least one of {names}", {"names": ", ".join(type(self).model_fields)}
            )
        return self

    @property
    def named(self) -> dict[str, str]:
        """Those that are named."""
        return self.model_dump(exclude_none=True)


class Muting(Said):
    """Which warnings are withheld, until when, who wants it and why."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "matchers": {"market": "campus", "rule": "data_drop"},
                "until": "2025-04-06",
                "by": "m-07",
                "note": "The data feed of the campus cells is being moved.",
            }
        }
    )

    matchers: Matchers
    until: date = Field(description="The last local day of the mute; after the last closed day")
    by: By
    note: str = Field(min_length=1, max_length=2000, pattern=r"\S", description="Why")


class Muted(Answer):
    """`applied` is false while not all shards have taken it over yet."""

    id: str = Field(description="Made of all that was said: the same again is the same mute")
    applied: bool


class MuteLine(MuteView):
    """A mute in force."""

    since: date
    lacking_partitions: tuple[int, ...] = Field(description="Partitions that answered and do not have it: say it again")


class MuteList(Answer):
    """The mutes in force, the first to end before the others."""

    mutes: tuple[MuteLine, ...]
    complete: bool = Field(description="False where a partition could not answer")
    missing_partitions: tuple[int, ...]
