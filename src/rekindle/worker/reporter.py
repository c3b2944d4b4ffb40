"""Journal records first, then wake the runner, but not once for each line.

If the store's disk fails, the worker keeps its records, starts nothing and retries the write, so that no outcome is
lost."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from rekindle.domain.states import State
from rekindle.journal.log import JournalWriter, encode_line
from rekindle.journal.orders import encode_disk_error
from rekindle.journal.records import Ended

if TYPE_CHECKING:
    from rekindle.journal.records import Record

NOTIFY_INTERVAL = 0.004
"""Seconds between two wake-ups of a runner whose worker still has work: it then reads many lines at a time."""


class Reporter:
    """Writes a worker's journal and wakes the runner. `due` is the next time to wake the runner or to retry a write
    (monotonic seconds)."""

    def __init__(self, journal: JournalWriter, wake: int) -> None:
        self.journal = journal
        self.wake = wake
        self.storage = DiskRetry(self.report_disk_error, lambda: journal.gone)
        self.withholds: Callable[[Ended], bool] = lambda _: False  # whether a bad end is not written
        self.withheld = False  # a bad end was not written
        self._reported_error = 0
        self._lines: list[bytes] = []
        self._notified_at = 0.0
        self._unread = False
        self._notify_at: float | None = None
        self._retry_at: float | None = None

    @property
    def due(self) -> float | None:
        """The next time at which there is something to do (monotonic)."""
        if self._retry_at is None:
            return self._notify_at
        return min((at for at in (self._notify_at, self._retry_at) if at is not None), default=None)

    def add(self, record: Record) -> None:
        """Add a record. It is written with the next `flush`, which must come before any wait or start."""
        if isinstance(record, Ended) and record.state is not State.COMPLETED and self.withholds(record):
            self.withheld = True
            return
        self._lines.append(encode_line(record))

    def flush(self) -> None:
        """Write all added records with one system call. Retry until the disk takes them: an unrecorded action must
        not start."""
        if self._lines:
            self.storage.retry(self._write)

    def try_flush(self, now: float) -> None:
        """Write all added records if the disk takes them. Otherwise keep them; `due` is the time of the next try."""
        if not self._lines or (self._retry_at is not None and now < self._retry_at):
            return
        try:
            self._write()
        except OSError as error:
            self.storage.failed(error, now)
            self._retry_at = now + RETRY_INTERVAL
        else:
            self.storage.succeeded()

    def _write(self) -> None:
        self.journal.write(b"".join(self._lines))
        self._lines.clear()
        self._unread, self._retry_at = True, None

    def report_disk_error(self, number: int) -> None:
        """Report the disk's error number to the runner and on stderr; 0: the disk works."""
        if number != self._reported_error:
            self._reported_error = number
            what = f"cannot write: {os.strerror(number)}; trying again" if number else "can write again"
            with contextlib.suppress(OSError):
                print(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), what, file=sys.stderr, flush=True)
        if number:
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                os.write(self.wake, encode_disk_error(self.journal.path, number))

    def mark_unread(self) -> None:
        """Note that another process has written to the journal."""
        self._unread = True

    def notify(self, now: float, urgent: bool, interval: float = NOTIFY_INTERVAL) -> None:
        """Wake the runner if there are new records: at once if `urgent`, otherwise `interval` seconds after the last
        time."""
        if not self._unread:
            return
        if not urgent and now < self._notified_at + interval:
            self._notify_at = self._notified_at + interval
            return
        wake_runner(self.wake)
        self._notified_at, self._unread, self._notify_at = now, False, None


def wake_runner(wake: int) -> None:
    """Write a byte to the runner. Ignore EAGAIN (pipe full) and EPIPE (runner gone)."""
    with contextlib.suppress(BlockingIOError, BrokenPipeError):
        os.write(wake, b"!")


T = TypeVar("T")

RETRY_INTERVAL = 1.0
"""Seconds between two tries."""

RETRY_LIMIT = 3600.0
"""Seconds after which the worker gives up: unwritten records are lost."""

RETRIABLE_ERRORS = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM)
)
"""Errors of a disk that may go away. Other errors are raised."""


class DiskRetry:
    """Retries writes while the disk fails. `disk_error` is the number of the current error; 0: the disk works."""

    def __init__(self, on_change: Callable[[int], None], gone: Callable[[], bool]) -> None:
        """`on_change` is called with the error number at each failed try, and with 0 after one succeeds. `gone` says
        whether the store has been removed, so that waiting is useless."""
        self._on_change, self._gone = on_change, gone
        self._since = 0.0
        self.disk_error = 0

    def failed(self, error: OSError, now: float) -> None:
        """Note a failed write. Raise the error if it is not the disk's, or if the time to retry is over."""
        number = error.errno or 0
        if not self.disk_error:
            self._since = now
        if number not in RETRIABLE_ERRORS or now - self._since > RETRY_LIMIT or self._gone():
            raise error
        self.disk_error = number
        self._on_change(number)

    @property
    def gone(self) -> bool:
        """Whether the store has been removed."""
        return self._gone()

    def succeeded(self) -> None:
        """Note a successful write."""
        if self.disk_error:
            self.disk_error = 0
            self._on_change(0)

    def retry(self, act: Callable[[], T]) -> T:
        """Repeat an action until the disk permits it, and return its result."""
        while True:
            try:
                done = act()
            except OSError as error:
                self.failed(error, time.monotonic())
                time.sleep(RETRY_INTERVAL)
            else:
                self.succeeded()
                return done
