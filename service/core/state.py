"""All that a shard knows: roster, open and sealed panes, running sums, attributes, holdings, repeats, episodes."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from service.core.activity import Activity
from service.core.attributes import Attributes
from service.core.calendar import day_end_us, local_days
from service.core.cohorts import Cohorts
from service.core.episodes import Episodes
from service.core.feed import Feed
from service.core.holdings import Holdings
from service.core.panes import Panes
from service.core.repeats import Repeats
from service.core.strings import StringIndex
from service.core.turn import DayRecord, Mute, Release
from service.core.watermark import Watermark
from service.core.windows import Windows

DEFAULT_WINDOWS_DAYS = (1, 7, 14, 30, 60, 90)

# While a step is aside it changes nothing that a lookup reads: whoever waits to read may do so meanwhile. Entering it
# may raise to break the step off, after which the state is of no more use.
Aside = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Config:
    """What an operator sets once and the core needs to know."""

    zone: str = "UTC"
    windows_days: tuple[int, ...] = DEFAULT_WINDOWS_DAYS
    year_on_year: bool = False
    photo_month: int | None = None  # year * 12 + month - 1
    grace_us: int = 2 * 3_600_000_000
    horizon_days: int = 7
    horizon_days_by_type: Mapping[str, int] = field(default_factory=dict)
    roaming_horizon_days: int = 35
    keep_days: int = 90  # resolved episodes and contacts
    lost_days: int = 400  # after so many without a record a subscriber's row may be another's
    minor_digits: int = 2
    partitions: int = 1  # of the usage topic: what may be said a day is shared among their shards
    feed_gate: bool = True  # whether a feed may be doubted; a file is complete
    own_network: str = "mobile"  # our own network's name in events

    @property
    def longest_horizon_days(self) -> int:
        """The longest time a record may come late and still count."""
        return max(self.horizon_days, self.roaming_horizon_days, *self.horizon_days_by_type.values())


@dataclass(slots=True)
class State:
    """One shard. Big columns move in place; only the functions of core.step change it."""

    config: Config
    windows: Windows
    activity: Activity
    roster: StringIndex = field(default_factory=StringIndex)
    attributes: Attributes = field(default_factory=Attributes)
    holdings: Holdings = field(default_factory=Holdings)
    panes: Panes = field(default_factory=Panes)
    repeats: Repeats = field(default_factory=Repeats)
    watermark: Watermark = field(default_factory=Watermark)
    episodes: Episodes = field(default_factory=Episodes)
    closed_day: int | None = None
    moving: tuple[int, int] | None = None  # while a day closes: the day, and how many rows have it behind them
    mutes: dict[str, Mute] = field(default_factory=dict)
    releases: dict[str, Release] = field(default_factory=dict)
    feed: Feed = field(default_factory=Feed)
    cohorts: Cohorts = field(default_factory=Cohorts)
    judged: bool = False  # whether any close was judged here before: what is true at the first is standing
    cursor: int = 0
    feedback_cursor: int = 0
    last_close: DayRecord | None = None

    @property
    def watermark_us(self) -> int | None:
        """The latest believed event time."""
        return self.watermark.us

    @property
    def first_day(self) -> int | None:
        """The earliest day of which any usage is kept."""
        days = self.panes.days
        return days[0] if days else None

    @property
    def subscribers(self) -> int:
        """How many subscribers are known."""
        return self.roster.count

    @property
    def rows(self) -> np.ndarray:
        """Their rows (int32), ascending."""
        return self.roster.named(np.arange(len(self.roster), dtype=np.int32))

    @property
    def nbytes(self) -> int:
        """Memory held by all columns, in bytes; repeats apart."""
        parts = (self.windows, self.activity, self.roster, self.attributes, self.holdings, self.panes, self.episodes)
        return sum(part.nbytes for part in parts)

    def days_of(self, times_us: np.ndarray) -> np.ndarray:
        """Local days of instants."""
        return local_days(times_us, self.config.zone)

    def closed_days(self, rows: np.ndarray) -> np.ndarray:
        """The last closed day (int32) of each row: while a day closes, some have it behind them and some have not."""
        days = np.full(rows.size, -1 if self.closed_day is None else self.closed_day, np.int32)
        if self.moving is not None:
            day, moved = self.moving
            days[rows < moved] = day
        return days

    def due_us(self, day: int) -> int:
        """The watermark at which a day closes: its end and the grace."""
        return day_end_us(day, self.config.zone) + self.config.grace_us

    def rows_of(self, subscriber_ids: pl.Series, hashes: np.ndarray | None = None) -> np.ndarray:
        """Rows of subscribers, with room made for new ones; `hashes` are theirs, where they are known."""
        rows = self.roster.intern(subscriber_ids, hashes)
        self.windows.grow(len(self.roster))
        self.activity.grow(len(self.roster))
        self.attributes.grow(len(self.roster))
        return rows


def new_state(config: Config) -> State:
    """The state of a shard that has seen nothing."""
    windows = Windows(config.windows_days, year_on_year=config.year_on_year, photo_month=config.photo_month)
    return State(config=config, windows=windows, activity=Activity(max(config.windows_days)))
