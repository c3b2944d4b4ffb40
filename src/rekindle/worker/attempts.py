"""One attempt, step by step, as its worker runs it: commands, and calls that are one step among several."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from rekindle.domain.causes import Cause
from rekindle.domain.errors import RekindleError
from rekindle.domain.models import StepOutcome
from rekindle.domain.states import State
from rekindle.journal.orders import Assignment, Recipe
from rekindle.journal.records import Ended, Started, StepEnded, StepStarted
from rekindle.worker.activity import Activity
from rekindle.worker.batches import over_limit
from rekindle.worker.calls import CallStep
from rekindle.worker.commands import Command
from rekindle.worker.copying import FolderCopy
from rekindle.worker.fan_outs import FanOutStep, document
from rekindle.worker.findings import StepEnd, Totals, ended_before_steps, ended_of, failed, outcome_of
from rekindle.worker.frame import Frame, forget_inputs, tell_inputs
from rekindle.worker.preparing import prepare, with_outputs
from rekindle.worker.staging import take_effect
from rekindle.worker.subtasks import Site, lean
from rekindle.worker.tools import Tools


def begin(tools: Tools, recipe: Recipe, assignment: Assignment) -> Attempt | None:
    """Begin an attempt; None: it has ended already, and that is told."""
    frame = prepare(recipe, assignment, tools.surroundings, tools.folders)
    if isinstance(frame, Ended):
        tools.teller.add(frame)
        return None
    attempt = Attempt(tools, recipe, assignment, frame)
    return None if attempt.over else attempt


class Attempt:
    """An attempt under way. `over` tells that it has ended and that this is told."""

    def __init__(self, tools: Tools, recipe: Recipe, assignment: Assignment, frame: Frame) -> None:
        self._tools, self._recipe, self._frame = tools, recipe, frame
        self.assignment = lean(assignment)
        self._fan_outs = {one.step: one for one in assignment.fan_outs}
        self._partial = False
        self._position = assignment.start_step
        self._totals = Totals()
        self._started = time.time()
        self._limit = None if frame.time is None else time.monotonic() + frame.time
        self._stopped: tuple[Cause, str] | None = None
        self._quiet = True
        self._activity: Activity | None = None
        self._copying = bool(assignment.copy_from)
        self.over = False
        for step, kept in self._fan_outs.items():
            if step < self._position:
                self._show(step, [(one.item, one.result) for one in kept.known if one.complete])
        self._go_on(self._start_copy() if self._copying else self._start_step())

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
        if self._stopped is not None or self._limit is None:
            return due
        return self._limit if due is None else min(due, self._limit)

    def turn(self, now: float) -> None:
        """See what has happened, and go on with the next step."""
        if self._activity is None:
            return
        if self._limit is not None and now >= self._limit and self._frame.time is not None:
            self.stop(Cause.TIMEOUT, over_limit(self._frame.time), now)
        self._go_on(self._activity.turn(now))

    def stop(self, cause: Cause, message: str, now: float) -> None:
        """Make it end; canceled once more, without a grace."""
        if self._activity is None:
            return
        if self._stopped is None:
            self._stopped = cause, message
            self._activity.stop(cause, message, now)
        elif cause is Cause.CANCELED:
            self._activity.hurry(now)

    def _go_on(self, end: StepEnd | None) -> None:
        """A step has ended (None: it has not): the next one, or the end."""
        if self._copying and end is not None:
            end = self._copied(end)
        while end is not None:
            activity, self._activity = self._activity, None
            if activity is not None:
                self._quiet = self._quiet and activity.quiet
            step = self._recipe.steps[self._position]
            end, exits = take_effect(end, self._frame)
            last = exits or self._position == len(self._recipe.steps) - 1
            self._partial = self._partial or (isinstance(activity, FanOutStep) and activity.partial)
            if last and end.completed:
                end = with_outputs(end, self._frame)
            self._totals.add(end)
            outcome = outcome_of(self._position, step.name, end)
            if last or not end.completed:
                left = self._left_out() if exits else ()
                ended = ended_of(self.assignment, self._started, outcome, end, self._totals, left)
                self._end(msgspec.structs.replace(ended, partial=self._partial))
                return
            self._tools.teller.add(StepEnded(self.assignment.attempt, self.assignment.token, outcome))
            if isinstance(activity, FanOutStep):
                self._show(self._position, activity.complete())
            else:
                self._frame.keep_result(step.name, None if end.result is None else msgspec.json.decode(end.result))
            self._position += 1
            end = self._start_step()

    def _left_out(self) -> tuple[StepOutcome, ...]:
        """The steps behind this one, which an action leaves out."""
        behind = range(self._position + 1, len(self._recipe.steps))
        return tuple(StepOutcome(at, self._recipe.steps[at].name, State.WAITING) for at in behind)

    def _end(self, record: Ended) -> None:
        if not self._recipe.keeps_folder and not self.assignment.own:
            self._tools.folders.clear(self.assignment.folder, self._quiet)
        forget_inputs(self.assignment)
        self._tools.teller.add(record)
        self.over = True

    def _start_copy(self) -> StepEnd | None:
        """Tell that the attempt begins, and begin to copy the folder that it goes on in."""
        tools, now = self._tools, time.time()
        tools.teller.add(Started(self.assignment.attempt, self.assignment.token, now))
        tools.teller.flush()
        try:
            self._activity = FolderCopy(self.assignment, self._position, tools.surroundings, tools.capture)
        except (RekindleError, OSError) as error:
            return failed(now, Cause.START, f"cannot copy the folder {self.assignment.copy_from}: {error}")
        return None

    def _copied(self, end: StepEnd) -> StepEnd | None:
        """The copy is made, and the first step begins; or it is not, and the attempt ends before any step of it."""
        self._copying, self._activity = False, None
        if end.completed:
            return self._start_step()
        self._end(ended_before_steps(self.assignment, self._started, end))
        return None

    def _show(self, position: int, complete: Sequence[tuple[str, str | None]]) -> None:
        """Let the steps behind a fan-out see what is complete of it: as its result, and among REKINDLE_INPUTS."""
        name, shown = self._recipe.steps[position].name, document(complete)
        self._frame.keep_result(name, shown)
        inputs = msgspec.json.decode(self.assignment.inputs or "{}")
        inputs[name] = {**inputs.get(name, {}), **shown}
        self.assignment = msgspec.structs.replace(self.assignment, inputs=msgspec.json.encode(inputs).decode())
        tell_inputs(self._frame, self.assignment)

    def _start_step(self) -> StepEnd | None:
        """Tell that the step at hand begins, and begin it; its end where it does not start.

        It is told first: should this process die in between, nobody believes that the step has not run."""
        assignment, now = self.assignment, time.time()
        if self._position == assignment.start_step and not assignment.copy_from:
            self._tools.teller.add(Started(assignment.attempt, assignment.token, now))
        else:
            self._tools.teller.add(StepStarted(assignment.attempt, assignment.token, self._position, now))
        self._tools.teller.flush()
        if self._position == len(self._recipe.steps):
            self._end_at_once(now)
            return None
        try:
            self._activity = self._activity_of_step()
        except RekindleError as error:
            return failed(now, Cause.START, str(error))
        return None

    def _end_at_once(self, now: float) -> None:
        """It goes on behind its last step, a fan-out of which a part was accepted: what is left are the outputs."""
        end = with_outputs(StepEnd(State.COMPLETED, now, time.time()), self._frame)
        last = len(self._recipe.steps) - 1
        outcome = outcome_of(last, self._recipe.steps[last].name, end)
        ended = ended_of(self.assignment, self._started, outcome, end, self._totals)
        self._end(msgspec.structs.replace(ended, steps=()))

    def _activity_of_step(self) -> Activity:
        tools, step = self._tools, self._recipe.steps[self._position]
        if step.each is not None:
            results = {name: values["result"] for name, values in self._frame.scope["steps"].items()}
            assignment = msgspec.structs.replace(self.assignment, kept=results)
            earlier = self._fan_outs.get(self._position) if self._position == self.assignment.start_step else None
            return FanOutStep(Site(tools, self._recipe, assignment, self._position, self._frame), earlier)
        if step.call is None:
            return Command(step, self._position, self._frame, self.assignment, tools.capture, tools.hosts.own)
        results = {name: values["result"] for name, values in self._frame.scope["steps"].items()}
        params = self._frame.scope["params"]
        unset = tuple(name for name in self._recipe.params if name not in params)
        assignment = msgspec.structs.replace(self.assignment, kept=results, params=params, unset=unset)
        return CallStep(tools.hosts, self._recipe, assignment, self._position)
