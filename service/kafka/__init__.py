"""Kafka as the service's log and publisher; the only importer of aiokafka."""
