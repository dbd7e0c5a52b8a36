"""A city's days: the same bytes for the same seed, in order, with exactly the faults its profile asks for."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta

import orjson
import polars as pl
import pytest

from service.city.city import City
from service.city.profile import Disorder, load_profile
from service.core.events import FIELDS
from tests.city.towns import PROFILES, demo_city, told_events

FAULTY = {"repeated": 1.0, "late": 2.0, "beyond_horizon": 1.0, "malformed": 1.0, "unknown": 0.5}


def faulty_city(days: int = 40) -> City:
    profile = load_profile(PROFILES / "demo.yaml").model_copy(update={"disorder": Disorder(**FAULTY)})
    return City(profile, 300, 3, days=days)


def test_same_arguments_give_the_same_bytes_and_another_seed_does_not() -> None:
    profile = load_profile(PROFILES / "demo.yaml")
    first, again = (list(City(profile, 200, 5, days=30).days()) for _ in range(2))
    assert first == again
    assert first != list(City(profile, 200, 6, days=30).days())


def test_days_can_be_made_twice_from_one_city() -> None:
    city = faulty_city(days=12)
    assert list(city.days()) == list(city.days())


@pytest.mark.parametrize("name", ["demo", "city-2013"])
def test_every_day_is_in_order_and_within_its_local_day(name: str) -> None:
    city = City(load_profile(PROFILES / f"{name}.yaml"), 200, 1, days=35)
    for index, day in enumerate(city.days()):
        start = datetime.combine(city.start + timedelta(days=index), datetime.min.time(), UTC) - timedelta(hours=8)
        first_us = round(start.timestamp()) * 1_000_000
        assert day.day == city.start + timedelta(days=index)
        assert day.timestamps_us == sorted(day.timestamps_us)
        assert len(day.keys) == len(day.values) == len(day.timestamps_us) == sum(day.ways.values())
        assert first_us <= day.timestamps_us[0] <= day.timestamps_us[-1] < first_us + 86_400_000_000


def test_start_is_an_argument() -> None:
    city = City(load_profile(PROFILES / "demo.yaml"), 50, 1, start=date(2020, 2, 28), days=3)
    assert [day.day for day in city.days()] == [date(2020, 2, 28), date(2020, 2, 29), date(2020, 3, 1)]


def test_a_feed_in_order_has_unique_ids_its_own_keys_and_the_time_each_event_happened() -> None:
    city = City(load_profile(PROFILES / "demo.yaml").in_order(), 300, 2, days=40)
    ids = set()
    for day in city.days():
        for key, value, at_us in zip(day.keys, day.values, day.timestamps_us, strict=True):
            event = orjson.loads(value)
            ids.add(event["id"])
            assert event["subscriber_id"].encode() == key
            assert datetime.fromisoformat(event["occurred_at"]).timestamp() * 1_000_000 == at_us
        assert set(day.ways) - {"on_time"} == {way for way, count in day.ways.items() if count == 0}
    assert len(ids) == sum(len(day.values) for day in city.days())


def test_faults_are_what_they_are_counted_as() -> None:
    counted: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    ids: set[str] = set()
    for day in faulty_city().days():
        counted.update(day.ways)
        for key, value, at_us in zip(day.keys, day.values, day.timestamps_us, strict=True):
            seen[way_of(key, value, at_us, ids)] += 1
    assert all(counted[way] > 0 for way in FAULTY)
    assert seen == counted


def way_of(key: bytes, value: bytes, at_us: int, ids: set[str]) -> str:
    try:
        event = orjson.loads(value)
        lag_days = (at_us / 1_000_000 - datetime.fromisoformat(event["occurred_at"]).timestamp()) / 86_400
    except ValueError:
        return "malformed"
    if event["type"] not in FIELDS:
        return "unknown"
    odd = event.get("bytes", 1) < 0 or event.get("status") == "odd" or event.get("amount_minor") == "ten"
    if odd or event["subscriber_id"].encode() != key:
        return "malformed"
    if event["id"] in ids:
        return "repeated"
    ids.add(event["id"])
    return "on_time" if lag_days == 0 else "late" if lag_days <= 6 else "beyond_horizon"


def test_every_type_is_told_with_fields_of_the_contract() -> None:
    events = told_events()
    assert set(events["type"].unique()) == set(FIELDS)
    for (event_type,), lines in events.group_by("type"):
        names = {name for line in lines["line"].unique().head(200) for name in orjson.loads(line)}
        common = {"id", "type", "subscriber_id", "occurred_at"}
        assert common <= names <= common | set(FIELDS[str(event_type)]), event_type
        assert not lines["line"].str.contains("null").any()


def test_a_demo_of_twenty_thousand_makes_more_than_a_million_events() -> None:
    per_subscriber = told_events().height / demo_city().population.height
    assert 1_100_000 <= per_subscriber * 20_000 <= 1_300_000


def test_nobody_is_heard_of_before_joining_or_after_leaving() -> None:
    city = demo_city()
    known = city.population.select("subscriber_id", "joins", "leaves")
    events = told_events().join(known, on="subscriber_id")
    lived = events.filter(~pl.col("type").is_in(["bill.closed", "subscriber.status"]))
    assert lived.filter((pl.col("index") < pl.col("joins")) | (pl.col("index") >= pl.col("leaves"))).is_empty()
    first = events.filter(pl.col("joins") > 0).group_by("subscriber_id", maintain_order=True).first()
    assert first["type"].unique().to_list() == ["subscriber.activated"]


def test_a_city_without_subscribers_or_days_is_refused() -> None:
    profile = load_profile(PROFILES / "demo.yaml")
    with pytest.raises(ValueError, match="at least one subscriber and one day"):
        City(profile, 0, 1)
    with pytest.raises(ValueError, match="at least one subscriber and one day"):
        City(profile, 1, 1, days=0)
