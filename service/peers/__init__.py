"""The other replicas: who has which shard, and what they answer; the only importer of httpx."""

from service.peers.address import advertised, is_of_this_machine_only, url_of
from service.peers.client import Peers
from service.peers.directory import Directory

__all__ = ["Directory", "Peers", "advertised", "is_of_this_machine_only", "url_of"]
