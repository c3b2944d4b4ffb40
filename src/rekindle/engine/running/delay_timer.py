"""The time at which the next delayed job is due, by a clock that may be set back."""

from __future__ import annotations

import math
import time

_DRIFT_SECONDS = 1.0
"""How far the wall clock may fall behind the monotonic clock without counting as set back."""


class DelayTimer:
    """The time of the next delayed job.

    It is reached when the wall clock shows it, or when as much time has passed as was left when it was set: a wall
    clock that is set back delays no job."""

    def __init__(self) -> None:
        self._date: float | None = None
        self._at = math.inf  # monotonic
        self._ahead = math.inf  # of the monotonic clock, at the last call of `was_set_back`

    @property
    def is_set(self) -> bool:
        """Return whether a job is delayed."""
        return self._date is not None

    def set(self, date: float | None, now: float) -> None:
        """Set the time, or None; the wall clock shows `now`. Setting the same time again changes nothing."""
        if date != self._date:
            self._date = date
            self._at = math.inf if date is None else time.monotonic() + date - now

    def was_set_back(self, now: float) -> bool:
        """Return whether the wall clock, which shows `now`, was set back since the last call; True at first."""
        before, self._ahead = self._ahead, now - time.monotonic()
        return self._ahead < before - _DRIFT_SECONDS

    def seconds(self, now: float) -> float:
        """Return the seconds left: 0 when the time is reached, infinity when none is set."""
        if self._date is None:
            return math.inf
        return max(0.0, min(self._date - now, self._at - time.monotonic()))

    def latest(self, now: float) -> float:
        """Return the latest time whose jobs are due: the set one if it is reached, and at least `now`."""
        return max(now, self._date) if self._date is not None and self.seconds(now) == 0 else now
