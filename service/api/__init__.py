"""The HTTP interface: lookups, lists, live warnings and the console; the only importer of fastapi."""
