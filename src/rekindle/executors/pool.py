"""The interface between the engine and an executor: a pool of workers on this host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from rekindle.journal.orders import Assignment, TaskTemplate


class WorkerInfo(msgspec.Struct, frozen=True):
    """A worker: its name, the absolute path of its journal, and its process (pid, and start time in clock ticks after
    boot, as in /proc)."""

    name: str
    journal: str
    pid: int
    pid_start: int


class WorkerGone(msgspec.Struct, frozen=True):
    """A worker whose process has ended. Its journal is complete: the executor has journalled the outcome of each
    assignment whose outcome the worker had not journalled."""

    name: str


class Executor(Protocol):
    """Runs attempts on workers. Outcomes are written to the workers' journals, and not returned here."""

    name: str

    def open(self) -> WorkerInfo:
        """Start a worker. Raise ExecutorError if an earlier one ended before it began to work: this one would too."""
        ...

    def assign(self, worker: str, tasks: Sequence[TaskTemplate], work: Sequence[Assignment]) -> None:
        """Give `work` to a worker. `tasks` holds at least the task templates that `work` names; known ones are not
        sent again. The attempts are committed to the store before this is called."""
        ...

    def cancel(self, worker: str, tokens: Sequence[str]) -> None:
        """Cancel these attempts. The worker journals CANCELED for each that has not ended. A second call for a running
        attempt kills it without a grace period."""
        ...

    def recall(self, worker: str) -> None:
        """Ask a worker to give back the attempts that it has not started. It journals `Returned`."""
        ...

    def retire(self, worker: str) -> None:
        """Ask a worker to give back the attempts that it has not started, finish the running one and exit."""
        ...

    def wait(self, timeout: float | None, also: Sequence[int] = ()) -> Sequence[int]:
        """Block until a journal may have grown, a worker has ended, a descriptor of `also` is readable, or `timeout`
        seconds (None: unlimited) have passed. Return the readable descriptors of `also`."""
        ...

    def gone(self) -> Sequence[WorkerGone]:
        """Return the workers that have ended since the last call, each once."""
        ...

    def leave(self) -> None:
        """Send no more orders, and do not wait: each worker gives back the attempts that it has not started, finishes
        the running one, journals it and exits. Does nothing after `close`."""
        ...

    def close(self, grace: float) -> None:
        """Ask all workers to stop, wait up to `grace` seconds for running attempts, then kill the workers that are left
        and journal the outcomes of their attempts."""
        ...
