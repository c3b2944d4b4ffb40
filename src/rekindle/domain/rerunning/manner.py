"""How a job that runs again does so: in which folder, with what modified, whether its resume point is kept."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rekindle.domain.errors import RekindleError
from rekindle.domain.overrides import NOTHING, Modified, Overrides, modified_of, multiplied
from rekindle.domain.rerunning.fan_out_start import END, start_for
from rekindle.domain.rerunning.rerun import FROM_BEGINNING, Change, How, JobView, Manner, PlannedJob, Take
from rekindle.domain.rerunning.resume import BEGINNING, Start
from rekindle.domain.texts.nearest import did_you_mean
from rekindle.domain.texts.secrets import masked_field
from rekindle.domain.texts.substitution import references, render

Exists = Callable[[str], bool]
"""Whether there is a file or folder at an absolute path."""


@dataclass(frozen=True, slots=True)
class Course:
    """What a selected job does: from where, and how."""

    start: Start
    manner: Manner
    attempt: int | None = None  # the one that it builds on
    kept_by: int | None = None  # the rerun that kept the resume point which this one takes up
    warning: str = ""


def find_course(view: JobView, how: How, exists: Exists) -> Course | str:
    """What `how` means for a selected job, or in words why it cannot be done so."""
    if how.again:
        return _as_before(view, how)
    start, attempt, kept_by = _start(view, how)
    if isinstance(start, str):
        return start
    modified = _modified(view, how)
    if isinstance(modified, str):
        return modified
    warning = start.warning
    kept = 0 if how.recovery == "keep" else view.keep_recovery
    if how.recovery == "clear" or not start.resumes:
        kept = None
        if how.recovery == "keep":
            warning = f"`{view.name}` starts from the beginning: it has no resume point to keep"
    taken = _folder(view, how, start, attempt, kept_by is not None, exists)
    if isinstance(taken, str):
        return taken
    take, folder = taken
    manner = Manner(
        take,
        folder,
        kept,
        modified.text(),
        _changes(view, modified),
        not_before=how.not_before,
        avoids=how.avoids,
        repeats=_repeats(view, how),
    )
    return Course(start, manner, attempt if start.resumes or take else None, kept_by, warning)


def reset_below(view: JobView) -> Manner:
    """A job that runs again because one above it does: from the beginning, in a new folder, still modified."""
    return Manner(overrides=view.overrides)


def as_it_stands(job: PlannedJob, view: JobView) -> PlannedJob:
    """A planned job whose next attempt is made as it would have been anyway."""
    resumes = view.resume_attempt is not None and view.resume_step < len(view.steps)
    return replace(
        job,
        start=view.steps[view.resume_step] if resumes and view.resume_step else job.start,
        keeps=view.steps[: view.resume_step] if resumes else job.keeps,
        resume_attempt=view.resume_attempt,
        resume_step=view.resume_step,
        manner=Manner(view.take, view.folder, view.keep_recovery, view.overrides, repeats=view.repeats),
        subtasks=view.subtasks,
    )


def _as_before(view: JobView, how: How) -> Course | str:
    """The last attempt over again: from the same step, with the same folder and modifications, and those that are
    asked for on top."""
    modified = _modified(view, replace(how, keep_modified=True))
    if isinstance(modified, str):
        return modified
    at, names = view.resume_step, view.steps[: view.resume_step]
    start = BEGINNING
    if view.resume_attempt is not None and (view.subtasks is not None or at) and at <= len(view.steps):
        start = Start(at, view.steps[at] if at < len(view.steps) else END, names, subtasks=view.subtasks)
    manner = Manner(
        view.take,
        view.folder,
        view.keep_recovery,
        modified.text(),
        _changes(view, modified),
        not_before=how.not_before,
        avoids=how.avoids,
        repeats=_repeats(view, how),
    )
    return Course(start, manner, view.resume_attempt if start.resumes or view.take else None)


def _repeats(view: JobView, how: How) -> int:
    """How often more it runs after that: what nobody asked for takes nothing away from what somebody did."""
    if how.repeats is not None:
        return how.repeats
    return view.repeats if how.again or how.automatic else 0


def _start(view: JobView, how: How) -> tuple[Start | str, int | None, int | None]:
    """(where it starts, the attempt it builds on, the rerun that kept that point)."""
    live = view.attempt.id if view.attempt else None
    if how.start != FROM_BEGINNING or how.accept_partial or view.keep_recovery is None or how.recovery == "clear":
        return start_for(view, how), live, None
    if view.resume_attempt is None or not 0 < view.resume_step < len(view.steps):
        return BEGINNING, live, None
    names = view.steps[: view.resume_step]
    return Start(view.resume_step, view.steps[view.resume_step], names), view.resume_attempt, view.keep_recovery


def _folder(
    view: JobView, how: How, start: Start, attempt: int | None, recovered: bool, exists: Exists
) -> tuple[Take | None, str | None] | str:
    """(how the folder is taken over, which one) for the next attempt, or in words why it cannot be."""
    wanted = how.workdir
    if view.workdir == "project":
        if wanted in ("copy", "same"):
            return (
                f"it runs in the project's folder, which all attempts share: --workdir {wanted} has a meaning for jobs "
                "with `workdir: attempt` only"
            )
        return None, None
    if wanted is None:
        wanted = (view.take or "new") if recovered else "copy" if start.resumes else "new"
    if wanted == "new":
        return None, None
    if attempt is None:
        return f"it has no earlier attempt whose folder --workdir {wanted} could take"
    candidates: tuple[str, ...] = view.attempt.folders if view.attempt else ()
    if recovered and view.folder:
        candidates = (view.folder,)
    folder = next((one for one in candidates if exists(one)), None)
    if folder is None:
        gone = candidates[0] if candidates else "unknown"
        return f"the folder of its attempt {attempt} is gone ({gone}): --workdir new starts in an empty one"
    return wanted, folder


def _modified(view: JobView, how: How) -> Modified | str:
    """What differs from the job's definition after the rerun, or in words why that cannot be."""
    if how.overrides is None and view.overrides is None:
        return NOTHING
    asked = how.overrides or Overrides()
    for name in asked.params:
        if name not in view.params:
            return _no_parameter(view, name)
    for text in asked.env.values():
        for reference in references(text):
            if reference.scope == "params" and reference.path[0] not in view.params:
                return _no_parameter(view, reference.path[0])
    now = modified_of(view.overrides)
    has = now.resources(view.resources)
    memory = multiplied("memory", asked.memory, has.memory)
    time = multiplied("time", asked.time, has.time)
    if isinstance(memory, str) or isinstance(time, str):
        return memory if isinstance(memory, str) else str(time)
    new = Modified(asked.params, asked.env, None if memory is None else max(1, round(memory)), time, asked.cpus)
    unpinned = view.pinned_to is not None and how.definition == "latest" and not how.again
    return new.over(now if how.keep_modified and not unpinned else NOTHING)


