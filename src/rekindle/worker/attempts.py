"""One attempt, step by step, as its worker runs it: commands, and calls that are one step among several."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from rekindle.domain.causes import Cause
from rekindle.domain.errors import RekindleError
from rekindle.domain.models import StepOutcome
from rekindle.domain.states import State
from rekindle.journal.encoding import from_json, to_json
from rekindle.journal.orders import Assignment, Recipe
from rekindle.journal.processes import children_of
from rekindle.journal.records import Ended, StepEnded, StepStarted
from rekindle.worker.activity import Activity
from rekindle.worker.calls import CallStep
from rekindle.worker.capture import BadLog
from rekindle.worker.clock import date
from rekindle.worker.commands import Command
from rekindle.worker.copying import FolderCopy
from rekindle.worker.fan_outs import FanOutStep, document
from rekindle.worker.findings import (
    StartError,
    StepEnd,
    Totals,
    begun,
    crashed,
    ended_before_steps,
    ended_of,
    failed,
    outcome_of,
)
from rekindle.worker.frame import Frame, forget_inputs, tell_inputs
from rekindle.worker.halts import Halt, canceled, judged, over_memory, over_time
from rekindle.worker.leftovers import Left
from rekindle.worker.memory import Gauge, held_at_most
from rekindle.worker.preparing import prepare, with_outputs
from rekindle.worker.reading import Reading
from rekindle.worker.reaping import end_leftovers, left_running
from rekindle.worker.staging import take_effect
from rekindle.worker.subtasks import Site, lean
from rekindle.worker.tools import Tools


def begin(tools: Tools, recipe: Recipe, assignment: Assignment) -> Attempt | None:
    """Begin an attempt; None: it has ended already, and that is told."""
    try:
        frame = prepare(recipe, assignment, tools.surroundings, tools.folders)
        if isinstance(frame, Ended):
            tools.teller.add(frame)
            return None
        attempt = Attempt(tools, recipe, assignment, frame)
    except Exception as error:  # noqa: BLE001 - see `abandon`
        abandon(tools, recipe, assignment, assignment.start_step, date(), error)
        return None
    return None if attempt.over else attempt


def abandon(
    tools: Tools, recipe: Recipe, assignment: Assignment, position: int, started: float, error: Exception
) -> None:
    """End an attempt that cannot be handled any further: kill what it runs, and journal its end as a failure.

    No error may be raised for anything that a job left; one that is all the same must not end the worker, which would
    make the attempt lost. `error` is raised again where it is the disk's, or the store is gone."""
    if tools.teller.storage.trouble or tools.teller.storage.gone:
        raise error
    tools.hosts.retire()
    end_leftovers()
    with contextlib.suppress(OSError, BadLog):
        tools.capture.keep(assignment.beside, position, quiet=False)
    end, at = crashed(started, error), min(position, len(recipe.steps) - 1)
    step = outcome_of(at, recipe.steps[at].name, end)
    tools.teller.add(ended_of(assignment, started, step, end, Totals()))


