"""The segments for people: how many are in each, and how they are spread over tiers, markets, areas and bundles."""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from service.api.models import Answer
from service.core.calendar import to_date
from service.core.crosstabs import tabulate
from service.ports import Desk


class SegmentShare(Answer):
    """One segment's share of all who are in one."""

    name: str
    subscribers: int
    share_pct: float | None


class Cell(Answer):
    """How many of a segment are in a tier."""

    subscribers: int
    of_segment_pct: float | None = Field(description="Per hundred of the segment")
    of_tier_pct: float | None = Field(description="Per hundred of the tier")


Cells = Mapping[str, Cell]  # by segment, and `total`


class Tier(Answer):
    """One tier of a dimension, or one value of a list."""

    code: int | None = Field(description="Three digits; null for what has none")
    label: str | None = Field(description="In money, minutes, bytes or days; null for those of whom it is not known")
    segments: Cells = Field(description="By segment, and `total` of all")


class SegmentTables(Answer):
    """Counts and shares over all shards that answered."""

    against: Literal["own", "cohort"] = Field(description="What a month is compared with")
    subscribers: int
    not_eligible: int = Field(description="Counted here, and in no share")
    segments: Mapping[str, SegmentShare] = Field(description="By code: 1, 21, 22, 23, 3, 41, 42, 43, 5")
    dimensions: Mapping[str, tuple[Tier, ...]] = Field(description="By name: the rulebook's, and area")
    bundles: Mapping[str, Cells] = Field(description="Who holds any, a hard, a soft bundle, or one of a kind")
    codes: Mapping[str, int] | None = Field(description="Subscribers by six-digit code, where asked for")
    complete: bool = Field(description="False where shards could not answer")
    missing_partitions: tuple[int, ...]
    as_of: Mapping[int, int] = Field(description="Usage offset by partition up to which it is known")
    closed_days: Mapping[int, date | None] = Field(description="Last closed day by partition")


class Segments:
    """`GET /v1/segments`."""

    def __init__(self, desk: Desk, minor_digits: int) -> None:
        self._desk = desk
        self._minor_digits = minor_digits

    def routes(self) -> APIRouter:
        """The endpoint."""
        router = APIRouter(tags=["segments"])
        router.add_api_route(
            "/v1/segments", self.tables, response_model=SegmentTables, summary="Segments by what tells them apart"
        )
        return router

    def tables(
        self, *, codes: Annotated[bool, Query(description="Whether to count six-digit codes as well")] = False
    ) -> SegmentTables:
        """Segment by tier of each dimension, market, area and bundle, exact over all shards that answered."""
        page, rulebook = self._desk.segments(), self._desk.in_force().rulebook
        told = tabulate(page.cells, rulebook, self._minor_digits)
        return SegmentTables(
            **{**told, "codes": told["codes"] if codes else None},
            against=rulebook.against,
            complete=not page.missing,
            missing_partitions=tuple(sorted(page.missing)),
            as_of=dict(page.as_of),
            closed_days={
                partition: None if day is None else to_date(day) for partition, day in page.closed_days.items()
            },
        )