def _no_parameter(view: JobView, name: str) -> str:
    if name in json.loads(view.binding):
        return f"`{name}` is a value of its matrix, which makes it this job: only parameters can be set"
    hint = did_you_mean(name, view.params)
    return f"its workflow has no parameter `{name}`" + (f": {hint}" if hint else "")


def _changes(view: JobView, after: Modified) -> tuple[Change, ...]:
    """What will differ from how it would run now."""
    before = modified_of(view.overrides)
    if before == after:
        return ()
    return tuple(
        Change(one.name, masked_field(one.name, one.before), masked_field(one.name, one.after))
        for one in _compared(view, before, after)
        if one.before != one.after
    )


def _compared(view: JobView, before: Modified, after: Modified) -> Iterator[Change]:
    for name in sorted({*before.params, *after.params}):
        base = view.params.get(name)
        yield Change(f"params.{name}", before.params.get(name, base), after.params.get(name, base))
    for name in sorted({*before.env, *after.env}):
        text = view.env.get(name)
        yield Change(f"env.{name}", before.env.get(name, text), after.env.get(name, text))
    had, has = before.resources(view.resources), after.resources(view.resources)
    yield Change("memory", had.memory or None, has.memory or None)
    yield Change("time", had.time, has.time)
    yield Change("cpus", had.cpus, has.cpus)


def with_saves(manner: Manner, view: JobView, exists: Exists) -> Manner:
    """The manner, with the outputs saved that are there and will be written over."""
    return replace(manner, saves=tuple(path for _, path in overwritten(manner, view, exists)))


def overwritten(manner: Manner, view: JobView, exists: Exists) -> list[tuple[str, str]]:
    """(as declared, absolute path) of the declared outputs that are there and that the next attempt will write."""
    if not view.outputs:
        return []
    if view.workdir == "attempt":
        if manner.take != "same" or manner.folder is None:
            return []  # a folder of its own: nothing is written over
        base = manner.folder
    else:
        base = view.directory
    paths = ((path, posixpath.join(base, path)) for path in _outputs(view, manner.overrides))
    return [(path, absolute) for path, absolute in paths if exists(absolute)]


def _outputs(view: JobView, overrides: str | None) -> tuple[str, ...]:
    params = modified_of(overrides).params
    if not params:
        return view.outputs
    scope: Mapping[str, Any] = {
        "params": {**view.params, **params},
        "matrix": json.loads(view.binding),
        "job": {"name": view.name, "id": view.id},
    }
    try:
        return tuple(render(text, scope) for text in view.declared)
    except RekindleError:  # a value that has not the part which the path names: the attempt will say so
        return ()
