"""Waking a runner that waits: one FIFO for each, a byte in it means «look at the store»."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable
from pathlib import Path

FOLDER = "run"


class Bell:
    """A runner's own FIFO. `fd` becomes readable when somebody rings."""

    def __init__(self, store_folder: str, runner: int) -> None:
        self.path = _path(store_folder, runner)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)
        os.mkfifo(self.path, 0o600)
        # Open for both, so that it neither blocks nor reports an end when the last ringer has gone.
        self.fd = os.open(self.path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def hush(self) -> None:
        """Take out what was rung."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 4096)

    def close(self) -> None:
        """Take the bell down."""
        os.close(self.fd)
        self.path.unlink(missing_ok=True)


def ring(store_folder: str, runners: Iterable[int]) -> None:
    """Wake these runners; one that is not there any more is passed over."""
    for runner in runners:
        try:
            bell = os.open(_path(store_folder, runner), os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENXIO):
                raise
            continue
        try:
            os.write(bell, b"!")
        except BlockingIOError:
            pass  # it has been rung often enough
        finally:
            os.close(bell)


def _path(store_folder: str, runner: int) -> Path:
    return Path(store_folder, FOLDER, f"runner-{runner}.bell")
