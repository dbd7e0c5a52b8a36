"""From the file of segments to what the core judges trends by and tells segments apart by."""

from typing import Literal, NamedTuple, cast

from service.core.rules import Dimension, SegmentBands
from service.rulebook.building import Signals, day_count, reader_of
from service.rulebook.documents import Document
from service.rulebook.formats import DIMENSIONS, SEGMENTS
from service.rulebook.problems import RulebookError, suggest
from service.rulebook.reading import Reader


class Segments(NamedTuple):
    """What a rulebook says of segments: fields of the core's Rulebook."""

    bands: tuple[SegmentBands, ...] = ()
    dimensions: tuple[Dimension, ...] = ()
    against: Literal["own", "cohort"] = "own"
    bundle_kinds: dict[str, tuple[str, ...]] = {}  # noqa: RUF012 - a field of a tuple, never changed


def build_segments(document: Document, signals: Signals) -> Segments:
    """Bands in order of priority, dimensions and kinds of bundles. Raises: RulebookError."""
    reader = reader_of(document, SEGMENTS, signals, {})
    _check_bands(reader)
    if reader.problems:
        raise RulebookError(reader.problems)
    told = reader.at("dimensions")
    kinds = reader.at("bundles")
    return Segments(
        bands=tuple(
            SegmentBands(
                measure=reader.text("bands", at, "measure"),
                window_days=day_count(reader.text("bands", at, "window")) or 0,
                stable=float(str(reader.at("bands", at, "stable"))),
                warned=float(str(reader.at("bands", at, "warned"))),
                up_floor=int(str(reader.at("bands", at, "up_floor"))),
            )
            for at in range(len(reader.items("bands")))
        ),
        dimensions=tuple(_dimension(reader, name) for name in DIMENSIONS if isinstance(told, dict) and name in told),
        against=cast("Literal['own', 'cohort']", reader.text("against") or "own"),
        bundle_kinds={str(name): tuple(map(str, of)) for name, of in kinds.items()} if isinstance(kinds, dict) else {},
    )


def _check_bands(reader: Reader) -> None:
    """One band a measure, over a window that there is."""
    seen: dict[str, int] = {}
    for at in range(len(reader.items("bands"))):
        measure, days = reader.text("bands", at, "measure"), day_count(reader.text("bands", at, "window"))
        if seen.setdefault(measure, at) != at:
            reader.fault(("bands", at, "measure"), f"bands.{at}: {measure} has a band already, expected one a measure")
        name = f"{measure}_{days}d"
        if days and f"{name}_baseline" not in reader.signals:
            near = suggest(f"{name}_baseline", reader.signals)
            reader.fault(("bands", at, "window"), f"bands.{at}: no signal {name}_baseline{near}")


def _dimension(reader: Reader, name: str) -> Dimension:
    steps = ("dimensions", name)
    return Dimension(
        name=name,
        code=int(str(reader.at(*steps, "code"))),
        tops=tuple(int(str(top)) for top in reader.items(*steps, "tops")),
        values=tuple(str(value) for value in reader.items(*steps, "values")),
    )
