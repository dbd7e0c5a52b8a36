"""Snapshots and sealed panes in a folder: written atomically, verified when read."""
