"""Files that break off: the machine stops, or the disk is full, at a chosen change."""

from collections.abc import Sequence

from service.store.files import Files


class PowerCut(BaseException):
    """The machine stopped; nobody is there to clean up, so it is no Exception."""


class FailingFiles(Files):
    """Does `changes` puts and deletes and then stops, or with `full` says that there is no space."""

    def __init__(self, place: str, changes: int, *, full: bool = False) -> None:
        super().__init__(place)
        self._left = changes
        self._full = full
        self.broke = False

    def put(self, path: str, data: bytes) -> None:
        self._count()
        super().put(path, data)

    def delete(self, paths: Sequence[str]) -> None:
        for path in paths:
            self._count()
            super().delete([path])

    def _count(self) -> None:
        if self._left == 0:
            self.broke = True
            raise OSError(28, "No space left on device") if self._full else PowerCut
        self._left -= 1


class WatchedFiles(Files):
    """Remembers what was written."""

    def __init__(self, place: str) -> None:
        super().__init__(place)
        self.written: list[str] = []

    def put(self, path: str, data: bytes) -> None:
        self.written.append(path)
        super().put(path, data)
