"""The form of whatever a worker has under way, as its loop sees it."""

from __future__ import annotations

from typing import Protocol

from rekindle.domain.causes import Cause
from rekindle.worker.findings import StepEnd

LINGER = 0.05
"""Seconds between two looks at whether what a command has left behind has used its grace."""


class Activity(Protocol):
    """One step that runs. `quiet`, once it has ended: it left no process behind."""

    quiet: bool

    @property
    def handles(self) -> list[int]:
        """Descriptors that become readable when there is something to see."""
        ...

    @property
    def due(self) -> float | None:
        """When `turn` must be called although nothing is readable (monotonic seconds); None: never."""
        ...

    def turn(self, now: float) -> StepEnd | None:
        """Look at what has happened by `now` (monotonic); the step's end, once it has ended."""
        ...

    def stop(self, cause: Cause, message: str, now: float, grace: float) -> None:
        """Make it end, for this cause (CANCELED, TIMEOUT or OOM). Between SIGTERM and SIGKILL a command, and all that
        it has started, has `grace` seconds. The end comes from a later `turn`."""
        ...

    def hurry(self, now: float) -> None:
        """It has been asked to end: give it no more time for that."""
        ...
