"""The call host: a warm process beside a worker, in which Python functions run, so that one that takes its process
down takes this one and not the worker.

`python -P -m rekindle.worker.host JOURNAL SCRATCH WORKER-PID PROJECT`, with the descriptors of worker.wire.
"""

from __future__ import annotations

import dataclasses
import os
import resource
import sys
import time
from typing import Any

import msgspec

from rekindle.domain.causes import Cause
from rekindle.domain.definition import Step
from rekindle.domain.errors import RekindleError
from rekindle.domain.states import State
from rekindle.domain.texts.substitution import render_value
from rekindle.journal.durability import is_full
from rekindle.journal.ledger import Writer, line_of
from rekindle.journal.orders import Assignment, Recipe
from rekindle.journal.processes import start_of
from rekindle.journal.records import Ended, Record, Started
from rekindle.worker.callables import Finding, Functions, call
from rekindle.worker.capture import BadLog, Capture
from rekindle.worker.clock import CLOCK, date
from rekindle.worker.context import Context
from rekindle.worker.findings import StepEnd, Totals, begun, crashed, ended_of, failed, outcome_of
from rekindle.worker.fingerprints import Fingerprints
from rekindle.worker.folders import Folders
from rekindle.worker.frame import (
    Frame,
    forget_inputs,
    frame_of,
    frame_of_subtask,
    memory_limit,
    own_surroundings,
    tell_inputs,
)
from rekindle.worker.freshness import Freshness
from rekindle.worker.isolation import ProcessState
from rekindle.worker.items import items_step
from rekindle.worker.leftovers import Left
from rekindle.worker.memory import held_at_most
from rekindle.worker.patience import Storage
from rekindle.worker.preparing import prepare, with_outputs
from rekindle.worker.reaping import become_subreaper, childless, die_with_parent, left_running
from rekindle.worker.staging import in_place, spoiled, take_effect
from rekindle.worker.wire import BOARD, ORDERS, REPLIES, TURN, Answer, Batch, Board, Done, Lines, One, Task, send


