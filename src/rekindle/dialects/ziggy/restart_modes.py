"""The restart modes: the rerun options of each mode for a task, or the reason why the mode is not offered."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from rekindle.dialects.ziggy.tasks import ProcessingStep, Task, read_tasks
from rekindle.domain.errors import BadValue
from rekindle.domain.rerun.request import FROM_FAILED_STEP, How, InternalHow, RequestMode, mode_of
from rekindle.domain.states import ACTIVE, Cause, State
from rekindle.engine.rerun import rerun as engine
from rekindle.engine.running import reconcile
from rekindle.presentation import rerun_modes

if TYPE_CHECKING:
    from rekindle.domain.models import Workflow
    from rekindle.domain.overrides import Overrides
    from rekindle.engine.session import Session


class Mode(enum.StrEnum):
    """The restart modes, in the order in which they are offered: the mode that keeps most comes first."""

    RESUME_MONITORING = "Resume monitoring"
    RESUBMIT = "Resubmit"
    RESUME_CURRENT_STEP = "Resume current step"
    RESTART_FROM_BEGINNING = "Restart from beginning"

    @property
    def typed(self) -> str:
        """The mode as written on a command line."""
        return self.name.lower().replace("_", "-")


def parse_mode(word: str) -> Mode:
    """Return the mode of a word: any case, dashes or underscores, or a unique prefix."""
    key = word.strip().upper().replace("-", "_").replace(" ", "_")
    found = [mode for mode in Mode if mode.name == key] or [mode for mode in Mode if key and mode.name.startswith(key)]
    if len(found) == 1:
        return found[0]
    several = f"the restart mode {word!r} could be {' or '.join(mode.typed for mode in found)}"
    raise BadValue(
        several if found else f"unknown restart mode {word!r}",
        hint="modes are " + ", ".join(mode.typed for mode in Mode),
    )


def options_for_mode(task: Task, mode: Mode, overrides: Overrides | None = None) -> How | str:
    """Return the rerun options of a mode other than RESUME_MONITORING, or the reason why it is not offered.

    A restart keeps the earlier parameter values, with `overrides` on top.
    """
    if task.state in ACTIVE:
        return f"it is {task.step}: only {Mode.RESUME_MONITORING.name} applies to running tasks; halt it first"
    if not task.restartable:
        return _not_restartable(task)
    found = _OPTIONS_BY_MODE[mode](task)
    if isinstance(found, str):
        return found
    if mode_of(found) is not RequestMode.REPEAT:
        return replace(found, keep_modified=True, overrides=overrides)
    only = f"it was halted before it resumed: only {Mode.RESTART_FROM_BEGINNING.typed} accepts changes"
    return found if overrides is None else only


def default_mode(task: Task) -> Mode:
    """Return the mode that keeps the most results and gives up no subtask."""
    if task.state in ACTIVE:
        return Mode.RESUME_MONITORING
    if not task.started:
        return Mode.RESUME_CURRENT_STEP if task.resumes else Mode.RESTART_FROM_BEGINNING
    return (
        Mode.RESUME_CURRENT_STEP if task.step in (ProcessingStep.MARSHALING, ProcessingStep.STORING) else Mode.RESUBMIT
    )


def _not_restartable(task: Task) -> str:
    if task.state is State.COMPLETED:
        return "it is complete, and so is every subtask"
    return f"it is {task.step}: it has not failed"


def _restart_from_beginning(_: Task) -> How:
    return How(recovery="clear")


def _resubmit(task: Task) -> How | str:
    """Start behind marshaling: run the subtasks that have not succeeded, and keep the others."""
    if task.resumes:
        return InternalHow(mode=RequestMode.REPEAT)
    if not task.started:
        return "it has never started: nothing is marshaled"
    if task.step is ProcessingStep.MARSHALING:
        return f"it stopped while {task.step}, and {Mode.RESUBMIT.name} starts after that step"
    if not task.fans_out or not task.counts.total:
        return How(FROM_FAILED_STEP)
    if task.incomplete is None:
        return "every subtask is complete: no subtask has to run again"
    return How(task.incomplete, subtasks="failed")


def _resume_current_step(task: Task) -> How | str:
    """Start at the step where the task stopped, or behind the algorithm if it ended with failed subtasks."""
    if task.state is State.COMPLETED:
        return "it is complete"
    if task.resumes:
        return InternalHow(mode=RequestMode.REPEAT)
    if task.cause is Cause.SUBTASKS and task.state is State.FAILED:
        return How(accept_partial=True)
    return How(FROM_FAILED_STEP)


def _resume_monitoring(_: Task) -> str:
    return "it does not run"


_OPTIONS_BY_MODE: Mapping[Mode, Callable[[Task], How | str]] = {
    Mode.RESTART_FROM_BEGINNING: _restart_from_beginning,
    Mode.RESUBMIT: _resubmit,
    Mode.RESUME_CURRENT_STEP: _resume_current_step,
    Mode.RESUME_MONITORING: _resume_monitoring,
}


def refusals_by_mode(session: Session, task: Task, overrides: Overrides | None = None) -> dict[Mode, str | None]:
    """Return for each mode the reason why it is not offered for the task, or None if it is offered."""
    hows: dict[str, How] = {}
    found: dict[Mode, str | None] = {}
    for mode in Mode:
        if mode is Mode.RESUME_MONITORING and task.state in ACTIVE:
            (one,) = reconcile.plan_reattach(session, [task.id]).jobs
            found[mode] = (one.why or one.found) if one.found in ("none", "attended") else None
            continue
        how = options_for_mode(task, mode, overrides)
        found[mode] = how if isinstance(how, str) else None
        if isinstance(how, How):
            hows[mode.name] = how
    refused = engine.refused_by_name(session, {name: {task.id: how} for name, how in hows.items()})
    return {mode: refused.get(mode.name, {}).get(task.id, why) for mode, why in found.items()}


# --- the modes in the console


_ABOUT = {
    Mode.RESUME_MONITORING: "Reconnect to what still runs; run nothing again",
    Mode.RESUBMIT: "Start behind marshaling: only the failed subtasks run",
    Mode.RESUME_CURRENT_STEP: "Store what succeeded, and give up the failed subtasks",
    Mode.RESTART_FROM_BEGINNING: "Redo marshaling and run all subtasks again",
}


def _is_instance(workflow: Workflow) -> bool:
    """Return whether a workflow is an instance of a pipeline: `ziggy console start` names it `pipeline: NAME`."""
    return ": " in workflow.name


def _offered(_: Session, __: Sequence[int]) -> list[rerun_modes.Mode]:
    keep = rerun_modes.Mode(rerun_modes.KEEP, "Keep most", "For each task the mode that gives up no subtask")
    return [keep, *(rerun_modes.Mode(mode.typed, mode.value, _ABOUT[mode]) for mode in Mode)]


def _choose(session: Session, modes: Mapping[int, str], overrides: Overrides | None) -> dict[int, rerun_modes.Choice]:
    found: dict[int, rerun_modes.Choice] = {}
    for task in read_tasks(session, list(modes)):
        word = modes[task.id]
        mode = default_mode(task) if word == rerun_modes.KEEP else parse_mode(word)
        if mode is Mode.RESUME_MONITORING:
            found[task.id] = rerun_modes.REATTACH
            continue
        how = options_for_mode(task, mode, overrides)
        found[task.id] = rerun_modes.Impossible(how) if isinstance(how, str) else how
    return found


MODES = rerun_modes.ModeSet(_is_instance, _offered, _choose)
"""The restart modes, for the rerun dialog of the console."""
