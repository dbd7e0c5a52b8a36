"""A disk that breaks off: the machine stops at a chosen step, in the middle of a file where the step writes one."""

from pathlib import Path

from service.store.disk import Disk


class PowerCut(BaseException):
    """The machine stopped; nobody is there to clean up, so it is no Exception."""


class FailingDisk(Disk):
    """Does `steps` changes and then stops, or with `full` says that there is no space."""

    def __init__(self, steps: int, *, full: bool = False) -> None:
        self.left = steps
        self._full = full

    def write(self, path: Path, data: bytes) -> None:
        if self.left == 0:
            path.write_bytes(data[: len(data) // 2])
        self._count()
        super().write(path, data)

    def make_folder(self, folder: Path) -> None:
        self._count()
        super().make_folder(folder)

    def rename(self, old: Path, new: Path) -> None:
        self._count()
        super().rename(old, new)

    def sync_folder(self, folder: Path) -> None:
        self._count()
        super().sync_folder(folder)

    def remove(self, path: Path) -> None:
        if self.left == 0 and path.is_dir():
            # Half of a folder is gone when the power goes.
            for part in sorted(path.iterdir())[::2]:
                part.unlink()
        self._count()
        super().remove(path)

    def _count(self) -> None:
        if self.left == 0:
            if self._full:
                raise OSError(28, "No space left on device")
            raise PowerCut
        self.left -= 1


class WatchedDisk(Disk):
    """Remembers what was written and removed."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def write(self, path: Path, data: bytes) -> None:
        self.written.append(path.name)
        super().write(path, data)
