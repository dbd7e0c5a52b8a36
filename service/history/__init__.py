"""Usage history in files: to events, to windows, to a shard's first state, and to a judgement of the rules."""
