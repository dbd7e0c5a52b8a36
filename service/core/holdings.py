"""What a subscriber holds several of, and what follows from it for a day that closes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import polars as pl

from service.core import moves
from service.core.calendar import month_of, to_date
from service.core.tables import ByRow, Table

_GAPS = 5  # the rhythm of recharging is the median of so many last gaps
_KEEP_MONTHS = 14
OPEN_ENDED = 2**30  # the day on which what has no end would end; a day later still fits its column
_BILLS = 3

_ROW = {"row": pl.Int32()}
_STAMP = {"day": pl.Int32(), "occurred_us": pl.Int64(), "seq": pl.Int64()}

_PACKAGES = ("package", "package_plan")
_TIES = {"has_vpn": "vpn", "has_family": "family", "has_broadband": "broadband"}
QUOTAS = ("voice", "data", "sms")

# Figures of the last closed day by what they are of, a line for each row that has any: those who make them say what
# each means. What is of few takes little memory so.
FIGURES: Mapping[str, Mapping[str, pl.DataType]] = {
    "bundles": {
        **_ROW,
        "bundles": pl.Int32(),
        "hard_bundles": pl.Int32(),
        "hard_end": pl.Int32(),
        "has_package": pl.Boolean(),
        **dict.fromkeys(_TIES, pl.Boolean()),
        "blocks_port": pl.Boolean(),
        "unlinked_day": pl.Int32(),
        "unlinked_reason": pl.String(),
        "ever_bundled": pl.Boolean(),
    },
    "bills": {
        **_ROW,
        "bills": pl.Int32(),
        "bill_last": pl.Int64(),
        "bill_before_last": pl.Int64(),
        "bills_before_last": pl.Int64(),
        "bills_sum": pl.Int64(),
    },
    "fees": {**_ROW, "fee_month": pl.Int64(), "fee_last_month": pl.Int64()},
    "recharges": {
        **_ROW,
        "recharge_gap_days": pl.Float64(),
        "recharge_day": pl.Int32(),
        "recharge_last": pl.Int64(),
    },
    "complaints": {**_ROW, "open_complaints": pl.Int32()},
    "groups": {**_ROW, "group_id": pl.String(), "key_person": pl.Boolean()},
    **{
        f"quotas_{measure}": {**_ROW, f"quota_{measure}_left": pl.Float64(), f"quota_{measure}_over": pl.Int64()}
        for measure in QUOTAS
    },
    "moves": moves.FIGURES,
}


def _tables() -> dict[str, Table]:
    return {
        "bundles": Table(
            ("row", "bundle_id"),
            {
                **_ROW, "bundle_id": pl.String(), "kind": pl.String(), "hard": pl.Boolean(), "starts": pl.Int32(),
                "ends": pl.Int32(), "blocks_port": pl.Boolean(), "linked": pl.Boolean(), "reason": pl.String(),
                **_STAMP,
            },
        ),
        "bills": Table(
            ("row", "bill_month"),
            {**_ROW, "bill_month": pl.Int32(), "total_minor": pl.Int64(), **_STAMP},
            firsts=("day",),  # a bill is closed on its first day, however often it is corrected
        ),
        "fees": Table(
            ("row", "bill_month", "day"),
            {**_ROW, "bill_month": pl.Int32(), "day": pl.Int32(), "amount_minor": pl.Int64()},
            sums=("amount_minor",),
        ),
        "recharges": Table(
            ("row", "day"), {**_ROW, "day": pl.Int32(), "amount_minor": pl.Int64()}, sums=("amount_minor",)
        ),
        "complaints": Table(
            ("row", "complaint_id"),
            {**_ROW, "complaint_id": pl.String(), "topic": pl.String(), "open": pl.Boolean(), **_STAMP},
        ),
        "quotas": Table(
            ("row", "package_id", "measure"),
            {
                **_ROW, "package_id": pl.String(), "measure": pl.String(), "total": pl.Int64(), "used": pl.Int64(),
                "resets": pl.Int32(), **_STAMP,
            },
        ),
        "groups": Table(
            ("row", "group_id"),
            {**_ROW, "group_id": pl.String(), "key_person": pl.Boolean(), "member": pl.Boolean(), **_STAMP},
        ),
        "moves": Table(("row", "move", "ref"), dict(moves.TABLE), firsts=("day",)),
    }  # fmt: skip


_TRUE, _FALSE = pl.lit(value=True), pl.lit(value=False)
_ENTRIES: Mapping[str, tuple[str, Mapping[str, pl.Expr]]] = {
    "bundle.linked": (
        "bundles",
        {
            "starts": pl.coalesce(pl.col("starts_on").cast(pl.Int32), "day"),
            # A link without an end is open-ended even where the bundle had one before.
            "ends": pl.col("ends_on").cast(pl.Int32).fill_null(OPEN_ENDED),
            "hard": pl.col("hard").fill_null(value=False),
            "blocks_port": pl.col("blocks_port").fill_null(value=False),
            "linked": _TRUE,
            "reason": pl.lit(None, pl.String),
        },
    ),
    "bundle.unlinked": ("bundles", {"linked": _FALSE}),
    "bill.closed": ("bills", {}),
    "charge": ("fees", {}),
    "recharge": ("recharges", {}),
    "complaint.opened": ("complaints", {"open": _TRUE}),
    "complaint.closed": ("complaints", {"open": _FALSE}),
    "quota": ("quotas", {"resets": pl.col("resets_on").cast(pl.Int32)}),
    "group.joined": ("groups", {"member": _TRUE, "key_person": pl.col("key_person").fill_null(value=False)}),
    "group.left": ("groups", {"member": _FALSE}),
}
_ONLY: Mapping[str, pl.Expr] = {
    "charge": (pl.col("kind") == "recurring") & pl.col("bill_month").is_not_null(),
    "recharge": pl.col("amount_minor") > 0,
}


def _nothing(name: str) -> ByRow:
    return ByRow.of(pl.DataFrame(schema=FIGURES[name]))


@dataclass(slots=True)
class Holdings:
    """Tables by name, and the figures that were made of them at the last close, by FIGURES' names."""

    tables: dict[str, Table] = field(default_factory=_tables)
    figures: dict[str, ByRow] = field(default_factory=lambda: {name: _nothing(name) for name in FIGURES})

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        held = sum(int(figures.frame.estimated_size()) for figures in self.figures.values())
        return held + sum(table.nbytes for table in self.tables.values())

    def apply(self, frames: Mapping[str, pl.DataFrame], moved: pl.DataFrame) -> None:
        """Take over typed events (columns row, day, occurred_us, seq beside their fields), and the moves in them."""
        for event_type, (table, columns) in _ENTRIES.items():
            frame = frames.get(event_type)
            if frame is None or frame.is_empty():
                continue
            if event_type in _ONLY:
                frame = frame.filter(_ONLY[event_type])
            self.tables[table].add(frame.with_columns(**columns))
        self.tables["moves"].add(moved)

    def close(self, day: int) -> None:
        """Make the figures of a day that closes, from what happened up to it, and drop what is past keeping."""
        for name, made in _makers(day).items():
            told = self.tables[name.partition("_")[0]].frame()
            if told.is_empty():
                self.figures[name] = _nothing(name)
            else:
                columns = [pl.col(column).cast(dtype) for column, dtype in FIGURES[name].items()]
                self.figures[name] = ByRow.of(made(told.lazy()).select(columns).sort("row").collect())
        if to_date(day).day == 1:
            self._prune(day)

    def held(self, day: int) -> pl.DataFrame:
        """(row, kind, hard): the bundles that are held at the end of a closed day."""
        return self.tables["bundles"].frame().filter(_is_held(day)).select("row", "kind", "hard")

    def drop(self, rows: pl.Series) -> None:
        """Let `rows` hold nothing and never have held anything."""
        stays = ~pl.col("row").is_in(rows.implode())
        for table in self.tables.values():
            table.replace(table.frame().filter(stays))
        self.figures = {name: ByRow.of(figures.frame.filter(stays)) for name, figures in self.figures.items()}

    def restore(self, tables: Mapping[str, pl.DataFrame], figures: Mapping[str, pl.DataFrame]) -> None:
        """Take up what a snapshot holds by name; of what it lacks, being older, nothing is known."""
        for name, table in self.tables.items():
            if name in tables:
                table.replace(_with(tables[name], table.schema))
        for name, schema in FIGURES.items():
            if name in figures:
                self.figures[name] = ByRow.of(_with(figures[name], schema))

    def _prune(self, day: int) -> None:
        for name in ("bills", "fees"):
            frame = self.tables[name].frame()
            self.tables[name].replace(frame.filter(pl.col("bill_month") > month_of(day) - _KEEP_MONTHS))
        recent = pl.col("day") > day - moves.KEEP_DAYS
        self.tables["moves"].replace(self.tables["moves"].frame().filter(recent))
        recharges = self.tables["recharges"].frame()
        closed = pl.col("day") <= day
        last = (pl.col("day").filter(closed).top_k(_GAPS + 1).min()).over("row")
        self.tables["recharges"].replace(recharges.filter(~closed | (pl.col("day") >= last)))


