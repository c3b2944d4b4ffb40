"""One attempt, step by step: commands, fan-outs, and calls that are one step of several."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.errors import RekindleError
from rekindle.domain.models import StepOutcome
from rekindle.domain.states import Cause, State
from rekindle.journal.encoding import from_json, to_json
from rekindle.journal.processes import children_of
from rekindle.journal.records import Depended, Ended, StepEnded, StepStarted
from rekindle.worker.attempt_environment import AttemptEnvironment, remove_inputs_file, set_inputs
from rekindle.worker.attempt_folders import apply_action
from rekindle.worker.call_steps import CallStep
from rekindle.worker.command_steps import CommandStep, kill_children, left_running
from rekindle.worker.declared_files import BackgroundRead, PartialOutputs, check_outputs, prepare
from rekindle.worker.fan_out_steps import FanOutStep, fan_out_result
from rekindle.worker.folder_copy import FolderCopy
from rekindle.worker.limits import (
    MemoryMonitor,
    Termination,
    cancellation,
    classify_kill,
    held_at_most,
    over_memory,
    over_time,
)
from rekindle.worker.logs import BadLog
from rekindle.worker.steps import (
    Activity,
    StartError,
    StepEnd,
    StepTotals,
    crashed_step,
    ended_before_steps,
    ended_record,
    failed_step,
    started_record,
    step_outcome,
    wall_time,
)
from rekindle.worker.subtasks import FanOutContext, WorkerResources, without_history

if TYPE_CHECKING:
    from rekindle.files.digests import OnRead
    from rekindle.journal.orders import Assignment, TaskTemplate
    from rekindle.journal.records import CachedOutputs
    from rekindle.worker.fingerprints import Fingerprint


def begin(resources: WorkerResources, template: TaskTemplate, assignment: Assignment) -> Attempt | None:
    """Start an attempt. Return None if it has ended already; its end is then journaled."""
    try:
        env = prepare(template, assignment, resources.base_variables, resources.folders)
        if isinstance(env, Ended):
            resources.reporter.add(env)
            return None
        attempt = Attempt(resources, template, assignment, env)
    except Exception as error:  # noqa: BLE001 - see `abandon`
        abandon(resources, template, assignment, assignment.start_step, wall_time(), error)
        return None
    return None if attempt.over else attempt


def abandon(
    resources: WorkerResources,
    template: TaskTemplate,
    assignment: Assignment,
    position: int,
    started: float,
    error: Exception,
) -> None:
    """End an attempt that cannot be handled any further: kill its processes and journal a failure.

    Files that a job leaves should never raise an error. If they do, the error must not end the worker, because the
    attempt would be lost. Raise `error` again if the disk fails or the store is gone."""
    if resources.reporter.storage.disk_error or resources.reporter.storage.gone:
        raise error
    resources.hosts.retire()
    kill_children()
    with contextlib.suppress(OSError, BadLog):
        resources.capture.keep(assignment.file_prefix, position, left_nothing=False)
    end, at = crashed_step(started, error), min(position, len(template.steps) - 1)
    step = step_outcome(at, template.steps[at].name, end)
    resources.reporter.add(ended_record(assignment, started, step, end, StepTotals()))


class Attempt:
    """A running attempt. `over`: it has ended and its end is recorded."""

    def __init__(
        self, resources: WorkerResources, template: TaskTemplate, assignment: Assignment, env: AttemptEnvironment
    ) -> None:
        self._resources, self._template, self._env = resources, template, env
        self.assignment = without_history(assignment)
        self._fan_outs = {one.step: one for one in assignment.fan_outs}
        self._partial = False
        self._position = assignment.start_step
        self._totals = StepTotals(verdict=assignment.verdict)
        self._started = wall_time()
        self._limit = None if env.time is None else time.monotonic() + env.time
        self._stopped: Termination | None = None
        self._monitor: MemoryMonitor | None = None  # while a step runs that has a limit of memory
        self._held: dict[int, int] = {}  # bytes that the call host held before the current step
        self._kills = 0  # of the kernel, before that step
        self._quiet = True
        self._activity: Activity | None = None
        self._start_recorded = False  # the start is journaled
        self._fingerprint = resources.fingerprints.begin(template, assignment, env)
        self._code = resources.fingerprints.code(template, resources.reporter.add, env)
        self._last: tuple[StepEnd, bool] | None = None  # how the last step ended, while its outputs are read
        self._cached: CachedOutputs | None = None
        self.over = False
        self.left_processes = False  # processes of the attempt outlive it
        resources.hosts.set_leave_running(template.leave_running)
        for step, kept in self._fan_outs.items():
            if step < self._position:
                self._publish_fan_out(step, [(one.item, one.result) for one in kept.known if one.complete])
        self._partial_outputs = PartialOutputs(template, assignment, env)
        self._pending = deque(self._preparations())
        self._advance(self._prepare())

    @property
    def fanned_out(self) -> bool:
        """Whether a fan-out step runs."""
        return isinstance(self._activity, FanOutStep)

    @property
    def handles(self) -> list[int]:
        """The descriptors to wait for."""
        return [] if self._activity is None else self._activity.handles

    @property
    def due(self) -> float | None:
        """When to poll although nothing is readable."""
        due = None if self._activity is None else self._activity.due
        if self._stopped is not None or (self._limit is None and self._monitor is None):
            return due
        next_sample = None if self._monitor is None else self._monitor.due
        return min((at for at in (due, self._limit, next_sample) if at is not None), default=None)

    def poll(self, now: float) -> None:
        """Handle events and continue with the next step."""
        try:
            self._poll(now)
        except Exception as error:  # noqa: BLE001 - see `abandon`
            abandon(self._resources, self._template, self.assignment, self._position, self._started, error)
            self.over = True

    def _poll(self, now: float) -> None:
        if self._activity is None:
            return
        if self._limit is not None and now >= self._limit and self._env.time is not None:
            self._terminate(over_time(self._env.time, now - self._limit + self._env.time), now)
        if self._monitor is not None and now >= self._monitor.due and self._stopped is None:
            self._measure(self._monitor, now)
        self._advance(self._activity.poll(now))

    def cancel(self, now: float, allocation: str = "") -> None:
        """End the attempt; a second call ends it without a grace. `allocation`: the one that ends, if that is why."""
        if self._stopped is not None and self._activity is not None:
            self._activity.cut_grace(now)
        self._terminate(cancellation(allocation), now)

    def _terminate(self, termination: Termination, now: float) -> None:
        if self._activity is not None and self._stopped is None:
            self._stopped = termination
            grace = 0.0 if termination.cause is Cause.OOM else self._template.grace
            self._activity.stop(termination.cause, termination.message, now, grace)

    def _measure(self, monitor: MemoryMonitor, now: float) -> None:
        """End the attempt at once if its processes exceed the memory limit."""
        before = sum(self._held.get(pid, 0) for pid in self._resources.hosts.pids())
        held = monitor.exceeds(self._env.memory, before)
        if held is not None:
            self._terminate(over_memory(self._env.memory, held), now)

    def _advance(self, end: StepEnd | None) -> None:
        """Handle the end of an activity (None: it still runs): start the next step or end the attempt."""
        if self._pending and end is not None:
            end = self._prepared(end)
        elif self._last is not None and end is not None:
            self._conclude(*self._last, end)
            return
        while end is not None:
            activity, self._activity, self._monitor = self._activity, None, None
            if activity is not None:
                self._quiet = self._quiet and activity.left_nothing
                end = classify_kill(end, self._resources.kills, self._kills)
            if self._stopped is not None:
                end = self._stopped.apply(end)
            end, exits = apply_action(end, self._env)
            last = exits or self._position == len(self._template.steps) - 1
            self._partial = self._partial or (isinstance(activity, FanOutStep) and activity.partial)
            if last or not end.completed:
                self._finish(end, exits)
                return
            step = self._template.steps[self._position]
            self._totals.add(end)
            outcome = step_outcome(self._position, step.name, end)
            self._resources.reporter.add(StepEnded(self.assignment.attempt, self.assignment.token, outcome))
            if isinstance(activity, FanOutStep):
                self._publish_fan_out(self._position, activity.complete())
            else:
                self._env.keep_result(step.name, None if end.result is None else from_json(end.result))
            self._position += 1
            end = self._start_step()

    def _finish(self, end: StepEnd, exits: bool) -> None:
        """Check and read the outputs after the last step. The time to read large outputs does not count for the job."""
        if end.completed:
            end = check_outputs(end, self._env)
        if self._fingerprint is not None and end.completed:
            if self._fingerprint.many_outputs:
                self._last, self._limit = (end, exits), None
                self._activity = BackgroundRead(partial(self._take_outputs, self._fingerprint))
                return
            self._take_outputs(self._fingerprint)
        self._conclude(end, exits)

    def _take_outputs(self, fingerprint: Fingerprint, on_read: OnRead | None = None) -> None:
        """Read the outputs, and keep them if the job says so."""
        fingerprint.take_outputs(on_read)
        self._cached = fingerprint.keep_outputs(self.assignment.attempt, on_read)

    def _conclude(self, end: StepEnd, exits: bool, read: StepEnd | None = None) -> None:
        """Record the end; `read`: how the reading of large outputs ended."""
        self._activity = None
        if read is not None and not read.completed:
            end = msgspec.structs.replace(end, state=read.state, cause=read.cause, failure=read.failure)
        at = min(self._position, len(self._template.steps) - 1)
        self._totals.add(end)
        outcome = step_outcome(at, self._template.steps[at].name, end)
        left = self._skipped_steps() if exits else ()
        ended = ended_record(self.assignment, self._started, outcome, end, self._totals, left, self._code)
        if at < self._position:  # the attempt continued behind its last step
            ended = msgspec.structs.replace(ended, steps=())
        self._end(msgspec.structs.replace(ended, partial=True) if self._partial else ended)

    def _skipped_steps(self) -> tuple[StepOutcome, ...]:
        """Return the later steps, which an action skips."""
        behind = range(self._position + 1, len(self._template.steps))
        return tuple(StepOutcome(at, self._template.steps[at].name, State.WAITING) for at in behind)

    def _end(self, record: Ended) -> None:
        record = self._partial_outputs.complete(record)
        if not self._template.keeps_folder and not self.assignment.own:
            self._resources.folders.clear(self.assignment.folder, self._quiet)
        remove_inputs_file(self.assignment)
        if self._template.leave_running:
            record = self._keep_or_kill_left_processes(record)
        if self._fingerprint is not None:
            record = self._fingerprint.complete(record)
        if record.state is State.COMPLETED:
            record = msgspec.structs.replace(record, cached=self._cached)
        self._resources.reporter.add(record)
        self.over = True

    def _keep_or_kill_left_processes(self, record: Ended) -> Ended:
        """Keep processes that the steps of a completed attempt left running; kill them otherwise."""
        own, completed = self._resources.hosts.pids(), record.state == State.COMPLETED
        left, killed = left_running(own, killed=not completed), StepTotals(left=record.left_running)
        self.left_processes = completed and left is not None
        if self.left_processes:
            return msgspec.structs.replace(record, left_running=left)
        kill_children(own)
        if left is not None and self._stopped is None:
            killed.leave(left)
        return msgspec.structs.replace(record, left_running=killed.left)

    def _preparations(self) -> list[Callable[[], Activity]]:
        """Return the slow preparations: the copy of a folder, large inputs. Small inputs are read here."""
        assignment, resources, fingerprint = self.assignment, self._resources, self._fingerprint
        found: list[Callable[[], Activity]] = []
        if assignment.copy_from:
            found.append(lambda: FolderCopy(assignment, self._position, resources.base_variables, resources.capture))
        if fingerprint is not None and fingerprint.many_inputs:
            found.append(lambda: BackgroundRead(fingerprint.take_inputs))
        elif fingerprint is not None:
            fingerprint.take_inputs()
        return found

    def _prepare(self) -> StepEnd | None:
        """Start the next preparation, or the first step."""
        if not self._pending:
            return self._start_step()
        if not self._start_recorded:
            self._record_start()
            self._resources.reporter.flush()
        try:
            self._activity = self._pending[0]()
        except (RekindleError, OSError) as error:
            message = f"cannot copy the folder {self.assignment.copy_from}: {error}"
            return self._prepared(failed_step(wall_time(), Cause.START, message))
        return None

    def _prepared(self, end: StepEnd) -> StepEnd | None:
        """Handle the end of a preparation: continue, or end the attempt before its first step."""
        self._activity = None
        if end.completed:
            self._pending.popleft()
            return self._prepare()
        if self._stopped is not None:
            end = self._stopped.apply(end)
        self._end(msgspec.structs.replace(ended_before_steps(self.assignment, self._started, end), code=self._code))
        return None

    def _publish_fan_out(self, position: int, complete: Sequence[tuple[str, str | None]]) -> None:
        """Make the complete subtasks of a fan-out visible to later steps: as its result, and in REKINDLE_INPUTS."""
        name, shown = self._template.steps[position].name, fan_out_result(complete)
        self._env.keep_result(name, shown)
        inputs = from_json(self.assignment.inputs or "{}")
        inputs[name] = {**inputs.get(name, {}), **shown}
        self.assignment = msgspec.structs.replace(self.assignment, inputs=to_json(inputs).decode())
        self._resources.reporter.storage.retry(lambda: set_inputs(self._env, self.assignment))

    def _start_step(self) -> StepEnd | None:
        """Record and start the current step; return its end if it does not start.

        The record comes first: if this process dies in between, the step counts as possibly run."""
        assignment, now = self.assignment, wall_time()
        if not self._start_recorded:
            self._record_start()
        else:
            self._resources.reporter.add(StepStarted(assignment.attempt, assignment.token, self._position, now))
        self._resources.reporter.flush()
        try:
            self._partial_outputs.bring_back()
        except StartError as error:
            return failed_step(now, Cause.START, str(error))
        if self._position == len(self._template.steps):  # after a fan-out that was accepted in part
            self._finish(StepEnd(State.COMPLETED, now, wall_time()), exits=False)
            return None
        try:
            self._observe_step()
            self._activity = self._activity_of_step()
        except RekindleError as error:
            return failed_step(now, Cause.START, str(error))
        return None

    def _observe_step(self) -> None:
        """Before a step starts, take the values that are compared at its end."""
        resources, now = self._resources, time.monotonic()
        self._kills = resources.kills.count(now)
        if self._env.memory:
            self._held = {pid: held_at_most(pid) for pid in resources.hosts.pids()}
            self._monitor = MemoryMonitor(lambda: children_of(os.getpid()), now)

    def _record_start(self) -> None:
        self._resources.reporter.add(started_record(self.assignment))
        self._start_recorded = True

    def _record_dependencies(self) -> None:
        """Record what the attempt has depended on so far, for a later one that keeps subtasks of a fan-out."""
        prints = None if self._fingerprint is None else self._fingerprint.so_far()
        if prints is not None or self._code is not None:
            record = Depended(self.assignment.attempt, self.assignment.token, prints, self._code)
            self._resources.reporter.add(record)

    def _activity_of_step(self) -> Activity:
        resources, step = self._resources, self._template.steps[self._position]
        if step.each is not None:
            self._record_dependencies()
            results = {name: values["result"] for name, values in self._env.scope["steps"].items()}
            assignment = msgspec.structs.replace(self.assignment, kept=results)
            earlier = self._fan_outs.get(self._position) if self._position == self.assignment.start_step else None
            held = self._fingerprint.items(step.name) if self._fingerprint is not None else {}
            return FanOutStep(
                FanOutContext(resources, self._template, assignment, self._position, self._env), earlier, held
            )
        if step.call is None:
            own, capture = resources.hosts.pids, resources.capture
            return CommandStep(step, self._position, self._env, self.assignment, capture, own, resources.folders)
        results = {name: values["result"] for name, values in self._env.scope["steps"].items()}
        params = self._env.scope["params"]
        unset = tuple(name for name in self._template.params if name not in params)
        assignment = msgspec.structs.replace(self.assignment, kept=results, params=params, unset=unset)
        return CallStep(resources.hosts, self._template, assignment, self._position)
