"""Memory a worker's shards will take, beside its limit: said at the start, warned of early, refused before too late.

The policy is arithmetic on what snapshots say that shards held; `read_limit` and `read_resident` alone look at the
machine, and only at files, so they answer None or the physical memory where it keeps no such files.
"""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

WARN_SHARE = 0.8
_TAKE_SHARE = 0.95  # above it the kernel's own needs may end the process
_MB = 1 << 20

BASE_BYTES = 400 * _MB  # interpreter, libraries, fetched records
_HEADROOM = 1.5  # for frames beside the state while it is restored, and for what it grows by until then


@dataclass(frozen=True, slots=True)
class Plan:
    """What of the partitions fits: needs in bytes, those to take and those to refuse, ascending."""

    needed_bytes: int  # of all that is taken, and the process itself
    limit_bytes: int
    taken: tuple[int, ...]
    refused: tuple[int, ...]

    @property
    def is_tight(self) -> bool:
        """Whether an operator should be warned."""
        return bool(self.refused) or self.needed_bytes >= WARN_SHARE * self.limit_bytes

    @property
    def sentence(self) -> str:
        """What the plan says to an operator."""
        told = (
            f"{len(self.taken)} shards will need about {self.needed_bytes // _MB:,} MB "
            f"of the {self.limit_bytes // _MB:,} MB there are"
        )
        if self.refused:
            named = ", ".join(map(str, self.refused))
            return f"{told}; partitions {named} do not fit and are refused: start another worker, or give this one more"
        return f"{told}; give it more before it grows" if self.is_tight else told


def needed_bytes(held_bytes: int) -> int:
    """Memory (bytes) that a shard will take, by what it held when its newest snapshot was taken."""
    return round(held_bytes * _HEADROOM)


def plan(needs: Mapping[int, int], held: Collection[int], limit_bytes: int) -> Plan:
    """Which partitions to take, by the bytes each will need; those `held` already stay, new ones in ascending order.

    One that is too large does not keep smaller ones behind it out.
    """
    taken = [partition for partition in needs if partition in held]
    total = BASE_BYTES + sum(needs[partition] for partition in taken)
    refused = []
    for partition in sorted(needs.keys() - set(taken)):
        if total + needs[partition] <= _TAKE_SHARE * limit_bytes:
            taken.append(partition)
            total += needs[partition]
        else:
            refused.append(partition)
    return Plan(total, limit_bytes, tuple(sorted(taken)), tuple(refused))


def is_nearly_full(resident_bytes: int, limit_bytes: int) -> bool:
    """Whether what is held now deserves a warning."""
    return resident_bytes >= WARN_SHARE * limit_bytes


def read_limit(set_bytes: int | None = None, root: Path = Path("/"), physical_bytes: int | None = None) -> int:
    """Bytes this process may take: as set, else the least of its control groups (v2) and the physical memory."""
    if set_bytes is not None:
        return set_bytes
    limits = [_physical_bytes() if physical_bytes is None else physical_bytes]
    mounted = root / "sys/fs/cgroup"
    # In a container its own group is usually the mount itself; without one, groups lie below each other.
    groups = [mounted]
    for part in Path(_own_group(root)).parts[1:]:
        groups.append(groups[-1] / part)
    for group in groups:
        told = _read(group / "memory.max")
        if told.isdigit():
            limits.append(int(told))
    return min(limits)


def read_resident(root: Path = Path("/")) -> int | None:
    """Bytes this process holds in memory now, or None where the system does not say."""
    told = _read(root / "proc/self/statm").split()
    return int(told[1]) * os.sysconf("SC_PAGE_SIZE") if len(told) > 1 else None


def _own_group(root: Path) -> str:
    lines = _read(root / "proc/self/cgroup").splitlines()
    return next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "/")


def _physical_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
