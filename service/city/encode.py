"""Event columns to event JSON, a whole column at a time."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from service.city.quotas import Numbers
from service.city.rhythm import CityDay
from service.core.calendar import month_text

LINES = {"arrives_us": pl.Int64(), "row": pl.Int64(), "line": pl.String()}


@dataclass(frozen=True, slots=True)
class Draft:
    """Events of one type: the subscriber's row, the instant and the fields of each.

    `prefix` begins their ids; a subscriber has at most one event of a prefix a day.
    """

    type: str
    prefix: str
    rows: Numbers
    at_us: Numbers
    fields: Mapping[str, pl.Series]


def draft(
    event_type: str, prefix: str, moment: tuple[CityDay, Numbers, Numbers], **fields: pl.Series | Numbers
) -> Draft:
    """A draft of events at `moment`: the day, the rows, and their seconds of that local day."""
    day, rows, seconds = moment
    # On a day that clocks are put forward the last hour is not there.
    at_us = np.minimum(day.start_us + seconds * 1_000_000, day.end_us - 1_000_000)
    return Draft(event_type, prefix, rows, at_us, {name: pl.Series(values) for name, values in fields.items()})


def encode(drafted: Draft, subscriber_ids: pl.Series) -> pl.DataFrame:
    """Events of a draft as lines: frame of LINES, not sorted. Null fields are left out."""
    fields = drafted.fields
    frame = pl.DataFrame({
        "arrives_us": drafted.at_us,
        "row": drafted.rows,
        "subscriber_id": subscriber_ids.gather(drafted.rows),
        **fields,
    })  # fmt: skip
    # The instant makes the id unique over days, the subscriber within one.
    event = pl.struct(
        pl.format(drafted.prefix + "{}-{}", pl.col("arrives_us") // 1_000_000, "row").alias("id"),
        pl.lit(drafted.type).alias("type"),
        "subscriber_id",
        pl.from_epoch("arrives_us", "us").dt.to_string("%Y-%m-%dT%H:%M:%SZ").alias("occurred_at"),
        *fields,
    )
    # One select for all of it: a day has many small drafts.
    line = event.struct.json_encode()
    for name, values in fields.items():
        if values.null_count():
            line = line.str.replace_all(f',"{name}":null', "", literal=True)
    return frame.select("arrives_us", "row", line.alias("line"))


def month_column(month: int, count: int) -> pl.Series:
    """A month number (year * 12 + month - 1) as `count` texts such as 2013-06."""
    return pl.repeat(month_text(month), count, eager=True)


def gather_lines(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """Parts of LINES as one frame, in order of arrival; what arrives at once stays in the order given."""
    return pl.concat(parts).sort("arrives_us", maintain_order=True) if parts else pl.DataFrame(schema=LINES)
