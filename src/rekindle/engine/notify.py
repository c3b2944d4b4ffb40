"""Notifications between processes of one store: each runner, supervisor, waiting command and thread that runs hooks has
a FIFO, and a byte in it means "read the store again". Runners on other hosts are notified by the store's database
server, if it has one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rekindle.domain.errors import StoreError
from rekindle.files.store_files import file_mode, make_folder, set_mode
from rekindle.journal.processes import wait_readable

if TYPE_CHECKING:
    from rekindle.store.archive import Store
    from rekindle.store.database import Listener

Kind = Literal["runner", "supervisor", "waiter", "hooks"]

_OTHERS = "run/supervisors"
_FOLDERS: dict[Kind, str] = {"runner": "run", "supervisor": _OTHERS, "waiter": _OTHERS, "hooks": _OTHERS}


class Notifier:
    """The FIFO of one runner, supervisor, waiting command or thread that runs hooks. `fd` becomes readable when another
    process of this host notifies. `listener` hears those on other hosts; None: there are none, or it polls the store
    for them."""

    def __init__(self, store_folder: str, number: int, kind: Kind = "runner", listener: Listener | None = None) -> None:
        self._listener = listener
        self.path = _fifo_path(store_folder, kind, number)
        make_folder(self.path.parent)
        self.path.unlink(missing_ok=True)
        os.mkfifo(self.path, 0o600)
        set_mode(str(self.path), file_mode(self.path.parent))
        # Opened for reading and writing, so that opening does not block and the last writer's exit is no end of file.
        self.fd = os.open(self.path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    @property
    def handles(self) -> list[int]:
        """Return the descriptors that become readable when another process notifies."""
        return [self.fd] if self._listener is None else [self.fd, self._listener.fd]

    def notify(self) -> None:
        """Make `fd` readable. May be called from any thread and from a signal handler."""
        with contextlib.suppress(BlockingIOError):  # the pipe is full: `fd` is readable already
            os.write(self.fd, b"!")

    def drain(self) -> None:
        """Discard the notifications that have arrived. Raise StoreUnreachable if the listener's server is gone."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 4096)
        if self._listener is not None:
            self._listener.drain()

    def wait(self, seconds: float | None) -> None:
        """Block until a notification arrives, or for `seconds`."""
        wait_readable((self.fd,), seconds)

    def close(self) -> None:
        """Remove the FIFO."""
        if self._listener is not None:
            self._listener.close()
        os.close(self.fd)
        self.path.unlink(missing_ok=True)


def notify(store: Store, runners: Iterable[int]) -> None:
    """Notify these runners, and all supervisors and waiting commands of this host.

    Skip those that have ended, and those that this process cannot reach: they poll the store."""
    away = notify_here(store.folder, runners)
    if away:
        with contextlib.suppress(StoreError):  # what is notified of has been committed
            store.notify(away)


def notify_here(store_folder: str, runners: Iterable[int]) -> list[int]:
    """Notify those of these runners that are on this host, and all supervisors and waiting commands of this host.

    Return the runners that were not reached."""
    away = [runner for runner in runners if not _write_byte(_fifo_path(store_folder, "runner", runner))]
    with contextlib.suppress(OSError), os.scandir(f"{store_folder}/{_OTHERS}") as entries:
        for entry in entries:
            _write_byte(entry.path)
    return away


def _write_byte(path: str | Path) -> bool:
    """Write to a FIFO. Return whether a process of this host reads it."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(fd, b"!")
        finally:
            os.close(fd)
    except BlockingIOError:  # the pipe is full: its reader has notifications to read
        return True
    except OSError:
        return False
    return True


def _fifo_path(store_folder: str, kind: Kind, number: int) -> Path:
    return Path(store_folder, _FOLDERS[kind], f"{kind}-{number}.bell")