class Host:
    """Runs what its worker sends, one call after the other."""

    def __init__(self, journal: str, scratch: str) -> None:
        self._board = board = Board(BOARD)
        self._journal = Writer(journal, durable=is_full(os.environ))
        self._storage = Storage(board.complain, lambda: self._journal.gone)
        self._ended: Ended | None = None  # told with the next start, in one line
        self._capture = Capture(f"{scratch}/call.", self._storage)
        self._folders = Folders(f"{scratch}/call.spare", self._storage)
        self._functions = Functions()
        self._fingerprints = Fingerprints()
        self._freshness = Freshness()
        self._recipes: dict[int, Recipe] = {}
        self._surroundings = own_surroundings()
        self._state = ProcessState()
        self._module: str | None = None  # the only one whose calls may run here: its import has changed the state
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._children_cpu = 0.0
        self._pid = os.getpid()
        self._pid_start = start_of(self._pid)
        self._served = False  # no call has been made here
        self._clean = True  # no call has left a process or a thread behind, or a state that cannot be put back
        self._redirect()

    def serve(self) -> None:
        """Work until the worker closes its end, or this process has become of no more use."""
        lines = Lines(ORDERS, Task)
        while not lines.ended:
            for task in lines.take():
                if isinstance(task, Recipe):
                    self._recipes[task.id] = task
                    continue
                reply = self._batch(task) if isinstance(task, Batch) else self._one(task)
                send(REPLIES, reply)
                if not reply.fresh:
                    return

    def _batch(self, batch: Batch) -> Done:
        until = time.monotonic() + TURN
        done = 0
        fresh = True
        for position, assignment in enumerate(batch.work):
            if done and time.monotonic() >= until:
                break
            fresh = self._fit(self._recipes[assignment.recipe].steps[0], assignment)
            if not fresh or not self._board.claim(position):
                break
            self._attempt(assignment, batch.code)
            done += 1
            if not self._clean:
                fresh = False
                break
        if self._ended is not None:
            self._tell()
        return Done(done, fresh)

    def _fit(self, step: Step, assignment: Assignment) -> bool:
        """Whether a call may run in this process: its code is the newest, what earlier calls have left here is not too
        much, and no other module's import has changed the state."""
        if self._module is not None and self._module != _module(step):
            return False
        return self._freshness.changed() is None and not self._laden(assignment)

    def _laden(self, assignment: Assignment) -> bool:
        """Before a call with a limit of memory: what earlier ones have left here is more than that. What it is does
        not count for this call, which would otherwise have to answer for it."""
        limit = memory_limit(self._recipes[assignment.recipe], assignment)
        if not limit:
            return False
        self._board.held = held = held_at_most(self._pid)
        return self._served and held > limit

    def _tell(self, *records: Record) -> None:
        """Journal these, behind the end that is still to be told."""
        if self._ended is not None:
            records = (self._ended, *records)
        lines = b"".join(map(line_of, records))
        self._storage.insist(lambda: self._journal.write(lines))
        self._ended = None

    def _attempt(self, assignment: Assignment, code: str | None) -> None:
        """Make an attempt of one step. Its end is journalled before the next one starts, and with that start."""
        CLOCK.set()
        recipe = self._recipes[assignment.recipe]
        step = recipe.steps[0]
        frame = prepare(recipe, assignment, self._surroundings, self._folders)
        if isinstance(frame, Ended):
            self._tell(frame)
            return
        start = begun(assignment, self._pid, self._pid_start)
        self._tell(start)
        self._board.start = time.monotonic()
        try:
            self._ended = self._made(step, frame, recipe, assignment, start, code)
        except Exception as error:
            if self._storage.trouble or self._storage.gone:
                raise
            self._clean = False  # this process serves no other call
            end = crashed(start.at, error)
            self._ended = ended_of(assignment, start.at, outcome_of(0, step.name, end), end, Totals(), code=code)

    def _made(
        self, step: Step, frame: Frame, recipe: Recipe, assignment: Assignment, start: Started, code: str | None
    ) -> Ended:
        left = Left(recipe, assignment, frame)
        fingerprint = self._fingerprints.begin(recipe, assignment, frame)
        if fingerprint is not None:
            fingerprint.take_inputs()
        end, _ = take_effect(self._perform(step, 0, frame, recipe, assignment, last=True), frame)
        self._board.start = 0.0
        if not assignment.own:
            self._folders.clear(assignment.folder, self._clean)
        forget_inputs(assignment)
        totals = Totals(end.cpu_seconds, end.max_rss_bytes, end.verdict, end.left)
        ended = ended_of(assignment, start.at, outcome_of(0, step.name, end), end, totals, code=code)
        if fingerprint is not None:
            if end.completed:
                fingerprint.take_outputs()
            ended = fingerprint.complete(ended)
        return left.complete(ended)

    def _one(self, task: One) -> Answer:
        """One step of an attempt whose folder and records are the worker's."""
        CLOCK.set()
        assignment = task.assignment
        recipe = self._recipes[assignment.recipe]
        frame = frame_of(recipe, assignment, self._surroundings)
        tell_inputs(frame, assignment, there=True)
        step = recipe.steps[task.position]
        last = task.position == len(recipe.steps) - 1 and step.each is None
        if task.items:
            step = items_step(step)
        if not self._fit(step, assignment):
            return Answer(None, fresh=False)
        if task.subtask is not None:
            frame = frame_of_subtask(frame, task.subtask)
            assignment = msgspec.structs.replace(assignment, folder=task.subtask.folder, own="")
        started = date()
        try:
            end = self._perform(step, task.position, frame, recipe, assignment, last)
        except Exception as error:  # noqa: BLE001 - as in worker.attempts.abandon
            self._clean = False
            end = crashed(started, error)
        return Answer(end, self._clean)

    def _perform(
        self, step: Step, position: int, frame: Frame, recipe: Recipe, assignment: Assignment, last: bool
    ) -> StepEnd:
        """Call the step's function and say how it ended, with its output where it belongs."""
        self._served = True
        started = date()
        before = time.process_time()
        try:
            os.chdir(frame.directory)
        except OSError as error:
            return failed(started, Cause.START, f"cannot enter {frame.directory}: {error.strerror}")
        frame.variables["REKINDLE_STEP"] = step.name
        self._state.enter(frame.variables)
        finding = self._call(step, frame, recipe, assignment)
        if os.getpid() != self._pid:  # the call has forked, and its child has returned too
            os._exit(0)
        alone, restored = childless(), self._state.restore()
        self._clean = alone and restored
        self._redirect()
        tail = self._capture.tail() if finding.cause is not None or (last and frame.outputs) else ""
        end = _end_of(finding, started, time.process_time() - before + self._cpu_of_children(), tail)
        if not alone:
            end = msgspec.structs.replace(end, left=left_running(()))
        if last and end.completed:
            end = with_outputs(end, frame, tail)
        end = in_place(end, assignment.leaves)
        try:
            self._capture.keep(assignment.beside, position, self._clean)
        except BadLog as error:
            end = spoiled(end, error, tail)
        self._redirect()  # the call may have closed its own
        return end

    def _call(self, step: Step, frame: Frame, recipe: Recipe, assignment: Assignment) -> Finding:
        name = step.call or ""
        known = name in self._functions
        found = self._functions.find(name)
        if not known and name in self._functions and self._state.keep_imported():
            self._module = _module(step)
        if isinstance(found, Finding):
            return found
        function, takes_context = found
        try:
            arguments: dict[str, Any] = render_value(step.args, frame.scope)
        except RekindleError as error:
            return Finding.not_started(str(error))
        if not takes_context or "ctx" in arguments:
            return call(function, arguments)
        context = Context(recipe, assignment, step.name, frame.scope["params"], frame.scope.get("item"))
        finding = call(function, {**arguments, "ctx": context})
        return finding if context.given is None else msgspec.structs.replace(finding, verdict=context.given)

    def _cpu_of_children(self) -> float:
        """What processes that ended since the last call took."""
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        before, self._children_cpu = self._children_cpu, usage.ru_utime + usage.ru_stime
        return self._children_cpu - before

    def _redirect(self) -> None:
        """Point stdin, stdout and stderr to where they belong, wherever a call has pointed them."""
        os.dup2(self._null, 0)
        os.dup2(self._capture.out, 1)
        os.dup2(self._capture.err, 2)


def _module(step: Step) -> str:
    return (step.call or "").partition(":")[0]


def _end_of(finding: Finding, started: float, cpu_seconds: float, stderr: str) -> StepEnd:
    failure = finding.failure
    if failure is not None and stderr:
        failure = dataclasses.replace(failure, stderr=stderr)
    return StepEnd(
        State.COMPLETED if finding.cause is None else State.FAILED,
        started,
        date(),
        finding.cause,
        finding.exit_code,
        failure=failure,
        result=finding.result,
        action=finding.action,
        verdict=finding.verdict if finding.cause is None else None,
        cpu_seconds=cpu_seconds,
        # The highest that this process ever had: a call's own share is at most that.
        max_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


def main(arguments: list[str]) -> None:
    """Set this process up and serve."""
    journal, scratch, worker, project = arguments
    die_with_parent(int(worker))
    become_subreaper()
    for fd in (ORDERS, REPLIES, BOARD):
        os.set_inheritable(fd, False)
    sys.argv = [""]
    sys.path.insert(0, project)
    Host(journal, scratch).serve()


if __name__ == "__main__":
    main(sys.argv[1:])
