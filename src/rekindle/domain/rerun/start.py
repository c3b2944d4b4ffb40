"""Start points: the step at which a job starts when it runs again, and the subtasks that it runs there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from rekindle.domain.rerun.plan import Reason, ReasonKind
from rekindle.domain.rerun.request import FROM_BEGINNING, FROM_FAILED_STEP, KEEP_MOST, How
from rekindle.domain.states import ACTIVE, State
from rekindle.domain.subtasks import KnownSubtask, SubtaskChoice, SubtaskDivision, divide_subtasks, format_ranges
from rekindle.domain.texts.display import show_json_bytes

if TYPE_CHECKING:
    from rekindle.domain.rerun.views import AttemptView, FanOutView, JobView, StepView


class StartPoint(msgspec.Struct, frozen=True):
    """Where an attempt starts: the position of a step, its name (or "beginning"), and the names of the kept steps."""

    position: int = 0
    label: str = FROM_BEGINNING
    keeps: tuple[str, ...] = ()
    warning: str = ""
    subtasks: SubtaskChoice | None = None  # the subtasks to run of the resumed fan-out
    reason: Reason | None = None  # a further reason, beside the selection of the job

    @property
    def resumes(self) -> bool:
        """Whether anything of the live attempt is kept."""
        return self.position > 0 or self.subtasks is not None


BEGINNING = StartPoint()


def find_step_start(view: JobView, asked: str) -> StartPoint | str:
    """Return the start point for `asked` ("beginning", "failed-step" or the name of a step), or why there is none.

    Steps are kept only if the latest definition has the same step names before that point."""
    if asked == FROM_BEGINNING:
        return BEGINNING
    if asked == FROM_FAILED_STEP:
        return _failed_step(view)
    return _named_step(view, asked)


def completed_steps(attempt: AttemptView | None) -> list[StepView]:
    """Return the leading steps that need not run again: completed in this attempt, or kept from an earlier one."""
    done: list[StepView] = []
    for step in sorted(attempt.steps if attempt else (), key=lambda step: step.position):
        complete = step.state is State.COMPLETED or step.kept_from is not None
        if step.position != len(done) or not complete:
            break
        done.append(step)
    return done


def _failed_step(view: JobView) -> StartPoint | str:
    attempt = view.attempt
    if attempt is None:  # canceled before it started: no step is complete
        return BEGINNING
    if attempt.state is State.COMPLETED:
        return "every step of it completed: there is no failed step to start at; leave out --from to run it all again"
    done = completed_steps(attempt)
    if not done:
        return BEGINNING
    if len(done) < len(view.steps) or _kept_names(done) != view.steps:
        return _at(view, len(done), done)
    stopped = next((step.name for step in attempt.steps if step.position == len(done)), None)
    if stopped is not None:
        return (
            f"it stopped at step `{stopped}`, which its definition does not have any more; start it from the beginning"
        )
    return _last_step(view, attempt, done)


def _last_step(view: JobView, attempt: AttemptView, done: list[StepView]) -> StartPoint | str:
    """Return the last step as start point. All steps completed, but the attempt did not (an output is missing, or the
    runner was lost at the end). Running no step would end the same way, so the last step is repeated."""
    last = len(done) - 1
    cause = f" ({attempt.cause})" if attempt.cause else ""
    warning = (
        f"every step of `{view.name}` completed and the attempt {attempt.state.label}{cause}: "
        f"its last step, `{view.steps[last]}`, runs again"
    )
    start = _at(view, last, done)
    return start if isinstance(start, str) else StartPoint(start.position, start.label, start.keeps, warning)


def _named_step(view: JobView, name: str) -> StartPoint | str:
    if name not in view.steps:
        return f"it has no step `{name}`; its steps are {_quote_names(view.steps)}"
    position = view.steps.index(name)
    done = completed_steps(view.attempt)
    if len(done) < position:
        missing = view.steps[len(done)]
        return f"it cannot start at `{name}`: step `{missing}`, which comes before, has not completed"
    return _at(view, position, done)


def _at(view: JobView, position: int, done: list[StepView]) -> StartPoint | str:
    if position == 0:
        return BEGINNING
    kept, now = _kept_names(done[:position]), view.steps[:position]
    if kept != now:
        return f"its first steps were {_quote_names(kept)} and are {_quote_names(now)} now; start it from the beginning"
    return StartPoint(position, view.steps[position], now)


def _kept_names(done: list[StepView]) -> tuple[str, ...]:
    return tuple(step.name for step in done)


def _quote_names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"


AFTER_LAST_STEP = "end"
"""The label of a start point behind the last step."""


_OUTSIDE_CAUSES = ("lost", "canceled", "timeout")
"""Causes that end an attempt whatever its steps did."""


_NAMED = 3


def find_start_point(view: JobView, how: How) -> StartPoint | str:
    """Return the start point that the options mean for a job, or why there is none."""
    if how.start == KEEP_MOST:
        return _keep_most(view, how)
    if how.accept_partial:
        return _accept_partial(view, how)
    start = _incomplete_fan_out(view, how) or find_step_start(view, how.start)
    if isinstance(start, str):
        return start
    fan_out = None if how.start == FROM_BEGINNING else _fan_out_at(view, start.position)
    if fan_out is not None:
        return _resume_fan_out(view, how, start, fan_out)
    if how.subtasks is not None:
        return _explain_no_fan_out(view, how, start)
    return start


def _keep_most(view: JobView, how: How) -> StartPoint | str:
    """Return the failed step, or the beginning if nothing can be kept. `--subtasks failed` and `all` apply where a
    fan-out is resumed; numbers of subtasks must exist."""
    failed = replace(how, start=FROM_FAILED_STEP)
    start = find_start_point(view, failed)
    if isinstance(start, StartPoint) or how.accept_partial or isinstance(how.subtasks, tuple):
        return start
    start = find_start_point(view, replace(failed, subtasks=None))
    return BEGINNING if isinstance(start, str) else start


def _fan_out_at(view: JobView, position: int) -> FanOutView | None:
    """Return the fan-out at a position if the live attempt knows its items."""
    found = (one for one in view.fan_outs if one.step == position and one.known and view.attempt is not None)
    return next(found, None)


def _incomplete_fan_out(view: JobView, how: How) -> StartPoint | str | None:
    """Return the incomplete fan-out of an attempt that completed partially, as its failed step."""
    completed = view.attempt is not None and view.attempt.state is State.COMPLETED
    fan_outs = [one for one in view.fan_outs if one.known]
    if how.start != FROM_FAILED_STEP or not completed or not fan_outs:
        return None
    for one in fan_outs:
        if not all(known.complete for known in one.known):
            return find_step_start(view, view.steps[one.step])
    return "every subtask is complete, and so is every step: leave out --from to run it all again"


def _explain_no_fan_out(view: JobView, how: How, start: StartPoint) -> str:
    if how.start == FROM_BEGINNING:
        return "it starts at the beginning, and --subtasks is for resuming a fan-out: add --from failed-step"
    name = view.steps[start.position]
    if any(one.step == start.position for one in view.fan_outs):
        return f"step `{name}` never found its items, so there are no subtasks to choose from; leave out --subtasks"
    return f"it starts at `{name}`, which is no fan-out: leave out --subtasks"


def _resume_fan_out(view: JobView, how: How, start: StartPoint, fan_out: FanOutView) -> StartPoint | str:
    name = view.steps[fan_out.step]
    choice: SubtaskChoice = "failed" if how.subtasks is None else how.subtasks
    if isinstance(choice, tuple):
        missing = set(choice) - {one.index for one in fan_out.known}
        if missing:
            there = format_ranges(one.index for one in fan_out.known)
            return f"step `{name}` has no subtask {format_ranges(missing)}: it has {there}"
    items = [one.item for one in fan_out.known] if fan_out.now is None else fan_out.now
    division = divide_subtasks(items, fan_out.known, choice)
    notes = [start.warning] if start.warning and choice == "all" else []
    if not division.run and choice == "failed":
        if how.subtasks is None and how.start != FROM_FAILED_STEP:
            choice, division = "all", divide_subtasks(items, fan_out.known, "all")
            notes.append(f"every subtask of `{name}` of `{view.name}` is complete: all of them run again")
        elif not _stopped_from_outside(view) or start.warning:
            return f"every subtask of step `{name}` is complete: --subtasks all runs them all again"
    notes += _describe_item_changes(name, view.name, division)
    notes += _warn_changed_files(name, view.name, division, fan_out.changed)
    detail = {
        "step": name,
        "run": len(division.run),
        "keep": len(division.kept),
        "new": len(division.new),
        "gone": len(division.gone),
    }
    reason = Reason(ReasonKind.SUBTASKS, detail)
    return replace(start, label=name, warning="; ".join(notes), subtasks=choice, reason=reason)


def _stopped_from_outside(view: JobView) -> bool:
    """Return whether the attempt was stopped from outside. A running attempt counts: it is canceled first."""
    one = view.attempt
    return one is not None and (one.state in ACTIVE or one.cause in _OUTSIDE_CAUSES)


def _describe_item_changes(step: str, job: str, division: SubtaskDivision) -> list[str]:
    """Describe the items that were added to or removed from a fan-out."""
    changes = []
    if division.new:
        changes.append(f"{len(division.new):,} new ({_format_items(division.new)})")
    if division.gone:
        changes.append(f"{len(division.gone):,} gone ({_format_items(division.gone)})")
    return [f"the items of `{step}` of `{job}` have changed: {', '.join(changes)}"] if changes else []


def _warn_changed_files(step: str, job: str, division: SubtaskDivision, changed: frozenset[str]) -> list[str]:
    """Warn about completed items whose files have changed since."""
    kept = tuple(one for one in division.kept if one.item in changed)
    if not kept:
        return []
    items = "1 item is" if len(kept) == 1 else f"{len(kept):,} items are"
    files = "its file has" if len(kept) == 1 else "their files have"
    where = f"{items} kept in `{step}` of `{job}` although {files} changed"
    return [f"{where} ({_format_items(kept)}): --subtasks all runs every item again"]


def _accept_partial(view: JobView, how: How) -> StartPoint | str:
    """Return the point behind the failed fan-out. A job that stopped elsewhere repeats the step where it stopped."""
    if how.subtasks is not None:
        return "--accept-partial runs no subtask again: leave out --subtasks, or --accept-partial"
    if how.start not in (FROM_BEGINNING, FROM_FAILED_STEP):
        return "--accept-partial says where it starts: leave out --from"
    if view.attempt is None or view.state is not State.FAILED:
        return f"it has not failed, it is {view.state.label}: there is no part of it to accept"
    done = completed_steps(view.attempt)
    fan_out = _fan_out_at(view, len(done)) if len(done) < len(view.steps) else None
    if fan_out is None:
        return find_step_start(view, FROM_FAILED_STEP)
    at = find_step_start(view, view.steps[fan_out.step])
    if isinstance(at, str):
        return at
    name, behind = view.steps[fan_out.step], fan_out.step + 1
    complete = [one for one in fan_out.known if one.complete]
    if not complete:
        return f"no subtask of step `{name}` succeeded: there is nothing to go on with"
    lost = [one for one in fan_out.known if not one.complete]
    return StartPoint(
        position=behind,
        label=view.steps[behind] if behind < len(view.steps) else AFTER_LAST_STEP,
        keeps=view.steps[:behind],
        warning=_describe_given_up(view.name, name, len(complete), lost),
        reason=Reason(ReasonKind.PARTIAL, {"step": name, "completed": len(complete), "given_up": len(lost)}),
    )


def _describe_given_up(job: str, step: str, complete: int, lost: list[KnownSubtask]) -> str:
    if not lost:
        return ""
    return (
        f"`{job}` goes on with {complete:,} of {complete + len(lost):,} subtasks of `{step}`: "
        f"{format_ranges(one.index for one in lost[:_NAMED])} ({_format_items(lost)}) given up"
    )


def _format_items(subtasks: tuple[KnownSubtask, ...] | list[KnownSubtask]) -> str:
    shown = ", ".join(show_json_bytes(one.item) for one in subtasks[:_NAMED])
    return shown if len(subtasks) <= _NAMED else f"{shown}, …"
