"""The jobs of a simulation: layers of blocks, computed instead of stored.

Job n is at a place in a layer. It needs two jobs of the layer before: the one at the same place, and its neighbor in
the same block. So a failure reaches a growing part of one block and nothing else, as in a sweep of many cases."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec

from rekindle.domain.definition import Resources, RetryRule
from rekindle.domain.states import Cause
from rekindle.domain.texts.quantities import Amount

GIGABYTE = 1 << 30

CLASSES = (
    Resources(cpus=1, memory=2 * GIGABYTE),
    Resources(cpus=4, memory=8 * GIGABYTE),
    Resources(cpus=8, memory=16 * GIGABYTE),
)
"""What jobs ask for: narrow, medium, and wide ones, which fill a node."""

POLICY = (
    RetryRule(max=3, causes=(Cause.OOM,), memory=Amount(factor=1.5)),
    RetryRule(max=1, delay=30.0, backoff=2.0, jitter=0.5),
)


class Workload(msgspec.Struct, frozen=True):
    """Jobs 1 to `jobs` in `layers` layers. Shares are of all jobs, durations in seconds."""

    jobs: int
    layers: int = 10
    block: int = 1000
    medium: float = 0.09
    wide: float = 0.01
    broken: float = 0.001  # fail each time, until a rerun after their error was mended
    fail: float = 0.01  # of attempts: fail by chance
    oom: float = 0.002  # of attempts: need more memory than they asked for
    seconds: float = 600.0  # mean duration
    seed: int = 0

    @property
    def layer(self) -> int:
        """Return the number of jobs in a layer."""
        return max(1, self.jobs // self.layers)

    @property
    def total(self) -> int:
        """Return the number of jobs: whole layers."""
        return self.layer * self.layers

    def parents(self, job: int) -> Sequence[int]:
        """Return the jobs that a job needs."""
        if job <= self.layer:
            return ()
        above = job - self.layer
        first = above - (above - 1) % self.block
        place = (above - 1) % self.layer
        last = min(first + self.block - 1, above - place + self.layer - 1)
        return (above, above + 1) if above < last else (above,)

    def children(self, job: int) -> Sequence[int]:
        """Return the jobs that need a job."""
        below = job + self.layer
        if below > self.total:
            return ()
        return (below - 1, below) if job in self.parents(below - 1) and (below - 1) > self.layer else (below,)

    def kinds(self) -> bytearray:
        """Return the index in CLASSES of each job; index 0 is none."""
        draw = random.Random(f"kinds {self.seed}").random
        wide, medium = self.wide, self.wide + self.medium
        return bytearray(2 if (x := draw()) < wide else 1 if x < medium else 0 for _ in range(self.total + 1))

    def broken_jobs(self) -> set[int]:
        """Return the jobs that fail until their error is mended."""
        draw = random.Random(f"broken {self.seed}")
        return set(draw.sample(range(1, self.total + 1), round(self.broken * self.total)))
