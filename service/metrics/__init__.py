"""Every metric in one place: the catalogue says what there is, the facade takes what happened."""

from service.metrics.catalogue import Metric, describe
from service.metrics.facade import CONTENT_TYPE, UNMATCHED, Metrics, TransactionResult

__all__ = ["CONTENT_TYPE", "UNMATCHED", "Metric", "Metrics", "TransactionResult", "describe"]
