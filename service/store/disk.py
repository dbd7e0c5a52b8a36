"""The few things a store does to a disk, each safe on its own: written means on the platter, renamed means whole."""

import os
import shutil
from pathlib import Path


class Disk:
    """Files and folders of the local machine; all errors are OSError."""

    def write(self, path: Path, data: bytes) -> None:
        """Write a file that does not exist yet, and have it on the disk when this returns."""
        with path.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def read(self, path: Path) -> bytes:
        """All bytes of a file."""
        return path.read_bytes()

    def names(self, folder: Path) -> list[str]:
        """What lies in a folder, ascending; nothing where there is no folder."""
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def make_folder(self, folder: Path) -> None:
        """Make a folder and those above it where they are missing."""
        folder.mkdir(parents=True, exist_ok=True)

    def rename(self, old: Path, new: Path) -> None:
        """Give a file or folder its name: either all of it has it, or none."""
        old.rename(new)

    def sync_folder(self, folder: Path) -> None:
        """Have the names in a folder on the disk when this returns."""
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def remove(self, path: Path) -> None:
        """Remove a file or a folder with all that is in it; what is gone already is no error."""
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
