"""Versions of the rulebook on churn.rulebook, keyed by hash: what their files say, and from when each is to judge."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from service.core.books import Publication
from service.core.calendar import to_date, to_day
from service.wire.records import Message, Record


class VersionError(ValueError):
    """A record is no version of a rulebook; the sentence says where it is and what is wrong."""


class PublishedValue(Struct, frozen=True):
    """One time that a version was published."""

    effective_on: Annotated[date, Meta(description="The first local day that it judges, unless a later one counts")]
    number: Annotated[
        int, Meta(ge=1, description="Counts publications of all versions; of one day the last one counts")
    ]
    published_at: Annotated[str, Meta(description="When: RFC 3339")]
    by: Annotated[str, Meta(description="Who")]


class VersionValue(Struct, frozen=True):
    """A version of the rulebook, and every time that it was published."""

    hash: Annotated[str, Meta(description="Names the version, also the record's key")]
    publications: Annotated[tuple[PublishedValue, ...], Meta(description="When it is to judge")]
    files: Annotated[dict[str, Any], Meta(description="What each file of the rules folder says, by its path")]


@dataclass(frozen=True, slots=True)
class Version:
    """A version of the rulebook as it was published: the contents of its files (see Rulebook.contents), and when."""

    hash: str
    files: Mapping[str, object]
    publications: tuple[Publication, ...]


def version_message(version: Version, topic: str) -> Message:
    """The message that holds a version; it takes the place of the one before."""
    value = {
        "hash": version.hash,
        "publications": [
            {
                "effective_on": to_date(one.effective_on).isoformat(),
                "number": one.number,
                "published_at": one.published_at,
                "by": one.by,
            }
            for one in version.publications
        ],
        "files": version.files,
    }
    # Numbers of any size, as YAML has them.
    return Message(topic, 0, version.hash.encode(), json.dumps(value, ensure_ascii=False).encode())


def read_version(record: Record) -> Version | None:
    """A version, None for one that was taken back (a tombstone). Raises: VersionError."""
    place = f"{record.topic}-{record.partition}@{record.offset}"
    if record.value is None:
        return None
    try:
        told = msgspec.convert(json.loads(record.value), VersionValue)
    except (ValueError, RecursionError) as error:
        raise VersionError(f"{place} is no version of a rulebook: {error}") from error
    if record.key != told.hash.encode():
        raise VersionError(f"{place} is no version of a rulebook: its key is not its hash")
    publications = (
        Publication(told.hash, to_day(one.effective_on), one.number, one.published_at, one.by)
        for one in told.publications
    )
    return Version(told.hash, told.files, tuple(publications))


def publications_of(versions: Sequence[Version]) -> tuple[Publication, ...]:
    """All publications in the order in which they were made."""
    return tuple(sorted((one for version in versions for one in version.publications), key=lambda one: one.number))
