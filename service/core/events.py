"""The columnar form of events: what the wire hands to the core, one frame per event type."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl

STATUSES = (
    "normal",
    "suspended_one_way",
    "suspended_two_way",
    "suspended_on_request",
    "pre_cancelled",
    "cancelled",
)
CHANNELS = ("call", "sms", "manager")

# One entry per event type, one column per field beyond id, type, subscriber_id and occurred_at.
# Days (starts_on, activated_on ...) are pl.Date, months (bill_month) the Int32 number year * 12 + month - 1.
FIELDS: Mapping[str, Mapping[str, pl.DataType]] = {
    "usage.voice": {
        "seconds": pl.Int64(),
        "billed_minutes": pl.Int64(),
        "direction": pl.String(),
        "peer_network": pl.String(),
        "roaming": pl.Boolean(),
    },
    "usage.sms": {"count": pl.Int64(), "direction": pl.String(), "roaming": pl.Boolean()},
    "usage.data": {"bytes": pl.Int64(), "rat": pl.String(), "in_package": pl.Boolean(), "roaming": pl.Boolean()},
    "charge": {"amount_minor": pl.Int64(), "kind": pl.String(), "bill_month": pl.Int32()},
    "bill.closed": {"bill_month": pl.Int32(), "total_minor": pl.Int64()},
    "recharge": {"amount_minor": pl.Int64()},
    "balance": {"amount_minor": pl.Int64(), "arrears_minor": pl.Int64()},
    "quota": {
        "package_id": pl.String(),
        "measure": pl.String(),
        "total": pl.Int64(),
        "used": pl.Int64(),
        "resets_on": pl.Date(),
    },
    "bundle.linked": {
        "bundle_id": pl.String(),
        "kind": pl.String(),
        "hard": pl.Boolean(),
        "starts_on": pl.Date(),
        "ends_on": pl.Date(),
        "blocks_port": pl.Boolean(),
    },
    "bundle.unlinked": {"bundle_id": pl.String(), "reason": pl.String()},
    "group.joined": {"group_id": pl.String(), "key_person": pl.Boolean()},
    "group.left": {"group_id": pl.String(), "key_person": pl.Boolean()},
    "subscriber.activated": {},
    "subscriber.profile": {
        "msisdn": pl.String(),
        "market": pl.String(),
        "area": pl.String(),
        "manager": pl.String(),
        "channel": pl.String(),
        "industry": pl.String(),
        "plan": pl.String(),
        "fee_minor": pl.Int64(),
        "birthday": pl.Date(),
        "vip_level": pl.String(),
        "activated_on": pl.Date(),
    },
    "subscriber.status": {"status": pl.String()},
    "forwarding.set": {"peer_network": pl.String()},
    "device.changed": {"generation": pl.String(), "dual_sim": pl.Boolean()},
    "np.queried": {"to_network": pl.String()},
    "np.code_issued": {"to_network": pl.String()},
    "np.requested": {"to_network": pl.String()},
    "np.ported": {"to_network": pl.String()},
    "complaint.opened": {"complaint_id": pl.String(), "topic": pl.String()},
    "complaint.closed": {"complaint_id": pl.String(), "topic": pl.String()},
    "competitor.called": {"network": pl.String()},
    "consent.changed": {"channel": pl.String(), "granted": pl.Boolean()},
}

# Fields of events whose values are a closed set, as the contract has them.
CLOSED: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("subscriber.status", "status"): STATUSES,
    ("consent.changed", "channel"): CHANNELS,
    ("bundle.unlinked", "reason"): ("cancelled", "lapsed", "replaced"),
    ("charge", "kind"): ("recurring", "usage", "vas", "one_off", "refund"),
    ("quota", "measure"): ("voice", "data", "sms"),
    ("device.changed", "generation"): ("2g", "3g", "4g", "5g"),
    ("usage.voice", "direction"): ("out", "in"),
    ("usage.sms", "direction"): ("out", "in"),
}

COMMON = {
    "offset": pl.Int64(),
    "id": pl.String(),
    "subscriber_id": pl.String(),
    "type": pl.String(),
    "occurred_us": pl.Int64(),  # microseconds since 1970 UTC
}


@dataclass(frozen=True, slots=True)
class Batch:
    """Valid records of one shard, in offset order.

    `common` has the columns of COMMON, one row per event (a mapped record may carry several events under one offset);
    `fields[type]` has the columns of FIELDS[type] and `at` (UInt32), the event's row in `common`, ascending.
    `end` is the offset after the last record polled, valid or not.
    """

    common: pl.DataFrame
    fields: Mapping[str, pl.DataFrame]
    end: int


class Stretch(NamedTuple):
    """The events of a batch from row `first` of its `common` to before row `last`."""

    batch: Batch
    first: int
    last: int

    @property
    def common(self) -> pl.DataFrame:
        """Its part of `common`."""
        return self.batch.common.slice(self.first, self.last - self.first)

    def typed(self, event_type: str) -> tuple[pl.DataFrame, np.ndarray]:
        """Its part of `fields[event_type]`, and of each event there the row (int64) in the stretch's own `common`."""
        fields = self.batch.fields[event_type]
        at = fields["at"].to_numpy().astype(np.int64) - self.first
        begin, end = np.searchsorted(at, (0, self.last - self.first)).tolist()
        return fields.slice(begin, end - begin), at[begin:end]
