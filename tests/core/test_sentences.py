"""Sentences have their numbers filled in, in the form that a reader expects."""

import pytest

from service.core.sentences import placeholders, render


@pytest.mark.parametrize(
    ("template", "numbers", "expected"),
    [
        ("fell by {drop:percent}", {"drop": 0.456}, "fell by 46%"),
        ("{spend:money} yuan", {"spend": 123456}, "1,234.56 yuan"),
        ("{spend:money}", {"spend": 4050.5}, "40.51"),
        ("{spend:money}", {"spend": -5}, "-0.05"),
        ("{n:minutes} min", {"n": 1234.5}, "1,234 min"),
        ("{n:bytes}", {"n": 999}, "999 B"),
        ("{n:bytes}", {"n": 1_500_000}, "1.5 MB"),
        ("{n:bytes}", {"n": 25_000_000_000}, "25 GB"),
        ("{n:days} days", {"n": 9.5}, "9.5 days"),
        ("{n:days} days", {"n": 14}, "14 days"),
        ("{n}", {"n": 1234567}, "1,234,567"),
        ("{n}", {"n": 4.35}, "4.35"),
        ("{n}", {"n": 30.0}, "30"),
        ("{event.peer_network} takes the calls", {"event.peer_network": "unicom"}, "unicom takes the calls"),
        ("近30天消费 {spend_30d:money} 元", {"spend_30d": 100}, "近30天消费 1.00 元"),
        ("{n:money} and {m:percent}", {"n": None}, "– and –"),  # noqa: RUF001 - the dash of what is unknown
        ("{n:percent}", {"n": "text"}, "text"),
        ("no place", {}, "no place"),
    ],
)
def test_fills_a_template_with_numbers(template: str, numbers: dict[str, object], expected: str) -> None:
    assert render(template, numbers) == expected


def test_money_has_as_many_digits_as_its_currency() -> None:
    assert [render("{n:money}", {"n": 12345}, digits) for digits in (0, 2, 3)] == ["12,345", "123.45", "12.345"]


def test_a_sentence_names_what_it_needs() -> None:
    assert placeholders("{a_1d:money} of {event.used}") == [("a_1d", "money"), ("event.used", "plain")]


@pytest.mark.parametrize("template", ["{Spend}", "{}", "{a:b:c}", "{a", "a}", "{{a}}"])
def test_what_is_no_placeholder_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match=r"placeholder|brace"):
        placeholders(template)
