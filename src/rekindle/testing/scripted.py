"""An executor without processes: a script sets how each attempt ends, and the ends are written to real journals."""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.changes.fingerprints import FileFingerprints
from rekindle.domain.errors import RekindleError
from rekindle.domain.models import Failure, StepOutcome
from rekindle.domain.states import Cause, State
from rekindle.domain.subtasks import SubtaskEnd, divide_subtasks, item_text
from rekindle.executors.pool import POOL_SUPPLY, WorkerGone, WorkerInfo
from rekindle.files.store_files import make_folder
from rekindle.journal.log import JournalWriter
from rekindle.journal.orders import Assignment, FanOut, TaskTemplate
from rekindle.journal.paths import journal_path
from rekindle.journal.processes import boot_id, wait_readable
from rekindle.journal.records import Ended, FannedOut, Opened, Returned, Started, StepEnded, Subtasks
from rekindle.testing.fakes import Crash, FakeClock
from rekindle.worker.attempt_environment import build_environment
from rekindle.worker.fingerprints import Fingerprint, Fingerprinter

if TYPE_CHECKING:
    from rekindle.domain.definition import Each
    from rekindle.journal.records import Record


class ScriptedOutcome(msgspec.Struct, frozen=True):
    """The scripted outcome of an attempt: the step at which it fails (None: it completes) and the cause. With the cause
    `lost` its worker dies at that step; with `crash` the runner dies too."""

    fails_at: str | None = None
    cause: Cause = Cause.EXIT
    exit_code: int | None = 1
    message: str = "scripted"
    crash: bool = False
    max_rss_bytes: int | None = None
    action: str | None = None  # JSON text of the dynamic action that its first step stages
    bad: frozenset[int] = frozenset()  # indices of the subtasks that fail in every fan-out
    result: str | None = None  # JSON text of the result, if it completes
    prints: FileFingerprints | None = None  # its fingerprint; None: computed as by a worker
    code: str | None = None  # digest of its functions' modules; None: computed as by a worker
    waits: int = 0  # how many more calls of `wait` it runs; it can be canceled meanwhile


class _RunningAttempt(msgspec.Struct):
    """An attempt that has started and not ended."""

    assignment: Assignment
    outcome: ScriptedOutcome
    started: float
    waits: int