def _with(frame: pl.DataFrame, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """A frame with the columns of a schema, null where it has none."""
    there = frame.columns
    return frame.select((pl.col(c) if c in there else pl.lit(None)).cast(t).alias(c) for c, t in schema.items())


def _makers(day: int) -> dict[str, Callable[[pl.LazyFrame], pl.LazyFrame]]:
    """Of each of FIGURES how it is made at the close of a day, from the table it is named after."""
    past = pl.col("day") <= day
    return {
        "bundles": lambda bundles: _bundles(bundles, day),
        "bills": lambda bills: _bills(bills.filter(past)),
        "fees": lambda fees: _fees(fees.filter(past), month_of(day)),
        "recharges": lambda recharges: _recharges(recharges.filter(past)),
        "complaints": _complaints,
        "groups": _groups,
        **{f"quotas_{measure}": partial(_quotas, measure=measure, day=day) for measure in QUOTAS},
        "moves": lambda told: moves.figures(told, day),
    }


def _has_begun(day: int) -> pl.Expr:
    return pl.col("starts").is_not_null() & (pl.col("starts") <= day)


def _is_linked(day: int) -> pl.Expr:
    """A record of after this day has not happened yet on it: the bundle it ends is still held."""
    return pl.col("linked") | (pl.col("day") > day)


def _is_held(day: int) -> pl.Expr:
    """Linked, started, and not past its end."""
    return _has_begun(day) & _is_linked(day) & (pl.col("ends") >= day)


def _bundles(bundles: pl.LazyFrame, day: int) -> pl.LazyFrame:
    """Held on the day, or gone: cancelled, or run out."""
    begun = bundles.filter(_has_begun(day))
    still, held = _is_linked(day), _is_held(day)
    gone_day = pl.when(still).then(pl.col("ends") + 1).otherwise(pl.min_horizontal("day", pl.col("ends") + 1))
    reason = pl.when(still | (pl.col("ends") < pl.col("day"))).then(pl.lit("lapsed")).otherwise(pl.col("reason"))
    hard_held = held & pl.col("hard")
    figures = begun.with_columns(gone=gone_day, why=reason, held=held, hard_held=hard_held)
    ends = pl.col("ends").replace(OPEN_ENDED, None)
    return figures.group_by("row").agg(
        bundles=pl.col("held").sum().cast(pl.Int32),
        hard_bundles=pl.col("hard_held").sum().cast(pl.Int32),
        # The last hard bundle's end; open-ended outlasts every date.
        hard_end=pl.when((pl.col("ends").filter("hard_held") == OPEN_ENDED).any())
        .then(None)
        .otherwise(ends.filter("hard_held").max()),
        has_package=(pl.col("held") & pl.col("kind").is_in(_PACKAGES)).any(),
        **{name: (pl.col("held") & (pl.col("kind") == kind)).any() for name, kind in _TIES.items()},
        blocks_port=(pl.col("held") & pl.col("blocks_port")).any(),
        unlinked_day=pl.when(~pl.col("held").any()).then(pl.col("gone").max()),
        unlinked_reason=pl.when(~pl.col("held").any()).then(pl.col("why").sort_by("gone").last()),
        ever_bundled=_TRUE,
    )


def _bills(bills: pl.LazyFrame) -> pl.LazyFrame:
    """The three latest closed bills; what needs more of them than there are is null."""
    total = pl.col("total_minor")
    latest = bills.sort("row", "bill_month").group_by("row", maintain_order=True).tail(_BILLS)
    enough = pl.len() >= _BILLS
    return latest.group_by("row").agg(
        bills=pl.len(),
        bill_last=total.last(),
        bill_before_last=pl.when(pl.len() > 1).then(total.tail(2).first()),
        bills_before_last=pl.when(enough).then(total.sum() - total.last()),
        bills_sum=pl.when(enough).then(total.sum()),
    )


def _fees(fees: pl.LazyFrame, month: int) -> pl.LazyFrame:
    of_month, amount = pl.col("bill_month"), pl.col("amount_minor")
    near = fees.filter(of_month.is_between(month - 1, month))
    return near.group_by("row").agg(
        fee_month=amount.filter(of_month == month).sum(), fee_last_month=amount.filter(of_month < month).sum()
    )


def _recharges(recharges: pl.LazyFrame) -> pl.LazyFrame:
    latest = recharges.sort("row", "day").group_by("row", maintain_order=True).tail(_GAPS + 1)
    gaps = pl.col("day").diff()
    return latest.group_by("row", maintain_order=True).agg(
        recharge_day=pl.col("day").max(),
        recharge_gap_days=pl.when(pl.len() == _GAPS + 1).then(gaps.median()),
        recharge_last=pl.col("amount_minor").last(),
    )


def _quotas(quotas: pl.LazyFrame, measure: str, day: int) -> pl.LazyFrame:
    """Over all packages of a measure whose period lasts beyond the day."""
    total, used = pl.col("total"), pl.col("used")
    lasts = (pl.col("resets") > day).fill_null(value=True)
    left = pl.max_horizontal(total - used, 0).sum() / total.sum()
    return (
        quotas.filter((pl.col("measure") == measure) & lasts & (total > 0) & used.is_not_null())
        .group_by("row")
        .agg(
            left.alias(f"quota_{measure}_left"),
            pl.max_horizontal(used - total, 0).sum().alias(f"quota_{measure}_over"),
        )
    )


def _complaints(complaints: pl.LazyFrame) -> pl.LazyFrame:
    return complaints.group_by("row").agg(open_complaints=pl.col("open").sum().cast(pl.Int32))


def _groups(groups: pl.LazyFrame) -> pl.LazyFrame:
    """Of several groups the one joined last."""
    members = groups.filter("member").sort("occurred_us", "seq")
    return members.group_by("row").agg(group_id=pl.col("group_id").last(), key_person=pl.col("key_person").last())
