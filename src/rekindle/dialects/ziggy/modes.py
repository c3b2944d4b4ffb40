"""What each restart mode means for a task, in the words of the engine, or why the task's state does not allow it."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import replace

from rekindle.dialects.ziggy.tasks import Step, Task
from rekindle.domain.causes import Cause
from rekindle.domain.errors import BadValue
from rekindle.domain.overrides import Overrides
from rekindle.domain.rerunning.rerun import FROM_FAILED_STEP, How
from rekindle.domain.states import ACTIVE, State


class Mode(enum.StrEnum):
    """The restart modes, in the order in which they are offered: what keeps most comes first."""

    RESUME_MONITORING = "Resume monitoring"
    RESUBMIT = "Resubmit"
    RESUME_CURRENT_STEP = "Resume current step"
    RESTART_FROM_BEGINNING = "Restart from beginning"

    @property
    def typed(self) -> str:
        """As a command line has it."""
        return self.name.lower().replace("_", "-")


def parse_mode(word: str) -> Mode:
    """The mode that is meant: in any case, with dashes or underscores, or a beginning that only one of them has."""
    key = word.strip().upper().replace("-", "_").replace(" ", "_")
    found = [mode for mode in Mode if mode.name == key] or [mode for mode in Mode if key and mode.name.startswith(key)]
    if len(found) == 1:
        return found[0]
    several = f"the restart mode {word!r} could be {' or '.join(mode.typed for mode in found)}"
    raise BadValue(
        several if found else f"unknown restart mode {word!r}",
        hint="modes are " + ", ".join(mode.typed for mode in Mode),
    )


def meaning(task: Task, mode: Mode, overrides: Overrides | None = None) -> How | str:
    """How a task runs again under a mode that is not RESUME_MONITORING, or in words why it is not offered.

    A restart takes the parameter values of before, with those of `overrides` over them."""
    if task.state in ACTIVE:
        return f"it is {task.step}: only {Mode.RESUME_MONITORING.name} is for what runs; halt it first"
    if not task.restartable:
        return _not_restartable(task)
    found = _MEANINGS[mode](task)
    if isinstance(found, str):
        return found
    if not found.again:
        return replace(found, keep_modified=True, overrides=overrides)
    only = f"it was halted before it went on: only {Mode.RESTART_FROM_BEGINNING.typed} changes anything of it"
    return found if overrides is None else only


def default_mode(task: Task) -> Mode:
    """The mode that is taken where none is named: the one that keeps most of what succeeded and gives nothing up."""
    if task.state in ACTIVE:
        return Mode.RESUME_MONITORING
    if not task.started:
        return Mode.RESUME_CURRENT_STEP if task.goes_on else Mode.RESTART_FROM_BEGINNING
    return Mode.RESUME_CURRENT_STEP if task.step in (Step.MARSHALING, Step.STORING) else Mode.RESUBMIT


def _not_restartable(task: Task) -> str:
    if task.state is State.COMPLETED:
        return "it is complete, and so is every subtask: there is nothing to restart"
    return f"it is {task.step}: it has not failed"


def _from_beginning(_: Task) -> How:
    return How(recovery="clear")


def _resubmit(task: Task) -> How | str:
    """Right behind marshaling: the subtasks that have not succeeded run, the others are left alone."""
    if task.goes_on:
        return How(again=True)
    if not task.started:
        return "it has never started: nothing is marshaled"
    if task.step is Step.MARSHALING:
        return f"it stopped while {task.step}, and {Mode.RESUBMIT.name} begins behind that"
    if not task.fans_out or not task.counts.total:
        return How(FROM_FAILED_STEP)
    if task.incomplete is None:
        return "every subtask is complete: there is none to run again"
    return How(task.incomplete, subtasks="failed")


def _resume(task: Task) -> How | str:
    """At the step where it stopped; where the algorithm has ended and some subtasks failed, behind it."""
    if task.state is State.COMPLETED:
        return "it is complete: it stopped at no step"
    if task.goes_on:
        return How(again=True)
    if task.cause is Cause.SUBTASKS and task.state is State.FAILED:
        return How(accept_partial=True)
    return How(FROM_FAILED_STEP)


def _monitor(_: Task) -> str:
    return "it does not run: there is nothing to monitor"


_MEANINGS: Mapping[Mode, Callable[[Task], How | str]] = {
    Mode.RESTART_FROM_BEGINNING: _from_beginning,
    Mode.RESUBMIT: _resubmit,
    Mode.RESUME_CURRENT_STEP: _resume,
    Mode.RESUME_MONITORING: _monitor,
}
