"""Whole files below a local folder or an object store's URL; whatever goes wrong with them is an OSError."""

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, from_url

if TYPE_CHECKING:  # names that the library has for type checkers only
    from obstore.store import ObjectStore, RetryConfig

_URL = re.compile(r"[a-z][a-z0-9+.-]+://")
# A stop must not wait for a lost store.
_PATIENCE: "RetryConfig" = {"max_retries": 3, "retry_timeout": timedelta(seconds=5)}
_PROBE = "probe"


class File(NamedTuple):
    """A file that is there, by the store's own clock."""

    path: str
    size: int
    modified: datetime


class Files:
    """Files at a place: a folder's path, or a URL such as s3://bucket/prefix with its credentials in the environment.

    A file is there with all its bytes or not at all; it makes no folders that hold nothing.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self.folder = None if _URL.match(place) else Path(place).absolute()
        self._opened: ObjectStore | None = None

    def put(self, path: str, data: bytes) -> None:
        """Write or replace a file, which outlives a power cut when this returns."""
        with _os_errors():
            obstore.put(self._store(), path, data)
        if self.folder is not None:
            _sync(self.folder / path)
            _sync((self.folder / path).parent)

    def get(self, path: str) -> bytes:
        """All bytes of a file. Raises: FileNotFoundError where there is none."""
        if self.folder is not None and not self.folder.is_dir():
            raise FileNotFoundError(f"there is no folder {self.folder}")
        with _os_errors():
            return obstore.get(self._store(), path).bytes().to_bytes()

    def list(self, prefix: str | None = None) -> list[File]:
        """Every file below a folder, by path; nothing where there is no folder."""
        if self.folder is not None and not self.folder.is_dir():
            return []
        with _os_errors():
            found = obstore.list(self._store(), prefix).collect()
        return sorted(File(one["path"], one["size"], one["last_modified"]) for one in found)

    def delete(self, paths: Sequence[str]) -> None:
        """Remove files; what is gone already is no error."""
        for path in paths:
            with _os_errors(), contextlib.suppress(FileNotFoundError):
                obstore.delete(self._store(), path)

    def sweep(self, prefix: str, before: datetime) -> None:
        """Remove what was left, before an instant, of puts that were cut short; an object store does so by itself."""
        if self.folder is None:
            return
        for path in (self.folder / prefix).rglob("*#*"):
            if path.stat().st_mtime < before.timestamp():
                path.unlink(missing_ok=True)

    def probe(self) -> None:
        """Find out whether files can be written and removed here. Raises: OSError."""
        self.put(_PROBE, b"")
        self.delete([_PROBE])

    def _store(self) -> "ObjectStore":
        if self._opened is None:
            if self.folder is None:
                self._opened = from_url(self.place, retry_config=_PATIENCE)
            else:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._opened = LocalStore(self.folder, automatic_cleanup=True)
        return self._opened


@contextlib.contextmanager
def _os_errors() -> Iterator[None]:
    """Let errors of the object store be OSErrors, of one line: what follows is for those who mend the library."""
    try:
        yield
    except BaseError as error:
        raise OSError(str(error).partition("\n")[0]) from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
