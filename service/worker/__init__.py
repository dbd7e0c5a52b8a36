"""Which shards live here: the group's assignment, the poll loop, restores beside it, and an orderly end."""
