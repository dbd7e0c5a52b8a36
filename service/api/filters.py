"""Which warnings a caller wants: the same filters for the list, for the live stream and for the desk."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from service.api.actions import know_names
from service.api.cursors import decode_place
from service.api.models import Severity, SubscriberWarning, WarningState
from service.api.views import microseconds
from service.ports import WarningQuery

_EXACT = ("rule", "severity", "market", "area", "manager")
_EARLIEST_US, _LATEST_US = -(2**62), 2**62


class WarningFilter(BaseModel):
    """What both have in common. A parameter that is not known is an error, so that a slip is not a silent 'any'."""

    model_config = ConfigDict(extra="forbid")

    rule: str | None = None
    severity: Severity | None = None
    market: str | None = None
    area: str | None = None
    manager: str | None = None
    since: AwareDatetime | None = Field(default=None, description="Raised at or after this RFC 3339 instant")

    @model_validator(mode="before")
    @classmethod
    def _know_the_names(cls, told: Mapping[str, Any]) -> Mapping[str, Any]:
        return know_names(told, cls.model_fields)

    def query(self, limit: int) -> WarningQuery:
        """The open warnings that pass, as the desk wants to be asked: published ones."""
        exact = {name: getattr(self, name) for name in _EXACT}
        return WarningQuery(**exact, suppressed=False, since_us=_us(self.since), limit=limit)

    def passes(self, warning: SubscriberWarning) -> bool:
        """True for a warning that the desk would find."""
        if self.since is not None and warning.raised_at < self.since:
            return False
        wanted = ((getattr(self, name), getattr(warning, name)) for name in _EXACT)
        return all(want is None or want == has for want, has in wanted)


class StreamFilter(WarningFilter):
    """Of the live stream."""

    open: int = Field(default=1000, ge=0, le=10_000, description="At most so many open warnings at the start")


class ListFilter(WarningFilter):
    """Of a page of the list."""

    state: WarningState | None = Field(default=None, description="Absent: all open ones")
    suppressed: bool = Field(
        default=False, description="Instead of published ones those that are withheld; `suppressed_why` says why"
    )
    limit: int = Field(default=100, ge=1, le=1000)
    cursor: str | None = Field(default=None, description="`next` of the page before")

    def page(self) -> WarningQuery:
        """What to ask the desk for this page. Raises: ValueError for a cursor that is not ours."""
        return WarningQuery(
            **{name: getattr(self, name) for name in _EXACT},
            state=self.state,
            suppressed=self.suppressed,
            since_us=_us(self.since),
            before=None if self.cursor is None else decode_place(self.cursor),
            limit=self.limit,
        )


def _us(at: datetime | None) -> int | None:
    return None if at is None else min(max(microseconds(at), _EARLIEST_US), _LATEST_US)
