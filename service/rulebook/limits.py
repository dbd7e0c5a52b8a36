"""The limits of a rulebook, from their file; what it leaves out is as the core has it."""

from service.core.rules import Limits
from service.rulebook.building import day_count, reader_of
from service.rulebook.documents import Document
from service.rulebook.formats import LIMITS
from service.rulebook.problems import RulebookError

_PLACES = {
    "breaker_share": ("breaker", "share"),
    "breaker_least": ("breaker", "least"),
    "feed_least_share": ("feed", "least_share"),
    "feed_least_active": ("feed", "least_active"),
    "feed_weeks": ("feed", "weeks"),
}


def build_limits(document: Document) -> Limits:
    """The limits that a document sets. Raises: RulebookError."""
    reader = reader_of(document, LIMITS, {}, {})
    if reader.problems:
        raise RulebookError(reader.problems)
    told = {name: reader.at(*steps) for name, steps in _PLACES.items()}
    told["contact_gap_days"] = day_count(reader.text("contact_gap"))
    return Limits(**{name: value for name, value in told.items() if value is not None})  # type: ignore[arg-type] # shape
