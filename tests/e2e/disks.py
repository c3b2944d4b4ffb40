"""A small disk for a store, which can be filled or mounted read-only."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class Disk:
    """A file system in memory that is mounted on `folder`."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        """Mount the disk. Skip the test if this user may not mount."""
        folder.mkdir()
        self.folder = folder
        self._filler = folder / "filler"
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()}")

    def fill(self) -> None:
        """Fill the disk."""
        with self._filler.open("ab", buffering=0) as file:
            for size in (1 << 16, 1 << 12, 1):
                while _takes(file.fileno(), size):
                    pass

    def make_room(self) -> None:
        """Remove the file that fills the disk."""
        self._filler.unlink()

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Mount the disk read-only while the context lasts."""
        self._remount("ro")
        try:
            yield
        finally:
            self._remount("rw")

    def unmount(self) -> None:
        subprocess.run(["umount", "-l", self.folder], check=True)

    def _remount(self, how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", self.folder], check=True)


def _takes(fd: int, size: int) -> bool:
    try:
        return os.write(fd, b"x" * size) > 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False


@contextmanager
def mounted(folder: Path, megabytes: int = 8) -> Iterator[Disk]:
    """Mount a disk while the context lasts."""
    disk = Disk(folder, megabytes)
    try:
        yield disk
    finally:
        disk.unmount()
