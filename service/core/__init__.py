"""The pure core: exact windows, rules and episodes over columns; no clock, no I/O, no randomness."""
