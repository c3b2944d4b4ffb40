"""Waking whoever waits, a runner, a supervisor or who waits for a batch: one FIFO for each, a byte in it means «look
at the store»."""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from rekindle.files.modes import file_mode, make_folder, set_mode

Kind = Literal["runner", "supervisor", "waiter"]

FOLDER = "run"
_FOLDERS: dict[Kind, str] = {"runner": FOLDER, "supervisor": f"{FOLDER}/supervisors", "waiter": f"{FOLDER}/supervisors"}


class Bell:
    """A FIFO of one's own, a runner's or a supervisor's by its number. `fd` becomes readable when somebody rings."""

    def __init__(self, store_folder: str, number: int, kind: Kind = "runner") -> None:
        self.path = _path(store_folder, kind, number)
        make_folder(self.path.parent)
        self.path.unlink(missing_ok=True)
        os.mkfifo(self.path, 0o600)
        set_mode(str(self.path), file_mode(self.path.parent))
        # Open for both, so that it neither blocks nor reports an end when the last ringer has gone.
        self.fd = os.open(self.path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def hush(self) -> None:
        """Take out what was rung."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 4096)

    def wait(self, seconds: float) -> None:
        """Until somebody rings, or so long."""
        select.select([self.fd], [], [], seconds)

    def close(self) -> None:
        """Take the bell down."""
        os.close(self.fd)
        self.path.unlink(missing_ok=True)


def ring(store_folder: str, runners: Iterable[int]) -> None:
    """Wake these runners, and all supervisors. One that has ended, or that belongs to another user who lets nobody
    wake it, is passed over: it looks at the store by itself after a while."""
    for runner in runners:
        _ring(_path(store_folder, "runner", runner))
    with contextlib.suppress(OSError):
        for path in Path(store_folder, _FOLDERS["supervisor"]).iterdir():
            _ring(path)


def _ring(path: Path) -> None:
    with contextlib.suppress(OSError):  # also when the pipe is full: the runner will read what is in it
        bell = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(bell, b"!")
        finally:
            os.close(bell)


def _path(store_folder: str, kind: Kind, number: int) -> Path:
    return Path(store_folder, _FOLDERS[kind], f"{kind}-{number}.bell")