class Attempt:
    """An attempt under way. `over` tells that it has ended and that this is told."""

    def __init__(self, tools: Tools, recipe: Recipe, assignment: Assignment, frame: Frame) -> None:
        self._tools, self._recipe, self._frame = tools, recipe, frame
        self.assignment = lean(assignment)
        self._fan_outs = {one.step: one for one in assignment.fan_outs}
        self._partial = False
        self._position = assignment.start_step
        self._totals = Totals(verdict=assignment.verdict)
        self._started = date()
        self._limit = None if frame.time is None else time.monotonic() + frame.time
        self._stopped: Halt | None = None
        self._gauge: Gauge | None = None  # while a step runs that has a limit of memory
        self._held: dict[int, int] = {}  # what the host for calls held before that step
        self._kills = 0  # of the kernel, before that step
        self._quiet = True
        self._activity: Activity | None = None
        self._told = False  # that it has started
        self._fingerprint = tools.fingerprints.begin(recipe, assignment, frame)
        self._code = tools.fingerprints.code(recipe, tools.teller.add, frame)
        self._last: tuple[StepEnd, bool] | None = None  # how the last step ended, while its outputs are read
        self.over = False
        self.leaves = False  # processes, which outlive it
        tools.hosts.spare(recipe.leave_running)
        for step, kept in self._fan_outs.items():
            if step < self._position:
                self._show(step, [(one.item, one.result) for one in kept.known if one.complete])
        self._left = Left(recipe, assignment, frame)
        self._before = deque(self._preparations())
        self._go_on(self._prepare())

    @property
    def fanned_out(self) -> bool:
        """It is amid a fan-out."""
        return isinstance(self._activity, FanOutStep)

    @property
    def handles(self) -> list[int]:
        """What to wait for."""
        return [] if self._activity is None else self._activity.handles

    @property
    def due(self) -> float | None:
        """When to look although nothing has happened."""
        due = None if self._activity is None else self._activity.due
        if self._stopped is not None:
            return due
        gauged = None if self._gauge is None else self._gauge.due
        return min((at for at in (due, self._limit, gauged) if at is not None), default=None)

    def turn(self, now: float) -> None:
        """See what has happened, and go on with the next step."""
        try:
            self._turn(now)
        except Exception as error:  # noqa: BLE001 - see `abandon`
            abandon(self._tools, self._recipe, self.assignment, self._position, self._started, error)
            self.over = True

    def _turn(self, now: float) -> None:
        if self._activity is None:
            return
        if self._limit is not None and now >= self._limit and self._frame.time is not None:
            self._stop(over_time(self._frame.time, now - self._limit + self._frame.time), now)
        if self._gauge is not None and now >= self._gauge.due and self._stopped is None:
            self._measure(self._gauge, now)
        self._go_on(self._activity.turn(now))

    def cancel(self, now: float) -> None:
        """Make it end; canceled once more, without a grace."""
        if self._stopped is not None and self._activity is not None:
            self._activity.hurry(now)
        self._stop(canceled(), now)

    def _stop(self, halt: Halt, now: float) -> None:
        if self._activity is not None and self._stopped is None:
            self._stopped = halt
            grace = 0.0 if halt.cause is Cause.OOM else self._recipe.grace
            self._activity.stop(halt.cause, halt.message, now, grace)

    def _measure(self, gauge: Gauge, now: float) -> None:
        """End it at once if its processes hold more than they may."""
        before = sum(self._held.get(pid, 0) for pid in self._tools.hosts.own())
        held = gauge.over(self._frame.memory, before)
        if held is not None:
            self._stop(over_memory(self._frame.memory, held), now)

    def _go_on(self, end: StepEnd | None) -> None:
        """What ran has ended (None: it has not): the next step, or the end."""
        if self._before and end is not None:
            end = self._prepared(end)
        elif self._last is not None and end is not None:
            self._conclude(*self._last, end)
            return
        while end is not None:
            activity, self._activity, self._gauge = self._activity, None, None
            if activity is not None:
                self._quiet = self._quiet and activity.quiet
                end = judged(end, self._tools.kills, self._kills)
            if self._stopped is not None:
                end = self._stopped.told(end)
            end, exits = take_effect(end, self._frame)
            last = exits or self._position == len(self._recipe.steps) - 1
            self._partial = self._partial or (isinstance(activity, FanOutStep) and activity.partial)
            if last or not end.completed:
                self._finish(end, exits)
                return
            step = self._recipe.steps[self._position]
            self._totals.add(end)
            outcome = outcome_of(self._position, step.name, end)
            self._tools.teller.add(StepEnded(self.assignment.attempt, self.assignment.token, outcome))
            if isinstance(activity, FanOutStep):
                self._show(self._position, activity.complete())
            else:
                self._frame.keep_result(step.name, None if end.result is None else from_json(end.result))
            self._position += 1
            end = self._start_step()

    def _finish(self, end: StepEnd, exits: bool) -> None:
        """No step follows: see to the outputs. Where they are large, the time that they take is not the job's."""
        if end.completed:
            end = with_outputs(end, self._frame)
        if self._fingerprint is not None and end.completed:
            if self._fingerprint.many_outputs:
                self._last, self._limit = (end, exits), None
                self._activity = Reading(self._fingerprint.take_outputs)
                return
            self._fingerprint.take_outputs()
        self._conclude(end, exits)

    def _conclude(self, end: StepEnd, exits: bool, read: StepEnd | None = None) -> None:
        """Tell the end; `read`: how the reading of large outputs ended."""
        self._activity = None
        if read is not None and not read.completed:
            end = msgspec.structs.replace(end, state=read.state, cause=read.cause, failure=read.failure)
        at = min(self._position, len(self._recipe.steps) - 1)
        self._totals.add(end)
        outcome = outcome_of(at, self._recipe.steps[at].name, end)
        left = self._left_out() if exits else ()
        ended = ended_of(self.assignment, self._started, outcome, end, self._totals, left)
        if at < self._position:  # it went on behind its last step
            ended = msgspec.structs.replace(ended, steps=())
        self._end(msgspec.structs.replace(ended, partial=self._partial))

    def _left_out(self) -> tuple[StepOutcome, ...]:
        """The steps behind this one, which an action leaves out."""
        behind = range(self._position + 1, len(self._recipe.steps))
        return tuple(StepOutcome(at, self._recipe.steps[at].name, State.WAITING) for at in behind)

    def _end(self, record: Ended) -> None:
        record = self._left.complete(record)
        if not self._recipe.keeps_folder and not self.assignment.own:
            self._tools.folders.clear(self.assignment.folder, self._quiet)
        forget_inputs(self.assignment)
        if self._recipe.leave_running:
            record = self._spare(record)
        if self._code is not None:
            record = msgspec.structs.replace(record, code=self._code)
        if self._fingerprint is not None:
            record = self._fingerprint.complete(record)
        self._tools.teller.add(record)
        self.over = True

    def _spare(self, record: Ended) -> Ended:
        """Leave what its steps left running, where it has completed; kill all of it otherwise."""
        own, completed = self._tools.hosts.own(), record.state == State.COMPLETED
        left, killed = left_running(own, killed=not completed), Totals(left=record.left_running)
        self.leaves = completed and left is not None
        if self.leaves:
            return msgspec.structs.replace(record, left_running=left)
        end_leftovers(own)
        if left is not None and self._stopped is None:
            killed.leave(left)
        return msgspec.structs.replace(record, left_running=killed.left)

    def _preparations(self) -> list[Callable[[], Activity]]:
        """What takes long and comes before the first step: a copy of a folder, large inputs. Small ones are taken."""
        assignment, tools, fingerprint = self.assignment, self._tools, self._fingerprint
        found: list[Callable[[], Activity]] = []
        if assignment.copy_from:
            found.append(lambda: FolderCopy(assignment, self._position, tools.surroundings, tools.capture))
        if fingerprint is not None and fingerprint.many_inputs:
            found.append(lambda: Reading(fingerprint.take_inputs))
        elif fingerprint is not None:
            fingerprint.take_inputs()
        return found

    def _prepare(self) -> StepEnd | None:
        """Begin the next preparation, or the first step."""
        if not self._before:
            return self._start_step()
        if not self._told:
            self._tell_start()
            self._tools.teller.flush()
        try:
            self._activity = self._before[0]()
        except (RekindleError, OSError) as error:
            message = f"cannot copy the folder {self.assignment.copy_from}: {error}"
            return self._prepared(failed(date(), Cause.START, message))
        return None

    def _prepared(self, end: StepEnd) -> StepEnd | None:
        """A preparation has ended, and the next one or the first step begins; or it has failed, and the attempt ends
        before any step of it."""
        self._activity = None
        if end.completed:
            self._before.popleft()
            return self._prepare()
        if self._stopped is not None:
            end = self._stopped.told(end)
        self._end(ended_before_steps(self.assignment, self._started, end))
        return None

    def _show(self, position: int, complete: Sequence[tuple[str, str | None]]) -> None:
        """Let the steps behind a fan-out see what is complete of it: as its result, and among REKINDLE_INPUTS."""
        name, shown = self._recipe.steps[position].name, document(complete)
        self._frame.keep_result(name, shown)
        inputs = from_json(self.assignment.inputs or "{}")
        inputs[name] = {**inputs.get(name, {}), **shown}
        self.assignment = msgspec.structs.replace(self.assignment, inputs=to_json(inputs).decode())
        self._tools.teller.storage.insist(lambda: tell_inputs(self._frame, self.assignment))

    def _start_step(self) -> StepEnd | None:
        """Tell that the step at hand begins, and begin it; its end where it does not start.

        It is told first: should this process die in between, nobody believes that the step has not run."""
        assignment, now = self.assignment, date()
        if not self._told:
            self._tell_start()
        else:
            self._tools.teller.add(StepStarted(assignment.attempt, assignment.token, self._position, now))
        self._tools.teller.flush()
        try:
            self._left.bring_back()
        except StartError as error:
            return failed(now, Cause.START, str(error))
        if self._position == len(self._recipe.steps):  # behind a fan-out of which a part was accepted
            self._finish(StepEnd(State.COMPLETED, now, date()), exits=False)
            return None
        try:
            self._watch()
            self._activity = self._activity_of_step()
        except RekindleError as error:
            return failed(now, Cause.START, str(error))
        return None

    def _watch(self) -> None:
        """Before a step begins: what is to be compared when it ends, or holds too much."""
        tools, now = self._tools, time.monotonic()
        self._kills = tools.kills.count(now)
        if self._frame.memory:
            self._held = {pid: held_at_most(pid) for pid in tools.hosts.own()}
            self._gauge = Gauge(lambda: children_of(os.getpid()), now)

    def _tell_start(self) -> None:
        self._tools.teller.add(begun(self.assignment))
        self._told = True

    def _activity_of_step(self) -> Activity:
        tools, step = self._tools, self._recipe.steps[self._position]
        if step.each is not None:
            results = {name: values["result"] for name, values in self._frame.scope["steps"].items()}
            assignment = msgspec.structs.replace(self.assignment, kept=results)
            earlier = self._fan_outs.get(self._position) if self._position == self.assignment.start_step else None
            held = self._fingerprint.items(step.name) if self._fingerprint is not None else {}
            return FanOutStep(Site(tools, self._recipe, assignment, self._position, self._frame), earlier, held)
        if step.call is None:
            return Command(step, self._position, self._frame, self.assignment, tools.capture, tools.hosts.own)
        results = {name: values["result"] for name, values in self._frame.scope["steps"].items()}
        params = self._frame.scope["params"]
        unset = tuple(name for name in self._recipe.params if name not in params)
        assignment = msgspec.structs.replace(self.assignment, kept=results, params=params, unset=unset)
        return CallStep(tools.hosts, self._recipe, assignment, self._position)
