"""One shard: the life of a partition's state machine, and its turns.

assigned -> fenced -> restoring -> running -> draining -> gone
"""

from service.shard.display import Display
from service.shard.life import Shard
from service.shard.world import Observer, Stage, Terms, World

__all__ = ["Display", "Observer", "Shard", "Stage", "Terms", "World"]
