"""Telling: the journal first, then a byte to the runner, and not a byte for each line."""

from __future__ import annotations

import contextlib
import os
import sys
import time

from rekindle.journal.ledger import Writer, line_of
from rekindle.journal.records import Record
from rekindle.journal.troubles import trouble_told
from rekindle.worker.patience import AGAIN, Storage

BREATH = 0.010
"""Seconds between two bytes to a runner whose worker still has work: it reads many lines at a time then."""


class Teller:
    """Writes a worker's journal and wakes the runner. `due` is when it owes the runner a byte, or when it tries again
    to write (monotonic)."""

    def __init__(self, journal: Writer, wake: int) -> None:
        self.journal = journal
        self.wake = wake
        self.storage = Storage(self.complain, lambda: journal.gone)
        self._complained = 0
        self._lines: list[bytes] = []
        self._rung = 0.0
        self._news = False
        self._ring_at: float | None = None
        self._try_at: float | None = None

    @property
    def due(self) -> float | None:
        """When there is something to do here (monotonic)."""
        return min((at for at in (self._ring_at, self._try_at) if at is not None), default=None)

    def add(self, record: Record) -> None:
        """Take a line; it is written with the next `flush`, which must come before anything is waited for or begun."""
        self._lines.append(line_of(record))

    def flush(self) -> None:
        """Write all lines taken, with one system call. While the disk does not take them nothing else is done: this
        comes before something that must not begin untold."""
        if self._lines:
            self.storage.insist(self._write)

    def offer(self, now: float) -> None:
        """Write all lines taken, if the disk takes them; else they are kept, and `due` is when to come again."""
        if not self._lines or (self._try_at is not None and now < self._try_at):
            return
        try:
            self._write()
        except OSError as error:
            self.storage.failed(error, now)
            self._try_at = now + AGAIN
        else:
            self.storage.works()

    def _write(self) -> None:
        self.journal.write(b"".join(self._lines))
        self._lines.clear()
        self._news, self._try_at = True, None

    def complain(self, number: int) -> None:
        """Tell the runner, and whoever reads this process's stderr, with what error the disk fails; 0: it works."""
        if number != self._complained:
            self._complained = number
            what = f"cannot write: {os.strerror(number)}; trying again" if number else "can write again"
            with contextlib.suppress(OSError):
                print(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), what, file=sys.stderr, flush=True)
        if number:
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                os.write(self.wake, trouble_told(self.journal.path, number))

    def others(self) -> None:
        """Somebody else has written to the journal."""
        self._news = True

    def ring(self, now: float, urgent: bool, breath: float = BREATH) -> None:
        """Wake the runner if there are news: at once when it is urgent, else a breath after the last time."""
        if not self._news:
            return
        if not urgent and now < self._rung + breath:
            self._ring_at = self._rung + breath
            return
        ring(self.wake)
        self._rung, self._news, self._ring_at = now, False, None


def ring(wake: int) -> None:
    """A byte to the runner. One that does not read has enough of them; one that is dead needs none."""
    with contextlib.suppress(BlockingIOError, BrokenPipeError):
        os.write(wake, b"!")
