"""Make one attempt again in a scratch folder. The store is only read."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.errors import Refused
from rekindle.domain.states import Cause, State
from rekindle.engine.reproduction.aside import only_subtask, run_aside
from rekindle.engine.reproduction.compare import ComparedRun, compare_ends, compare_subtasks
from rekindle.engine.reproduction.drift import Drift, compare_with_today
from rekindle.engine.reproduction.recorded import RecordedAttempt, read_attempt
from rekindle.engine.reproduction.scratch import Scratch, lay_out, make_folder
from rekindle.engine.reproduction.stepping import find_subtask, items_here, run_steps_before

if TYPE_CHECKING:
    from rekindle.domain.subtasks import Subtask, SubtaskEnd
    from rekindle.engine.session import Session
    from rekindle.engine.staleness.contents import ReadProgress
    from rekindle.journal.records import Ended


class PreparedReproduction(msgspec.Struct, frozen=True):
    """An attempt, and what differs today from what it ran with. `notes`: what this reproduction does otherwise."""

    one: RecordedAttempt
    drift: Drift
    notes: tuple[str, ...]


class Reproduction(msgspec.Struct, frozen=True):
    """An attempt that was made again. `subtask`: of a reproduction of one item, how that was recorded and how it ended
    now."""

    prepared: PreparedReproduction
    scratch: Scratch
    ended: Ended
    compared: ComparedRun
    subtask: tuple[Subtask, SubtaskEnd] | None = None

    @property
    def exit_code(self) -> int:
        """0 completed, 5 canceled, 2 failed."""
        end = self.ended if self.subtask is None else self.subtask[1]
        return 0 if end.state is State.COMPLETED else 5 if end.cause is Cause.CANCELED else 2


def never() -> bool:
    """Return False: nothing stops a run but Ctrl-C."""
    return False


def prepare(session: Session, attempt: int, progress: ReadProgress | None = None) -> PreparedReproduction:
    """Read an attempt and compare what it ran with with today. Raise NotFound if there is none, Refused if it has not
    ended or was pruned."""
    one = read_attempt(session, attempt)
    return PreparedReproduction(one, compare_with_today(session, one, os.environ, progress), tuple(_notes(one)))


def check_may_run(prepared: PreparedReproduction) -> None:
    """Refused if the job must not run twice: what it does outside of its folder would be done again."""
    if prepared.one.body.rerun_forbidden:
        raise Refused(
            f"{prepared.one.job.name} must not run twice: {prepared.one.body.rerun_forbidden}",
            hint="--print shows its command line, and runs nothing",
        )


def lay_out_folder(prepared: PreparedReproduction, into: str | None) -> Scratch:
    """Lay out a scratch folder for an attempt: a new one, or the empty folder `into`."""
    folder = make_folder(prepared.one.attempt.id, into)
    return lay_out(prepared.one, prepared.drift, folder, os.environ)


def reproduce(
    prepared: PreparedReproduction,
    scratch: Scratch,
    *,
    step: int = 0,
    subtask: int | None = None,
    stop: Callable[[], bool] = never,
) -> Reproduction:
    """Run an attempt in its scratch folder: all its steps, or up to one item of the fan-out at `step`."""
    check_may_run(prepared)
    one = prepared.one
    if subtask is None:
        run = run_aside(scratch, scratch.task, scratch.assignment, stop)
        return Reproduction(prepared, scratch, run.ended, compare_ends(one, scratch, run.ended))
    was = find_subtask(one, step, subtask)
    assignment = run_steps_before(one, scratch, step, stop)
    task, orders = only_subtask(scratch.task, assignment, step, items_here(one, scratch, step), subtask)
    run = run_aside(scratch, task, orders, stop)
    now = run.subtasks.get(subtask)
    if now is None:
        failure = run.ended.failure
        raise Refused(
            f"subtask {subtask} did not start: {failure.message if failure else run.ended.cause}",
            hint=f"its folder is {scratch.folder}",
        )
    return Reproduction(prepared, scratch, run.ended, compare_subtasks(was, now), (was, now))


def _notes(one: RecordedAttempt) -> list[str]:
    """Return what is done otherwise than in the attempt itself."""
    found = []
    if one.attempt.completed_by is not None:
        found.append("it was completed by hand: nothing ran, and here its steps run")
    if one.attempt.start_step:
        names = ", ".join(step.name for step in one.body.steps[: one.attempt.start_step])
        found.append(f"it began behind {names}, kept from attempt {one.attempt.builds_on}: here all steps run")
    if one.task.workdir == "attempt" and one.attempt.builds_on is not None:
        found.append(f"its folder began with that of attempt {one.attempt.builds_on}: here it begins empty")
    if one.task.inputs and not one.prints.inputs:
        found.append("its inputs were not recorded: they are taken as they are today")
    return found
