"""HTTP: the front office's lookups, live warnings, the page, health and metrics; the only importer of fastapi."""
