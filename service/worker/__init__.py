"""Which shards live here: the group's assignment, the poll loop, restores beside it, and an orderly end."""

from service.worker.desk import Sender, ShardDesk
from service.worker.intake import Assigned, Intake, Polled
from service.worker.questions import Elsewhere, nowhere
from service.worker.rulebooks import Rulebooks
from service.worker.summary import Summary
from service.worker.worker import Worker

__all__ = [
    "Assigned",
    "Elsewhere",
    "Intake",
    "Polled",
    "Rulebooks",
    "Sender",
    "ShardDesk",
    "Summary",
    "Worker",
    "nowhere",
]
