"""Bytes to columns and columns to bytes: the formats of events in and of messages out."""
