"""Valid events of every type, and records that carry them."""

import json
from typing import Any

from service.wire.partitioning import Partitioner, partition_of
from service.wire.records import Record

NOON_US = 1_377_950_400_000_000  # 2013-08-31T12:00:00Z
PARTITIONS = 4

# Every field of every type.
BODIES: dict[str, dict[str, Any]] = {
    "usage.voice": {
        "seconds": 61,
        "billed_minutes": 2,
        "direction": "in",
        "peer_network": "other",
        "roaming": False,
    },
    "usage.sms": {"count": 3, "direction": "out", "roaming": True},
    "usage.data": {"bytes": 123_456_789, "rat": "4g", "in_package": False, "roaming": False},
    "charge": {"amount_minor": 120, "kind": "usage", "bill_month": "2013-08"},
    "bill.closed": {"bill_month": "2013-07", "total_minor": -50},
    "recharge": {"amount_minor": 5000},
    "balance": {"amount_minor": -12, "arrears_minor": 12},
    "quota": {"package_id": "p", "measure": "data", "total": 1000, "used": 1001, "resets_on": "2013-09-01"},
    "bundle.linked": {
        "bundle_id": "b",
        "kind": "device",
        "hard": True,
        "starts_on": "2013-01-01",
        "ends_on": "9999-12-31",
        "blocks_port": True,
    },
    "bundle.unlinked": {"bundle_id": "b", "reason": "lapsed"},
    "group.joined": {"group_id": "g", "key_person": True},
    "group.left": {"group_id": "g", "key_person": False},
    "subscriber.activated": {},
    "subscriber.profile": {
        "msisdn": "+8613800000001",
        "market": "校园",
        "area": "north",
        "manager": "m-1",
        "channel": "store",
        "industry": "education",
        "plan": "59",
        "fee_minor": 5900,
        "birthday": "1990-02-28",
        "vip_level": "gold",
        "activated_on": "2010-01-01",
    },
    "subscriber.status": {"status": "suspended_one_way"},
    "forwarding.set": {"peer_network": "other"},
    "device.changed": {"generation": "4g", "dual_sim": True},
    "np.queried": {"to_network": "other"},
    "np.code_issued": {"to_network": "other"},
    "np.requested": {"to_network": "other"},
    "np.ported": {"to_network": "other"},
    "complaint.opened": {"complaint_id": "c", "topic": "coverage"},
    "complaint.closed": {"complaint_id": "c", "topic": "coverage"},
    "competitor.called": {"network": "other"},
    "consent.changed": {"channel": "sms", "granted": False},
}


def event(event_type: str = "recharge", /, **changes: Any) -> dict[str, Any]:
    """A valid event with every field; a change to `...` leaves the field out."""
    whole = {
        "id": f"{event_type}-1",
        "type": event_type,
        "subscriber_id": "s-1",
        "occurred_at": "2013-08-31T12:00:00Z",
        **BODIES.get(event_type, {}),
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not ...}


def encoded(told: dict[str, Any]) -> bytes:
    """As producers write it."""
    return json.dumps(told, ensure_ascii=False).encode(errors="surrogatepass")


def record(value: bytes | None, key: str | bytes | None = "s-1", offset: int = 0, **changes: Any) -> Record:
    """A record of usage.events as the broker took it a second after NOON, on the partition its key belongs to."""
    raw = key.encode() if isinstance(key, str) else key
    home = home_of(raw) if raw is not None else 0
    told: dict[str, Any] = {"topic": "usage.events", "partition": home, "timestamp_us": NOON_US + 1_000_000, **changes}
    return Record(offset=offset, key=raw, value=value, **told)


def home_of(key: bytes, partitions: int = PARTITIONS, partitioner: Partitioner = "murmur2") -> int:
    """The partition of a key."""
    return partition_of(key, partitions, partitioner) or 0
