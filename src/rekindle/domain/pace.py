"""How fast the jobs of a run end, and about how long the others take."""

from __future__ import annotations

import math

_MEMORY_SECONDS, _MEMORY_JOBS = 60.0, 40
"""The rate is that of about the last minute, or of the last jobs if they take longer."""

_FEWEST_JOBS, _FEWEST_SECONDS = 3, 3.0
"""Without a history nothing is estimated before this number of jobs has ended and this time has passed."""

_ADAPT_SECONDS = 5.0


class Pace:
    """Estimates from reports of a run. `job_seconds`: the expected time from one job's end to the next, if earlier
    attempts are known; the run's own rate replaces this within about a minute."""

    def __init__(self, job_seconds: float | None = None) -> None:
        self._expects = bool(job_seconds)
        # Jobs that ended and the time that they took; both fade.
        self._time = _MEMORY_SECONDS / 2 if job_seconds else 0.0
        self._jobs = self._time / job_seconds if job_seconds else 0.0
        self._first: tuple[float, int] | None = None
        self._last = (0.0, 0)
        self._left: float | None = None

    def report(self, seconds: float, ended: int, left: int) -> None:
        """Take a report at `seconds` of the run: the numbers of jobs that have ended, and that have not."""
        if self._first is None:
            self._first = self._last = (seconds, ended)
        since, more = max(0.0, seconds - self._last[0]), max(0, ended - self._last[1])
        self._last = (seconds, ended)
        passed, done = seconds - self._first[0], ended - self._first[1]
        memory = max(_MEMORY_SECONDS, _MEMORY_JOBS * passed / max(1, done))
        fade = math.exp(-since / memory)
        self._time = self._time * fade + since
        self._jobs = self._jobs * fade + more
        if not (self._expects or (done >= _FEWEST_JOBS and passed >= _FEWEST_SECONDS)):
            return
        if not left or not self._jobs:
            self._left = None
        elif self._left is None:
            self._left = left * self._time / self._jobs
        else:
            now = max(1.0, self._left - since)
            wanted = min(2 * now, max(now / 2, left * self._time / self._jobs))
            self._left = now + (wanted - now) * (1 - math.exp(-since / _ADAPT_SECONDS))

    @property
    def rate(self) -> float | None:
        """The jobs that end in a second; None before enough jobs have ended."""
        if self._first is None or self._last[1] - self._first[1] < _FEWEST_JOBS:
            return None
        return self._jobs / self._time if self._time >= _FEWEST_SECONDS else None

    @property
    def left(self) -> float | None:
        """The seconds until the last job ends; None if unknown."""
        return self._left
