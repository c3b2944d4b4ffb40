"""A clock that a test moves."""

from __future__ import annotations


class FakeClock:
    """Call it for the time (seconds since the epoch); each call is `tick` seconds after the one before."""

    def __init__(self, now: float = 1_000_000_000.0, tick: float = 0.001) -> None:
        self.now = now
        self.tick = tick

    def __call__(self) -> float:
        self.now += self.tick
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass, or with a negative number step it back."""
        self.now += seconds
