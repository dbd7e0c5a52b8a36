"""Feedback for tests of the core, in its columnar form."""

from typing import Any

import polars as pl

from service.wire.feedback import FEEDBACK


def reports(*lines: dict[str, Any], occurred_us: int, first_offset: int = 0) -> pl.DataFrame:
    """Reports in offset order, all told at one instant; what a line lacks is null."""
    told = [{"offset": first_offset + at, "occurred_us": occurred_us, **line} for at, line in enumerate(lines)]
    return pl.DataFrame(told, schema=FEEDBACK)
