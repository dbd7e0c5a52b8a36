"""What a subscriber holds several of, and what follows from it for a day that closes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import polars as pl

from service.core.calendar import month_of, to_date
from service.core.tables import Table

_GAPS = 5  # the rhythm of recharging is the median of so many last gaps
_KEEP_MONTHS = 14
OPEN_ENDED = 2**30  # the day on which what has no end would end; a day later still fits its column
_BILLS = 3

_ROW = {"row": pl.Int32()}
_STAMP = {"day": pl.Int32(), "occurred_us": pl.Int64(), "seq": pl.Int64()}

# Figures of the last closed day, one line per row that has any; `derive` says what each means.
DERIVED = {
    "row": pl.Int32(),
    "bundles": pl.Int32(),
    "hard_bundles": pl.Int32(),
    "hard_end": pl.Int32(),
    "unlinked_day": pl.Int32(),
    "unlinked_reason": pl.String(),
    "ever_bundled": pl.Boolean(),
    "fee_month": pl.Int64(),
    "bills": pl.Int32(),
    "bill_last": pl.Int64(),
    "bills_before_last": pl.Int64(),
    "bills_sum": pl.Int64(),
    "recharge_gap_days": pl.Float64(),
    "recharge_day": pl.Int32(),
    "open_complaints": pl.Int32(),
    "group_id": pl.String(),
    "key_person": pl.Boolean(),
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


@dataclass(slots=True)
class Holdings:
    """Tables by name, and the figures derived from them at the last close."""

    tables: dict[str, Table] = field(default_factory=_tables)
    derived: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=DERIVED))

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return sum(table.nbytes for table in self.tables.values()) + int(self.derived.estimated_size())

    def apply(self, frames: Mapping[str, pl.DataFrame]) -> None:
        """Take over typed events (columns row, day, occurred_us, seq beside their fields)."""
        for event_type, (table, columns) in _ENTRIES.items():
            frame = frames.get(event_type)
            if frame is None or frame.is_empty():
                continue
            if event_type in _ONLY:
                frame = frame.filter(_ONLY[event_type])
            self.tables[table].add(frame.with_columns(**columns))

    def close(self, day: int) -> None:
        """Derive the figures of a day that closes, from what happened up to it, and drop what is past keeping."""
        past = pl.col("day") <= day
        makers: dict[str, Callable[[pl.LazyFrame], pl.LazyFrame]] = {
            "bundles": lambda bundles: _bundles(bundles, day),
            "bills": lambda bills: _bills(bills.filter(past)),
            "fees": lambda fees: _fees(fees.filter(past), month_of(day)),
            "recharges": lambda recharges: _recharges(recharges.filter(past)),
            "complaints": _complaints,
            "groups": _groups,
        }
        told = {name: self.tables[name].frame() for name in makers}
        parts = [made(told[name].lazy()) for name, made in makers.items() if not told[name].is_empty()]
        figures = pl.concat([part.select("row") for part in parts]).unique() if parts else pl.LazyFrame(schema=_ROW)
        for part in parts:
            figures = figures.join(part, on="row", how="left")
        known = figures.collect_schema().names()
        columns = [
            (pl.col(name) if name in known else pl.lit(None)).cast(dtype).alias(name) for name, dtype in DERIVED.items()
        ]
        self.derived = figures.select(columns).sort("row").collect()
        if to_date(day).day == 1:
            self._prune(day)

    def held(self, day: int) -> pl.DataFrame:
        """(row, kind, hard): the bundles that are held at the end of a closed day."""
        return self.tables["bundles"].frame().filter(_is_held(day)).select("row", "kind", "hard")

    def drop(self, rows: pl.Series) -> None:
        """Let `rows` hold nothing and never have held anything."""
        for table in self.tables.values():
            table.replace(table.frame().filter(~pl.col("row").is_in(rows.implode())))
        self.derived = self.derived.filter(~pl.col("row").is_in(rows.implode()))

    def _prune(self, day: int) -> None:
        for name in ("bills", "fees"):
            frame = self.tables[name].frame()
            self.tables[name].replace(frame.filter(pl.col("bill_month") > month_of(day) - _KEEP_MONTHS))
        recharges = self.tables["recharges"].frame()
        closed = pl.col("day") <= day
        last = (pl.col("day").filter(closed).top_k(_GAPS + 1).min()).over("row")
        self.tables["recharges"].replace(recharges.filter(~closed | (pl.col("day") >= last)))


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
        bills_before_last=pl.when(enough).then(total.sum() - total.last()),
        bills_sum=pl.when(enough).then(total.sum()),
    )


def _fees(fees: pl.LazyFrame, month: int) -> pl.LazyFrame:
    return fees.filter(pl.col("bill_month") == month).group_by("row").agg(fee_month=pl.col("amount_minor").sum())


def _recharges(recharges: pl.LazyFrame) -> pl.LazyFrame:
    latest = recharges.sort("row", "day").group_by("row", maintain_order=True).tail(_GAPS + 1)
    gaps = pl.col("day").diff()
    return latest.group_by("row").agg(
        recharge_day=pl.col("day").max(),
        recharge_gap_days=pl.when(pl.len() == _GAPS + 1).then(gaps.median()),
    )


def _complaints(complaints: pl.LazyFrame) -> pl.LazyFrame:
    return complaints.group_by("row").agg(open_complaints=pl.col("open").sum().cast(pl.Int32))


def _groups(groups: pl.LazyFrame) -> pl.LazyFrame:
    """Of several groups the one joined last."""
    members = groups.filter("member").sort("occurred_us", "seq")
    return members.group_by("row").agg(group_id=pl.col("group_id").last(), key_person=pl.col("key_person").last())
