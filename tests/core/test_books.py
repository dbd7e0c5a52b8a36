"""Of all that was published, each day has one rulebook; what is new in it is known."""

import dataclasses

import polars as pl

from service.core.books import AsRecorded, Books, Publication, fresh_rules
from service.core.rules import Derived, Rulebook
from tests.core.rulebooks import rule

RISES = pl.col("spend_7d") > 5
OLD, NEW, NEWEST = (Rulebook(name, ()) for name in ("old", "new", "newest"))


def published(of: Rulebook | str, day: int, number: int) -> Publication:
    return Publication(of if isinstance(of, str) else of.hash, day, number, "2026-01-01T00:00:00Z", "somebody")


def books(*publications: Publication) -> Books:
    return Books(OLD, {one.hash: one for one in (NEW, NEWEST)}, publications)


def test_each_day_has_the_rulebook_of_the_latest_day_before_it() -> None:
    shown = books(published(NEW, 10, 2), published(NEWEST, 20, 1))
    assert [shown.on(day).hash for day in (9, 10, 19, 20, 99)] == ["old", "new", "new", "newest", "newest"]
    assert shown.latest is NEWEST
    assert books().latest is OLD


def test_of_one_day_the_last_publication_counts_whatever_their_order() -> None:
    first, second, third = published(NEW, 10, 1), published(NEWEST, 10, 2), published(NEW, 10, 3)
    assert books(second, first).on(10) is NEWEST
    assert books(third, first, second).on(10) is NEW


def test_an_older_one_published_again_is_a_roll_back() -> None:
    shown = books(published(NEW, 10, 1), published(NEWEST, 20, 2), published(NEW, 30, 3))
    assert [shown.on(day) for day in (15, 25, 35)] == [NEW, NEWEST, NEW]


def test_what_is_not_known_replaces_nothing_and_is_missed_from_its_day_until_the_next() -> None:
    shown = books(published(NEW, 10, 1), published("unknown", 20, 2), published(NEWEST, 30, 3))
    assert [shown.on(day) for day in (20, 30)] == [NEW, NEWEST]
    assert shown.wanted_from(5) == {"new", "unknown", "newest"}
    assert shown.wanted_from(25) == {"unknown", "newest"}
    assert shown.wanted_from(30) == {"newest"}
    assert books(published("unknown", 20, 1), published(NEW, 20, 2)).wanted_from(0) == {"new"}


def test_what_is_in_force_and_what_comes_next_have_their_days() -> None:
    shown = books(published(NEW, 10, 1), published(NEWEST, 20, 2), published(NEW, 20, 3))
    assert shown.publication_on(9) is None
    assert shown.publication_on(15) == published(NEW, 10, 1)
    assert shown.next_after(9) == published(NEW, 10, 1)
    assert shown.next_after(10) == published(NEW, 20, 3)
    assert shown.next_after(20) is None


def test_a_recorded_day_is_judged_as_it_was_as_far_as_that_is_known() -> None:
    shown = AsRecorded(books(published(NEW, 10, 1)), {12: "newest", 13: "lost", 3: "old"})
    assert [shown.on(day) for day in (3, 9, 11, 12, 13)] == [OLD, OLD, NEW, NEWEST, NEW]
    assert shown.named("newest") is NEWEST
    assert shown.named("lost") is None


def test_rules_are_fresh_where_they_are_new_or_say_something_else() -> None:
    before = Rulebook(
        "before",
        (
            rule("kept", RISES),
            rule("raised", RISES),
            rule("turned", RISES),
            rule("tried", RISES, status="experimental"),
        ),
    )
    now = Rulebook(
        "now",
        (
            rule("kept", pl.col("spend_7d") > 5, owner="other"),
            rule("raised", RISES, version=2),
            rule("turned", pl.col("spend_7d") > 4),
            rule("tried", RISES),
            rule("new", RISES),
            rule("gone", RISES, status="deprecated"),
        ),
    )
    assert fresh_rules(before, now) == {"raised", "turned", "tried", "new"}
    assert fresh_rules(None, now) == {"kept", "raised", "turned", "tried", "new"}
    assert fresh_rules(now, now) == frozenset()
    sloped = rule("sloped", pl.col("slope") > 1)
    steep, steeper = (
        Rulebook(name, (sloped, before.rules[0]), derived={"slope": Derived(made, pl.Float64(), "", "", frozenset())})
        for name, made in (("steep", pl.col("spend_7d") / 7), ("steeper", pl.col("spend_7d") / 5))
    )
    assert fresh_rules(steep, steeper) == {"sloped"}
    assert fresh_rules(steep, steep) == frozenset()
    returned = dataclasses.replace(now.rules[5], status="stable")
    assert fresh_rules(now, Rulebook("again", (returned,))) == {"gone"}
