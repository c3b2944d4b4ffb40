"""Where a job with fan-out steps starts when it runs again: at one of them with some of its subtasks, or behind it."""

from __future__ import annotations

from dataclasses import replace

from rekindle.domain.rerunning.rerun import (
    FROM_BEGINNING,
    FROM_FAILED_STEP,
    FanOutView,
    How,
    JobView,
    Reason,
    ReasonKind,
)
from rekindle.domain.rerunning.resume import Start, completed_steps, find_start
from rekindle.domain.states import ACTIVE, State
from rekindle.domain.subtasks import Choice, Division, Known, divide, ranges
from rekindle.domain.texts.surrogates import shown_json

END = "end"
"""Where an attempt starts that goes on behind its last step."""

_FROM_OUTSIDE = ("lost", "canceled", "timeout")
"""Causes that end an attempt whatever its steps did."""

_NAMED = 3


def start_for(view: JobView, how: How) -> Start | str:
    """The place that is meant, or in words why there is none."""
    if how.accept_partial:
        return _accepting(view, how)
    start = _of_completed(view, how) or find_start(view, how.start)
    if isinstance(start, str):
        return start
    fan_out = None if how.start == FROM_BEGINNING else _known_at(view, start.position)
    if fan_out is not None:
        return _resumed(view, how, start, fan_out)
    if how.subtasks is not None:
        return _no_fan_out(view, how, start)
    return start


def _known_at(view: JobView, position: int) -> FanOutView | None:
    """The fan-out at a position, where the live attempt came to know its items."""
    found = (one for one in view.fan_outs if one.step == position and one.known and view.attempt is not None)
    return next(found, None)


def _of_completed(view: JobView, how: How) -> Start | str | None:
    """The failed step of an attempt that completed with a part: its fan-out."""
    completed = view.attempt is not None and view.attempt.state is State.COMPLETED
    fan_outs = [one for one in view.fan_outs if one.known]
    if how.start != FROM_FAILED_STEP or not completed or not fan_outs:
        return None
    for one in fan_outs:
        if not all(known.complete for known in one.known):
            return find_start(view, view.steps[one.step])
    return "every subtask is complete, and so is every step: leave out --from to run it all again"


def _no_fan_out(view: JobView, how: How, start: Start) -> str:
    if how.start == FROM_BEGINNING:
        return "it starts at the beginning, and --subtasks is for resuming a fan-out: add --from failed-step"
    name = view.steps[start.position]
    if any(one.step == start.position for one in view.fan_outs):
        return (
            f"step `{name}` never came to know its items: there is nothing of it to choose from; leave out --subtasks"
        )
    return f"it starts at `{name}`, which is no fan-out: leave out --subtasks"


def _resumed(view: JobView, how: How, start: Start, fan_out: FanOutView) -> Start | str:
    name = view.steps[fan_out.step]
    choice: Choice = "failed" if how.subtasks is None else how.subtasks
    if isinstance(choice, tuple):
        missing = set(choice) - {one.index for one in fan_out.known}
        if missing:
            there = ranges(one.index for one in fan_out.known)
            return f"step `{name}` has no subtask {ranges(missing)}: it has {there}"
    items = [one.item for one in fan_out.known] if fan_out.now is None else fan_out.now
    division = divide(items, fan_out.known, choice)
    notes = [start.warning] if start.warning and choice == "all" else []
    if not division.run and choice == "failed":
        if how.subtasks is None and how.start != FROM_FAILED_STEP:
            choice, division = "all", divide(items, fan_out.known, "all")
            notes.append(f"every subtask of `{name}` of `{view.name}` is complete: all of them run again")
        elif not _ended_from_outside(view) or start.warning:
            return f"every subtask of step `{name}` is complete: --subtasks all runs them all again"
    notes += _changed(name, view.name, division)
    notes += _kept_otherwise(name, view.name, division, fan_out.changed)
    detail = {
        "step": name,
        "run": len(division.run),
        "keep": len(division.kept),
        "new": len(division.new),
        "gone": len(division.gone),
    }
    reason = Reason(ReasonKind.SUBTASKS, detail)
    return replace(start, label=name, warning="; ".join(notes), subtasks=choice, reason=reason)


def _ended_from_outside(view: JobView) -> bool:
    """Whatever its steps did; what runs, and is canceled first, ends so too."""
    one = view.attempt
    return one is not None and (one.state in ACTIVE or one.cause in _FROM_OUTSIDE)


def _changed(step: str, job: str, division: Division) -> list[str]:
    """What is different in a fan-out's items, in words."""
    told = []
    if division.new:
        told.append(f"{len(division.new):,} new ({_items(division.new)})")
    if division.gone:
        told.append(f"{len(division.gone):,} gone ({_items(division.gone)})")
    return [f"the items of `{step}` of `{job}` have changed: {', '.join(told)}"] if told else []


def _kept_otherwise(step: str, job: str, division: Division, changed: frozenset[str]) -> list[str]:
    """Which items are kept although their files have changed since, in words."""
    kept = tuple(one for one in division.kept if one.item in changed)
    if not kept:
        return []
    items = "1 item is" if len(kept) == 1 else f"{len(kept):,} items are"
    files = "its file has" if len(kept) == 1 else "their files have"
    where = f"{items} kept in `{step}` of `{job}` although {files} changed"
    return [f"{where} ({_items(kept)}): --subtasks all runs every item again"]


def _accepting(view: JobView, how: How) -> Start | str:
    """Behind the fan-out that failed; a job that stopped elsewhere repeats the step where it stopped."""
    if how.subtasks is not None:
        return "--accept-partial runs no subtask again: leave out --subtasks, or --accept-partial"
    if how.start not in (FROM_BEGINNING, FROM_FAILED_STEP):
        return "--accept-partial says where it starts: leave out --from"
    if view.attempt is None or view.state is not State.FAILED:
        return f"it has not failed, it is {view.state.label}: there is no part of it to accept"
    done = completed_steps(view.attempt)
    fan_out = _known_at(view, len(done)) if len(done) < len(view.steps) else None
    if fan_out is None:
        return find_start(view, FROM_FAILED_STEP)
    at = find_start(view, view.steps[fan_out.step])
    if isinstance(at, str):
        return at
    name, behind = view.steps[fan_out.step], fan_out.step + 1
    complete = [one for one in fan_out.known if one.complete]
    if not complete:
        return f"no subtask of step `{name}` succeeded: there is nothing to go on with"
    lost = [one for one in fan_out.known if not one.complete]
    return Start(
        position=behind,
        label=view.steps[behind] if behind < len(view.steps) else END,
        keeps=view.steps[:behind],
        warning=_given_up(view.name, name, len(complete), lost),
        reason=Reason(ReasonKind.PARTIAL, {"step": name, "completed": len(complete), "given_up": len(lost)}),
    )


def _given_up(job: str, step: str, complete: int, lost: list[Known]) -> str:
    if not lost:
        return ""
    return (
        f"`{job}` goes on with {complete:,} of {complete + len(lost):,} subtasks of `{step}`: "
        f"{ranges(one.index for one in lost[:_NAMED])} ({_items(lost)}) given up"
    )


def _items(subtasks: tuple[Known, ...] | list[Known]) -> str:
    shown = ", ".join(shown_json(one.item) for one in subtasks[:_NAMED])
    return shown if len(subtasks) <= _NAMED else f"{shown}, …"
