"""The disk of the snapshots, which can be full: a small file system of its own, or else a folder that takes nothing."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

_BALLAST = "ballast"
_STEPS = (1 << 20, 1 << 12)  # bytes


class Disk:
    """A folder. Where we may mount, it is a tmpfs that is really filled; else writing to it is forbidden meanwhile."""

    def __init__(self, folder: Path, *, is_mounted: bool) -> None:
        self.folder = folder
        self.way = "tmpfs filled" if is_mounted else "folder made unwritable"
        self._is_mounted = is_mounted

    def fill(self) -> None:
        """Let no more fit."""
        if not self._is_mounted:
            self._allow(0o500)
            return
        with (self.folder / _BALLAST).open("wb") as ballast:
            size = 0
            for step in _STEPS:
                with contextlib.suppress(OSError):
                    while True:
                        os.posix_fallocate(ballast.fileno(), size, step)
                        size += step

    def free(self) -> None:
        """Give the room back."""
        if self._is_mounted:
            (self.folder / _BALLAST).unlink(missing_ok=True)
        else:
            self._allow(0o700)

    def _allow(self, mode: int) -> None:
        for path in (self.folder, *self.folder.rglob("*")):
            if path.is_dir():
                path.chmod(mode)


@contextlib.contextmanager
def disk_at(folder: Path, megabytes: int) -> Iterator[Disk]:
    """A disk of this size, gone at the end of the block."""
    folder.mkdir()
    is_mounted = os.geteuid() == 0 and _succeeds("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder)
    disk = Disk(folder, is_mounted=is_mounted)
    try:
        yield disk
    finally:
        disk.free()
        if is_mounted:
            _succeeds("umount", "-l", folder)


def _succeeds(program: str, *arguments: str | Path) -> bool:
    found = shutil.which(program)
    if found is None:
        return False
    return subprocess.run([found, *arguments], capture_output=True, check=False).returncode == 0  # noqa: S603 - our own
