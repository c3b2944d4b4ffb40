"""Notifications between processes of one store: each runner, supervisor or waiting command has a FIFO, and a byte in
it means "read the store again"."""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from rekindle.files.store_files import file_mode, make_folder, set_mode

Kind = Literal["runner", "supervisor", "waiter"]

_FOLDERS: dict[Kind, str] = {"runner": "run", "supervisor": "run/supervisors", "waiter": "run/supervisors"}


class Notifier:
    """The FIFO of one runner, supervisor or waiting command. `fd` becomes readable when another process notifies."""

    def __init__(self, store_folder: str, number: int, kind: Kind = "runner") -> None:
        self.path = _fifo_path(store_folder, kind, number)
        make_folder(self.path.parent)
        self.path.unlink(missing_ok=True)
        os.mkfifo(self.path, 0o600)
        set_mode(str(self.path), file_mode(self.path.parent))
        # Opened for reading and writing, so that opening does not block and the last writer's exit is no end of file.
        self.fd = os.open(self.path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def notify(self) -> None:
        """Make `fd` readable. May be called from any thread and from a signal handler."""
        with contextlib.suppress(BlockingIOError):  # the pipe is full: `fd` is readable already
            os.write(self.fd, b"!")

    def drain(self) -> None:
        """Discard the notifications that have arrived."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 4096)

    def wait(self, seconds: float) -> None:
        """Block until a notification arrives, or for `seconds`."""
        select.select([self.fd], [], [], seconds)

    def close(self) -> None:
        """Remove the FIFO."""
        os.close(self.fd)
        self.path.unlink(missing_ok=True)


def notify(store_folder: str, runners: Iterable[int]) -> None:
    """Notify these runners, and all supervisors and waiting commands of the store.

    Skip those that have ended, and those whose FIFO this user may not open: they poll the store."""
    for runner in runners:
        _write_byte(_fifo_path(store_folder, "runner", runner))
    with contextlib.suppress(OSError):
        for path in Path(store_folder, _FOLDERS["supervisor"]).iterdir():
            _write_byte(path)


def _write_byte(path: Path) -> None:
    with contextlib.suppress(OSError):  # also when the pipe is full: its reader has notifications to read
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(fd, b"!")
        finally:
            os.close(fd)


def _fifo_path(store_folder: str, kind: Kind, number: int) -> Path:
    return Path(store_folder, _FOLDERS[kind], f"{kind}-{number}.bell")
