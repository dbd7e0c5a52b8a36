"""Small cities for tests: made once, read back as plain tables of events."""

from functools import cache
from pathlib import Path

import orjson
import polars as pl

from service.city.city import City
from service.city.profile import load_profile

PROFILES = Path(__file__).parents[2] / "rules" / "profiles"


@cache
def demo_city(subscribers: int = 2000, seed: int = 7) -> City:
    return City(load_profile(PROFILES / "demo.yaml").in_order(), subscribers, seed)


@cache
def told_events() -> pl.DataFrame:
    """All events of a demo city without faults: subscriber, type, local day (from the start), and their JSON."""
    city = demo_city()
    days = [pl.DataFrame({"line": [v.decode() for v in day.values]}) for day in city.days()]
    event = pl.Struct({"id": pl.String, "type": pl.String, "subscriber_id": pl.String, "occurred_at": pl.String})
    return (
        pl.concat(days)
        .with_columns(pl.col("line").str.json_decode(event).alias("event"))
        .unnest("event")
        .with_columns(at=pl.col("occurred_at").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC", time_unit="us"))
        .with_columns(day=pl.col("at").dt.convert_time_zone("Asia/Shanghai").dt.date())
        .with_columns(index=(pl.col("day") - city.start).dt.total_days())
    )


@cache
def told(event_type: str) -> pl.DataFrame:
    """Events of a type with their fields as columns, in order of arrival."""
    events = told_events().filter(pl.col("type") == event_type)
    fields = pl.DataFrame([orjson.loads(line) for line in events["line"]], infer_schema_length=None)
    return events.select("index").hstack(fields)


def met(fate: str) -> pl.DataFrame:
    """Those who met a fate, with the day (from the start) on which it begins."""
    return demo_city().population.filter(pl.col("fate") == fate).select("subscriber_id", "begins", "leaves")
