"""Dates as a worker tells them. The wall clock is read when an attempt begins; from there on the time that passes is
added, so that a clock that is set meanwhile, either way, makes nothing end before it began or last for a year."""

from __future__ import annotations

import time


class Clock:
    """Dates in seconds since the epoch. A machine's sleep does not count while an attempt runs."""

    def __init__(self) -> None:
        self.set()

    def set(self) -> None:
        """Read the wall clock."""
        self._date, self._since = time.time(), time.monotonic()

    def date(self) -> float:
        """Now."""
        return self._date + time.monotonic() - self._since


CLOCK = Clock()
"""This process's: one attempt runs in it at a time."""


def date() -> float:
    """Now, as this process tells it."""
    return CLOCK.date()
