"""Where a subscriber stands in the dimensions that segments are told apart by: tiers of a usual month, places in lists.

closed day D:   D-89 ........ D-30 | D-29 ... D
                usual month: half    the window
"""

from collections.abc import Sequence

import numpy as np

from service.core.attributes import UNKNOWN_DAY
from service.core.rules import Dimension
from service.core.signals import View
from service.core.strings import ABSENT

MONTH_DAYS = 30
UNKNOWN = 0  # no code: nobody has told
BUNDLE_STATES = ("none", "soft", "hard", "both")
_SIZES = ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB"))
_TEXTS = {"market": "market", "device": "device_generation"}


def month_of_windows(lengths_days: Sequence[int]) -> int:
    """The window, in days, that stands for a month."""
    return min(lengths_days, key=lambda days: abs(days - MONTH_DAYS))


def codes_in(view: View, dimension: Dimension) -> np.ndarray:
    """Per row the three-digit code (int32) of a dimension: its hundred and the rank, which begins at 1; or UNKNOWN."""
    places = _places(view, dimension)
    codes: np.ndarray = np.where(places < 0, UNKNOWN, dimension.code + 1 + places).astype(np.int32)
    return codes


def label_of(dimension: Dimension, code: int, minor_digits: int = 2) -> str:
    """What a three-digit code means: a value of a list, or a tier's bounds in money, minutes, bytes or days."""
    place = code - dimension.code - 1
    if dimension.values:
        return dimension.values[place]
    tops = [_amount(dimension.name, top, minor_digits) for top in dimension.tops]
    if place == 0:
        return "none" if dimension.tops[0] == 0 else f"0-{tops[0]}"
    return f"{tops[-1]}+" if place == len(tops) else f"{tops[place - 1]}-{tops[place]}"


def codes_of(dimension: Dimension) -> range:
    """All codes that a dimension has."""
    return range(dimension.code + 1, dimension.code + 1 + (len(dimension.values) or len(dimension.tops) + 1))


def _amount(name: str, top: int, minor_digits: int) -> str:
    if name == "spend":
        return f"{top / 10**minor_digits:g}"
    if name == "data":
        size, unit = next(((size, unit) for size, unit in _SIZES if top >= size), (1, ""))
        return f"{top / size:g}{unit}"
    return str(top)


def _places(view: View, dimension: Dimension) -> np.ndarray:
    """Per row the tier or the place in the list, from 0 on; below 0 where it is not known."""
    if dimension.name in _TEXTS:
        return _listed(view, _TEXTS[dimension.name], dimension.values)
    if dimension.name == "bundle":
        return _bundled(view, dimension.values)
    if dimension.name == "tenure":
        return _tenured(view, dimension.tops)
    return _usual(view, dimension)


def _usual(view: View, dimension: Dimension) -> np.ndarray:
    """The first tier whose top is not below the usual month: the trailing baseline, as if it had thirty days."""
    windows = view.state.windows
    days = month_of_windows(windows.lengths_days)
    if days in windows.incomplete:
        return np.full(view.rows.size, -1)
    # Twice the window before: whole numbers are compared, so that a top itself is always within its tier.
    before = windows.take(f"{dimension.name}_{days}d_before", view.rows) * MONTH_DAYS
    return np.searchsorted(np.array(dimension.tops, np.int64) * (2 * days), before)


def _tenured(view: View, tops: Sequence[int]) -> np.ndarray:
    """By the days since activation at the end of the usual month."""
    end = view.state.closed_days(view.rows) - month_of_windows(view.state.windows.lengths_days)
    activated = view.state.attributes["activated_on"][view.rows]
    days = end - activated.astype(np.int64)
    places: np.ndarray = np.where(activated == UNKNOWN_DAY, -1, np.searchsorted(np.array(tops), days))
    return places


def _listed(view: View, name: str, values: Sequence[str]) -> np.ndarray:
    attributes = view.state.attributes
    vocabulary = attributes.vocabularies[name]
    places = np.full(len(vocabulary) + 1, -1)  # the last is that of ABSENT
    for place, value in enumerate(values):
        if (number := vocabulary.number(value)) != ABSENT:
            places[number] = place
    found: np.ndarray = places[attributes[name][view.rows]]
    return found


def _bundled(view: View, values: Sequence[str]) -> np.ndarray:
    """By the bundles held at the close; who was told of none has none."""
    figures = view.state.holdings.figures["bundles"].frame
    held = np.zeros((2, view.rows.size), np.int64)
    if figures.height:
        at = np.searchsorted(figures["row"].to_numpy(), view.rows).clip(max=figures.height - 1)
        lines = figures.select("row", "bundles", "hard_bundles")[at.astype(np.uint32)]
        mine = lines["row"].to_numpy() == view.rows
        held = np.stack([lines[name].fill_null(0).to_numpy() * mine for name in ("bundles", "hard_bundles")])
    every, hard = held
    states = (every > hard) + 2 * (hard > 0)
    places = np.array([values.index(state) if state in values else -1 for state in BUNDLE_STATES])
    found: np.ndarray = places[states]
    return found
