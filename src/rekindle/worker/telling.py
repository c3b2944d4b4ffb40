"""Telling: the journal first, then a byte to the runner, and not a byte for each line."""

from __future__ import annotations

import contextlib
import os

from rekindle.journal.ledger import Writer, line_of, write_lines
from rekindle.journal.records import Record

BREATH = 0.010
"""Seconds between two bytes to a runner whose worker still has work: it reads many lines at a time then."""


class Teller:
    """Writes a worker's journal and wakes the runner. `due` is when it owes the runner a byte (monotonic)."""

    def __init__(self, journal: Writer, wake: int) -> None:
        self.journal = journal
        self.wake = wake
        self.due: float | None = None
        self._lines: list[bytes] = []
        self._rung = 0.0
        self._news = False

    def add(self, record: Record) -> None:
        """Take a line; it is written with the next `flush`, which must come before anything is waited for or begun."""
        self._lines.append(line_of(record))

    def flush(self) -> None:
        """Write all lines taken, with one system call."""
        if self._lines:
            write_lines(self.journal.fd, b"".join(self._lines), self.journal.path)
            self._lines.clear()
            self._news = True

    def others(self) -> None:
        """Somebody else has written to the journal."""
        self._news = True

    def ring(self, now: float, urgent: bool, breath: float = BREATH) -> None:
        """Wake the runner if there are news: at once when it is urgent, else a breath after the last time."""
        if not self._news:
            return
        if not urgent and now < self._rung + breath:
            self.due = self._rung + breath
            return
        ring(self.wake)
        self._rung, self._news, self.due = now, False, None


def ring(wake: int) -> None:
    """A byte to the runner. One that does not read has enough of them; one that is dead needs none."""
    with contextlib.suppress(BlockingIOError, BrokenPipeError):
        os.write(wake, b"!")
