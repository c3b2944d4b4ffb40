"""Waking whoever waits, a runner, a supervisor or who waits for a batch: one FIFO for each, a byte in it means «look
at the store»."""

from __future__ import annotations

import contextlib
import errno
import os
import select
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

Kind = Literal["runner", "supervisor", "waiter"]

FOLDER = "run"
_FOLDERS: dict[Kind, str] = {"runner": FOLDER, "supervisor": f"{FOLDER}/supervisors", "waiter": f"{FOLDER}/supervisors"}


class Bell:
    """A FIFO of one's own, a runner's or a supervisor's by its number. `fd` becomes readable when somebody rings."""

    def __init__(self, store_folder: str, number: int, kind: Kind = "runner") -> None:
        self.path = _path(store_folder, kind, number)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)
        os.mkfifo(self.path, 0o600)
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
    """Wake these runners, and whoever supervises; one that is not there any more is passed over."""
    for runner in runners:
        _ring(_path(store_folder, "runner", runner))
    try:
        supervisors = list(Path(store_folder, _FOLDERS["supervisor"]).iterdir())
    except FileNotFoundError:
        return
    for path in supervisors:
        _ring(path)


def _ring(path: Path) -> None:
    try:
        bell = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENXIO):
            raise
        return
    try:
        os.write(bell, b"!")
    except BlockingIOError:
        pass  # it has been rung often enough
    finally:
        os.close(bell)


def _path(store_folder: str, kind: Kind, number: int) -> Path:
    return Path(store_folder, _FOLDERS[kind], f"{kind}-{number}.bell")
