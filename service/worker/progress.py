"""Whether what could move does: a consumer that gives nothing without an error is found out by the standstill."""

from collections.abc import Mapping


class Standstill:
    """For how long partitions have stood where they are though they could go on; instants are of a steady clock."""

    def __init__(self) -> None:
        self._stood: dict[int, tuple[int, float]] = {}

    def note(self, places: Mapping[int, tuple[int, int]], now_s: float) -> None:
        """Where each is, and how far it could be; who has moved, has arrived, or was not there, begins anew."""
        stood = {}
        for partition, (at, end) in places.items():
            before, since_s = self._stood.get(partition, (at, now_s))
            stood[partition] = (at, since_s if at == before and at < end else now_s)
        self._stood = stood

    def longer_than(self, seconds: float, now_s: float) -> list[int]:
        """Who has stood still for at least so long, ascending."""
        return sorted(partition for partition, (_, since_s) in self._stood.items() if now_s - since_s >= seconds)
