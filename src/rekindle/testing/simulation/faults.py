"""Which writes of a simulation fail, and how: a function of the seed."""

from __future__ import annotations

import random
from enum import StrEnum


class Fault(StrEnum):
    """What happens at a seam."""

    FULL = "ENOSPC"
    IO = "EIO"
    KILL = "kill"


class Faults:
    """The faults of one simulation. A seam is a point at which a write, an fsync, a rename, a statement or a commit
    is about to happen, or a commit has happened. Either each k-th seam has a fault, or each with a probability."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(f"faults {seed}")
        kinds = [[], [Fault.KILL], [Fault.FULL], [Fault.IO], [Fault.KILL, Fault.FULL, Fault.IO]]
        self.kinds: list[Fault] = self._random.choice(kinds)
        self.every = self._random.choice([0, 0, 37, 101, 211, 499])
        self.rate = self._random.choice([0.0005, 0.002, 0.01])
        self.torn = self._random.choice([0.0, 0.0, 0.02])
        self._passed = 0

    def at(self, seam: str) -> Fault | None:
        """Return the fault at the next seam. After a commit only a kill can happen."""
        if not self.kinds:
            return None
        self._passed += 1
        hit = self._passed % self.every == 0 if self.every else self._random.random() < self.rate
        if not hit:
            return None
        found = self._random.choice(self.kinds)
        return found if seam != "committed" or found is Fault.KILL else None

    def tears(self) -> bool:
        """Return whether only a part of the next write arrives."""
        return bool(self.torn and self.kinds) and self._random.random() < self.torn
