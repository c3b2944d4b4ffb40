"""The one small port between the engine and whatever runs attempts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rekindle.journal.orders import Assignment, Recipe


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker: its name, its journal's absolute path, and the process (pid and start in clock ticks after
    boot, as /proc has it)."""

    name: str
    journal: str
    pid: int
    pid_start: int


@dataclass(frozen=True, slots=True)
class WorkerGone:
    """A worker's process has ended. Its journal is complete: what it had been given and had not told has
    been journalled by the executor, which saw how it died."""

    name: str


class Executor(Protocol):
    """Places attempts on workers. Outcomes are not told here: they are in the workers' journals."""

    name: str

    def open(self, slots: int) -> Sequence[WorkerInfo]:
        """Make ready for `slots` workers at once, and name those that run."""
        ...

    def assign(self, worker: str, recipes: Sequence[Recipe], work: Sequence[Assignment]) -> None:
        """Give `work` to a worker; `recipes` holds at least those that `work` names (known ones are not sent
        again). The attempts are committed to the store before this is called."""
        ...

    def cancel(self, worker: str, tokens: Sequence[str]) -> None:
        """End these attempts; the worker journals CANCELED for each that it still has. Said a second time, what runs
        gets no grace."""
        ...

    def recall(self, worker: str) -> None:
        """Ask a worker to give back what it has not started (it journals `Returned`)."""
        ...

    def retire(self, worker: str) -> None:
        """Have no more of a worker: it gives back what it has not started, finishes what runs and ends."""
        ...

    def wait(self, timeout: float | None, also: Sequence[int] = ()) -> Sequence[int]:
        """Block until a journal may have grown, a worker has gone, a descriptor of `also` is readable, or
        `timeout` seconds (None: without bound) have passed. Returns the readable ones of `also`."""
        ...

    def gone(self) -> Sequence[WorkerGone]:
        """Workers that have ended since the last call, each once."""
        ...

    def replace(self, worker: str) -> WorkerInfo:
        """A new worker in the place of one that is gone."""
        ...

    def leave(self) -> None:
        """Give no more orders and wait for nobody: each worker gives back what it has not started, finishes what runs,
        journals it and goes. Once closed, there is nobody to leave."""
        ...

    def close(self, grace: float) -> None:
        """Ask all workers to stop, wait up to `grace` seconds for what runs, then kill what is left (and
        journal it as the executor does for any worker that died)."""
        ...
