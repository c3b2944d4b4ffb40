"""When the next delayed job may be claimed: a date, and clocks are set, so that the time that passes counts too."""

from __future__ import annotations

import math
import time

_SLACK = 1.0  # seconds that clocks drift apart


class Alarm:
    """The earliest date that somebody waits for. It is reached when the clock shows it, or when as much time has passed
    as lay before it when it was set, whichever comes first: a clock that is set back makes nobody wait longer."""

    def __init__(self) -> None:
        self._date: float | None = None
        self._at = math.inf  # monotonic
        self._ahead = math.inf  # of the monotonic clock, when it was asked last

    @property
    def is_set(self) -> bool:
        """Somebody waits."""
        return self._date is not None

    def set(self, date: float | None, now: float) -> None:
        """Wait for `date` (None: for nothing); the clock shows `now`. One that is set already goes on as it is."""
        if date != self._date:
            self._date = date
            self._at = math.inf if date is None else time.monotonic() + date - now

    def set_back(self, now: float) -> bool:
        """The clock, which shows `now`, has been set back since that was asked last; or nobody has asked yet."""
        before, self._ahead = self._ahead, now - time.monotonic()
        return self._ahead < before - _SLACK

    def seconds(self, now: float) -> float:
        """How long it still is, at most; 0: reached."""
        if self._date is None:
            return math.inf
        return max(0.0, min(self._date - now, self._at - time.monotonic()))

    def latest(self, now: float) -> float:
        """The date up to which whoever waits has waited long enough."""
        return max(now, self._date) if self._date is not None and self.seconds(now) == 0 else now
