"""The interface between the engine and an executor: a pool of workers, on this host or in batches of elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from rekindle.journal.records import Ended

if TYPE_CHECKING:
    from rekindle.journal.orders import Assignment, TaskTemplate
    from rekindle.journal.records import Record


class Supply(msgspec.Struct, frozen=True):
    """How a runner supplies workers with attempts."""

    seconds: float  # of work to queue on a worker
    most: int  # attempts at once
    spread: int = 1  # the least number of workers over which jobs are spread, if there are as many jobs
    workers: int | None = None  # the most workers, unless the user says; None: one for each processor
    cancel_seconds: float = 3.0  # how long canceled attempts may take to end, after their grace periods
    refills: bool = True  # a worker can be given more work, and asked to give back what it has not started


POOL_SUPPLY = Supply(0.2, 1024)
"""So that a worker does not wait for the runner's next iteration."""


class WorkerInfo(msgspec.Struct, frozen=True):
    """A worker: its name, the absolute path of its journal, and its process (pid, and start time in clock ticks after
    boot, as in /proc)."""

    name: str
    journal: str
    pid: int
    pid_start: int


class WorkerGone(msgspec.Struct, frozen=True):
    """A worker whose process has ended. The outcome of each of its assignments is in its journal or in `ends`, which
    nothing journals; others had not started."""

    name: str
    ends: tuple[Ended, ...] = ()


class Executor(Protocol):
    """Runs attempts on workers. Outcomes are written to the workers' journals, and not returned here."""

    name: str
    supply: Supply

    def open(self) -> WorkerInfo:
        """Start a worker. Raise ExecutorError if an earlier one ended before it began to work: this one would too."""
        ...

    def assign(self, worker: str, tasks: Sequence[TaskTemplate], work: Sequence[Assignment]) -> None:
        """Give `work` to a worker. `tasks` holds at least the task templates that `work` names; known ones are not
        sent again. The attempts are committed to the store before this is called."""
        ...

    def cancel(self, worker: str, tokens: Sequence[str], allocation: str = "") -> None:
        """Cancel these attempts. The worker journals CANCELED for each that has not ended, with the name of the
        `allocation` that ends if that is why. A second call for a running attempt kills it without a grace period."""
        ...

    def recall(self, worker: str) -> None:
        """Ask a worker to give back the attempts that it has not started. It journals `Returned`."""
        ...

    def retire(self, worker: str) -> None:
        """Ask a worker to give back the attempts that it has not started, finish the running one and exit."""
        ...

    def take_records(self, worker: str, records: Sequence[Record], start: int, end: int) -> None:
        """Take the records of a worker's journal from byte `start` to byte `end`, none of them damaged, once the runner
        has committed them. An executor that follows the journal need not read them again."""
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
