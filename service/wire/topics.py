"""The topics: their names, and how each is made."""

from collections.abc import Mapping
from dataclasses import dataclass

from service.core.events import CHANNELS

DAY_MS = 86_400_000
_LONG_DAYS = 365
_OUT_DAYS = 90
_TOMBSTONE_DAYS = 30  # beyond the oldest snapshot kept


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as `topics create` makes it; `least_days` is how long it must keep its records whatever is chosen."""

    name: str
    partitions: int
    config: Mapping[str, str]
    least_days: int = 0


@dataclass(frozen=True, slots=True)
class Topics:
    """Names of all topics; `prefix` begins each."""

    prefix: str = ""

    @property
    def usage(self) -> str:
        """Usage events in, keyed by subscriber."""
        return f"{self.prefix}usage.events"

    @property
    def feedback(self) -> str:
        """What marketing and agents report, and ends of feeds; keyed by subscriber."""
        return f"{self.prefix}churn.feedback"

    @property
    def decisions(self) -> str:
        """What each shard has told the world, compacted: cursor, days, episodes, contacts."""
        return f"{self.prefix}churn.decisions"

    @property
    def warnings(self) -> str:
        """Warnings out."""
        return f"{self.prefix}churn.warnings"

    @property
    def segments(self) -> str:
        """Changes of segment out."""
        return f"{self.prefix}churn.segments"

    def outbound(self, channel: str) -> str:
        """Orders to outbound marketing over a channel: call, sms or manager."""
        return f"{self.prefix}outbound.{channel}"

    @property
    def late(self) -> str:
        """Records that came too late to count, as they came."""
        return f"{self.prefix}usage.late"

    @property
    def dead_letters(self) -> str:
        """Records that cannot be read, as they came, with the reason."""
        return f"{self.prefix}usage.dead-letters"

    @property
    def directory(self) -> str:
        """Which worker owns which shard."""
        return f"{self.prefix}churn.directory"

    @property
    def rulebook(self) -> str:
        """Versions of the rulebook, keyed by hash."""
        return f"{self.prefix}churn.rulebook"

    def specs(self, partitions: int, input_days: int, least_days: int = 0) -> tuple[TopicSpec, ...]:
        """How to make them all.

        Args:
            partitions: of the usage topic, and of all that follow it.
            input_days: how long input is kept: at least the late horizon plus the age of the oldest snapshot.
            least_days: how long it must be kept, whatever an operator chooses.
        """
        # The broker's time, not a producer's, bounds what a record may claim.
        fed = {**_kept(input_days), "message.timestamp.type": "LogAppendTime"}
        compacted = {"cleanup.policy": "compact", "delete.retention.ms": str(_TOMBSTONE_DAYS * DAY_MS)}
        shared = {
            self.usage: fed,
            self.feedback: fed,
            self.decisions: compacted,
            self.warnings: _kept(_OUT_DAYS),
            self.segments: _kept(_OUT_DAYS),
            **{self.outbound(channel): _kept(_OUT_DAYS) for channel in CHANNELS},
            self.late: _kept(_LONG_DAYS),
            self.dead_letters: _kept(_LONG_DAYS),
        }
        single = {self.directory: compacted, self.rulebook: compacted}
        return (
            *(
                TopicSpec(name, partitions, config, least_days if config is fed else 0)
                for name, config in shared.items()
            ),
            *(TopicSpec(name, 1, config) for name, config in single.items()),
        )


def _kept(days: int) -> dict[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": str(days * DAY_MS)}
