"""The restart modes: the rerun options of each mode for a task, or the reason why the mode is not offered."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

from rekindle.dialects.ziggy.tasks import ProcessingStep, Task
from rekindle.domain.errors import BadValue
from rekindle.domain.rerun.request import FROM_FAILED_STEP, How, RequestMode
from rekindle.domain.states import ACTIVE, Cause, State
from rekindle.engine.rerun import rerun as engine
from rekindle.engine.running import reconcile

if TYPE_CHECKING:
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
    if found.mode is not RequestMode.REPEAT:
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
        return How(mode=RequestMode.REPEAT)
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
        return How(mode=RequestMode.REPEAT)
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
    refusals = engine.possible(session, task.id, hows)
    return {mode: refusals.get(mode.name, why) for mode, why in found.items()}
