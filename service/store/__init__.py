"""Snapshots in a folder or an object store: there when their manifest is, verified when read."""