class ScriptedExecutor:
    """An executor (see executors.pool.Executor) whose workers each run one attempt per `wait`, in the order assigned.
    Outcomes are journalled as a worker would."""

    name = "scripted"
    supply = POOL_SUPPLY

    def __init__(
        self, store_folder: str, script: Callable[[Assignment], ScriptedOutcome], clock: Callable[[], float]
    ) -> None:
        self._store, self._script, self._clock = store_folder, script, clock
        self._tasks: dict[int, TaskTemplate] = {}
        self._queues: dict[str, deque[Assignment]] = {}
        self._running: dict[str, _RunningAttempt] = {}
        self._writers: dict[str, JournalWriter] = {}
        self._gone: list[WorkerGone] = []
        self._made = 0
        self._fingerprints = Fingerprinter()
        self.ran: list[tuple[str, int, tuple[str, ...]]] = []
        """(job, attempt's number, names of the steps that ran), in order."""
        self.fanned: list[tuple[int, FanOut | None, list[SubtaskEnd]]] = []
        """(attempt, the earlier fan-out it resumes, the ends of its subtasks), for each fan-out begun."""

    def open(self) -> WorkerInfo:
        """Make a worker, without a process."""
        self._made += 1
        name = f"scripted-{os.urandom(4).hex()}-{self._made}"
        path = journal_path(self._store, name)
        make_folder(Path(path).parent)
        self._queues[name], self._writers[name] = deque(), JournalWriter(path)
        # There is no process: it counts as dead.
        opened = Opened(name, socket.gethostname(), boot_id(), os.getpid(), pid_start=-1, at=self._clock())
        self._writers[name].append(opened)
        return WorkerInfo(name, path, opened.pid, opened.pid_start)

    def assign(self, worker: str, tasks: Sequence[TaskTemplate], work: Sequence[Assignment]) -> None:
        """Queue the work until the next `wait`."""
        self._tasks.update((task.id, task) for task in tasks)
        self._queues[worker].extend(work)

    def cancel(self, worker: str, tokens: Sequence[str], allocation: str = "") -> None:  # noqa: ARG002 (interface)
        """Journal CANCELED for these attempts, queued or running."""
        queue = self._queues[worker]
        for one in [one for one in queue if one.token in tokens]:
            queue.remove(one)
            self._writers[worker].append(self._canceled(one))
        attempt = self._running.get(worker)
        if attempt is not None and attempt.assignment.token in tokens:
            del self._running[worker]
            self._writers[worker].append(self._canceled(attempt.assignment, attempt.started))

    def recall(self, worker: str) -> None:
        """Journal Returned for all queued attempts."""
        queue = self._queues[worker]
        if queue:
            tokens, attempts = tuple(one.token for one in queue), tuple(one.attempt for one in queue)
            queue.clear()
            self._writers[worker].append(Returned(tokens, attempts))

    def retire(self, worker: str) -> None:
        """End the worker at once, returning its queued attempts."""
        self.recall(worker)
        del self._queues[worker]
        self._running.pop(worker, None)
        self._writers.pop(worker).close()
        self._gone.append(WorkerGone(worker))

    def leave(self) -> None:
        """Close: nothing runs between two calls."""
        self.close(0.0)

    def take_records(self, worker: str, records: Sequence[Record], start: int, end: int) -> None:
        """Do nothing: no process writes the journals."""

    def wait(self, timeout: float | None, also: Sequence[int] = ()) -> Sequence[int]:
        """Run one attempt on each worker. If there is none, advance a fake clock by `timeout`."""
        if isinstance(self._clock, FakeClock) and not self._running and not any(self._queues.values()):
            self._clock.advance(timeout or 0.0)
        for worker, queue in list(self._queues.items()):
            if worker in self._running:
                self._running[worker].waits -= 1
            elif queue:
                self._running[worker] = self._begin(worker, queue.popleft())
            else:
                continue
            if self._running[worker].waits < 0:
                self._perform(worker, self._running.pop(worker))
        readable = wait_readable(also, 0.0)
        return [fd for fd in also if fd in readable]

    def gone(self) -> Sequence[WorkerGone]:
        """Return the workers that have died since the last call."""
        found, self._gone = self._gone, []
        return found

    def close(self, grace: float) -> None:  # noqa: ARG002 - nothing runs between two calls
        """Close the journals."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()
        self._queues.clear()
        self._running.clear()

    def _begin(self, worker: str, one: Assignment) -> _RunningAttempt:
        outcome, started = self._script(one), self._clock()
        self._writers[worker].append(Started(one.attempt, one.token, started))
        return _RunningAttempt(one, outcome, started, outcome.waits - 1)

    def _perform(self, worker: str, attempt: _RunningAttempt) -> None:
        one, outcome, started, journal = attempt.assignment, attempt.outcome, attempt.started, self._writers[worker]
        task = self._tasks[one.template]
        fingerprint = self._fingerprint(task, one)
        steps = list(enumerate(task.steps))[one.start_step :]
        ran: list[str] = []
        for position, step in steps:
            ran.append(step.name)
            fails = step.name == outcome.fails_at
            dies = fails and (outcome.crash or outcome.cause is Cause.LOST)
            bad = step.each is not None and self._fan_out(journal, one, position, step.each, outcome, dies)
            if dies:
                self.ran.append((one.name, one.number, tuple(ran)))
                if outcome.crash:
                    raise Crash
                self._die(worker, one, started)
                return
            action = outcome.action if len(ran) == 1 and step.each is None else None
            failed = ScriptedOutcome(cause=Cause.SUBTASKS, exit_code=None) if bad else outcome if fails else None
            end = self._step(position, step.name, failed, action)
            if failed or position == steps[-1][0]:
                break
            journal.append(StepEnded(one.attempt, one.token, end))
        self.ran.append((one.name, one.number, tuple(ran)))
        ended = self._ended(one, end, started, outcome)
        if fingerprint is not None:
            if end.state is State.COMPLETED:
                fingerprint.take_outputs()
            ended = fingerprint.complete(ended)
        code = outcome.code or self._fingerprints.code(task, journal.append)
        journal.append(msgspec.structs.replace(ended, prints=outcome.prints or ended.prints, code=code))

    def _fingerprint(self, task: TaskTemplate, one: Assignment) -> Fingerprint | None:
        try:
            begun = self._fingerprints.begin(task, one, build_environment(task, one, os.environ))
        except RekindleError:  # a template without a value, which only a real step reports
            return None
        if begun is not None:
            begun.take_inputs()
        return begun

    def _fan_out(
        self, journal: JournalWriter, one: Assignment, position: int, each: Each, outcome: ScriptedOutcome, dies: bool
    ) -> bool:
        """Run the subtasks of a step in order, or only the first if the worker `dies`. Return whether any failed."""
        earlier = next((known for known in one.fan_outs if known.step == position), None)
        items = [item_text(item) for item in each.items or ()]
        division = divide_subtasks(items, earlier.known if earlier else (), earlier.choice if earlier else "all")
        kept = earlier is not None and bool(division.kept)
        journal.append(
            FannedOut(
                one.attempt,
                one.token,
                position,
                len(items),
                run=tuple((known.index, known.item, known.attempts) for known in division.run),
                base=earlier.base if earlier and kept else None,
                gone=tuple(known.index for known in division.gone) if kept else (),
            )
        )
        ends: list[SubtaskEnd] = []
        self.fanned.append((one.attempt, earlier, ends))
        for known in division.run[:1] if dies else division.run:
            ends.append(self._subtask(known.index, known.index in outcome.bad))
            tried = ((known.index, known.attempts + 1),)
            journal.append(Subtasks(one.attempt, one.token, position, started=tried))
            journal.append(Subtasks(one.attempt, one.token, position, ended=(ends[-1],)))
        return any(end.state is State.FAILED for end in ends)

    def _subtask(self, index: int, bad: bool) -> SubtaskEnd:
        now = self._clock()
        if bad:
            return SubtaskEnd(index, State.FAILED, now, now, Cause.EXIT, 1)
        return SubtaskEnd(index, State.COMPLETED, now, now, exit_code=0)

    def _step(self, position: int, name: str, failed: ScriptedOutcome | None, action: str | None) -> StepOutcome:
        now = self._clock()
        if failed is None:
            return StepOutcome(position, name, State.COMPLETED, exit_code=0, started=now, ended=now, action=action)
        return StepOutcome(position, name, State.FAILED, failed.cause, failed.exit_code, started=now, ended=now)

    def _canceled(self, one: Assignment, started: float | None = None) -> Ended:
        return Ended(one.attempt, State.CANCELED, self._clock(), started, Cause.CANCELED, token=one.token)

    def _ended(self, one: Assignment, end: StepOutcome, started: float, outcome: ScriptedOutcome) -> Ended:
        failed = end.state is State.FAILED
        return Ended(
            one.attempt,
            end.state,
            self._clock(),
            token=one.token,
            started=started,
            cause=end.cause,
            exit_code=end.exit_code,
            failure=Failure(message=outcome.message) if failed else None,
            steps=(end,),
            result=None if failed else outcome.result,
            max_rss_bytes=outcome.max_rss_bytes,
        )

    def _die(self, worker: str, one: Assignment, started: float) -> None:
        """Journal what an executor writes for a dead worker (see executors.worker_process.reap)."""
        journal, queue = self._writers.pop(worker), self._queues.pop(worker)
        lost = Failure(message="its worker died, as scripted")
        journal.append(
            Ended(one.attempt, State.FAILED, self._clock(), started, Cause.LOST, failure=lost, token=one.token)
        )
        if queue:
            journal.append(Returned(tuple(two.token for two in queue), tuple(two.attempt for two in queue)))
        journal.close()
        self._gone.append(WorkerGone(worker))
