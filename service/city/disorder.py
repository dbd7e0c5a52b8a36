"""What goes wrong between an operator's systems and ours: records told twice, late, much too late, or broken."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from service.city.encode import LINES, gather_lines
from service.city.outages import Outages
from service.city.profile import Disorder
from service.city.quotas import Numbers
from service.city.rhythm import CityDay

_DAY_US = 86_400_000_000
_LATE_DAYS = (1, 6)  # within a week, which is how far back records are corrected
_BEYOND_DAYS = (9, 25)
_REPEATED_WITHIN_US = 6 * 3_600_000_000
WAYS = ("on_time", "repeated", "late", "beyond_horizon", "malformed", "unknown", "held_up")
DELIVERIES = {**LINES, "way": pl.UInt8()}

# Broken in the ways that real feeds are broken; {id}, {subscriber} and {time} are those of a healthy neighbour.
_BROKEN = (
    '{{"id":"{id}","type":"usage.voice","subscriber_id":"{subscriber}","occurred_at":"{time}","seconds":',
    '{{"id":"{id}","type":"usage.data","subscriber_id":"{subscriber}","occurred_at":"{time}","bytes":-1}}',
    '{{"id":"{id}","type":"usage.voice","subscriber_id":"{subscriber}","occurred_at":"yesterday","seconds":61}}',
    '{{"id":"{id}","type":"recharge","subscriber_id":"{subscriber}","occurred_at":"{time}","amount_minor":"ten"}}',
    '{{"id":"{id}","type":"usage.sms","subscriber_id":"{subscriber}-0","occurred_at":"{time}","count":1}}',
    '{{"id":"{id}","type":"subscriber.status","subscriber_id":"{subscriber}","occurred_at":"{time}","status":"odd"}}',
    "id;type;subscriber_id;occurred_at",
)
_UNKNOWN = '{{"id":"{id}","type":"usage.hologram","subscriber_id":"{subscriber}","occurred_at":"{time}","seconds":7}}'


@dataclass(slots=True)
class Delivery:
    """The way of events to their topic: most arrive as they happen, some wait here for a later day of the run."""

    disorder: Disorder
    outages: Outages
    days: int
    waiting: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=DELIVERIES))

    def deliver(self, usage: pl.DataFrame, rest: pl.DataFrame, day: CityDay, rng: np.random.Generator) -> pl.DataFrame:
        """What arrives on a day, in order: frame of DELIVERIES. Only `usage` comes late; anything may be repeated."""
        lines = pl.concat([self._delay(usage, day, rng), _on_time(rest)])
        parts = [self.waiting, lines, self._repeat(lines, rng), *self._break(lines, rng)]
        arriving = gather_lines(parts)
        # Order of arrival makes what is still to come the frame's tail.
        now = int(arriving["arrives_us"].search_sorted(day.end_us, side="left"))
        self.waiting = arriving[now:]
        return arriving[:now]

    def _delay(self, usage: pl.DataFrame, day: CityDay, rng: np.random.Generator) -> pl.DataFrame:
        chance = rng.random(usage.height) * 100
        late = chance < self.disorder.late
        beyond = ~late & (chance < self.disorder.late + self.disorder.beyond_horizon)
        lag = np.where(late, _days_within(_LATE_DAYS, chance.size, rng), _days_within(_BEYOND_DAYS, chance.size, rng))
        # What would come after the last day is on time instead: nothing is lost.
        delayed = (late | beyond) & (day.index + lag < self.days)
        way = np.where(delayed, np.where(late, WAYS.index("late"), WAYS.index("beyond_horizon")), 0)
        shift = np.where(delayed, lag, 0) * _DAY_US
        told = usage.with_columns(arrives_us=pl.col("arrives_us") + pl.Series(shift), way=pl.Series(way).cast(pl.UInt8))
        return self.outages.hold(told, day, WAYS.index("held_up"))

    def _repeat(self, lines: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
        at = np.flatnonzero(rng.random(lines.height) * 100 < self.disorder.repeated)
        after = pl.Series(rng.integers(1_000_000, _REPEATED_WITHIN_US, at.size))
        return lines[at].with_columns(
            arrives_us=pl.col("arrives_us") + after, way=pl.lit(WAYS.index("repeated"), pl.UInt8)
        )

    def _break(self, lines: pl.DataFrame, rng: np.random.Generator) -> list[pl.DataFrame]:
        """Broken and unknown records beside their healthy neighbours: a handful a day."""
        parts = []
        for way, percent, shapes in (
            ("malformed", self.disorder.malformed, _BROKEN),
            ("unknown", self.disorder.unknown, (_UNKNOWN,)),
        ):
            at = np.flatnonzero(rng.random(lines.height) * 100 < percent)
            shape = rng.integers(0, len(shapes), at.size)
            neighbours = lines[at]
            told = [
                shapes[s].format(id=f"{way[0]}{us}-{row}", subscriber=f"S{row:08d}", time=_text(us))
                for s, us, row in zip(shape, neighbours["arrives_us"], neighbours["row"], strict=True)
            ]
            parts.append(neighbours.with_columns(
                line=pl.Series(told, dtype=pl.String), way=pl.lit(WAYS.index(way), pl.UInt8)
            ))  # fmt: skip
        return parts


def count_ways(deliveries: pl.DataFrame) -> Mapping[str, int]:
    """How many arrived in which way, by name."""
    counts = np.bincount(deliveries["way"].to_numpy(), minlength=len(WAYS))
    return {way: int(count) for way, count in zip(WAYS, counts, strict=True)}


def _on_time(lines: pl.DataFrame) -> pl.DataFrame:
    return lines.with_columns(way=pl.lit(0, pl.UInt8))


def _days_within(bounds: tuple[int, int], count: int, rng: np.random.Generator) -> Numbers:
    return rng.integers(bounds[0], bounds[1] + 1, count)


def _text(at_us: int) -> str:
    return str(np.datetime64(at_us // 1_000_000, "s")) + "Z"
