"""Resolve the options of a rerun for one job: start point, folder, overrides, resume point and definition."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from rekindle.domain.errors import RekindleError
from rekindle.domain.graph import descendants
from rekindle.domain.next_attempt import FolderReuse, NextAttempt
from rekindle.domain.overrides import NO_OVERRIDES, AppliedOverrides, Overrides, decode_overrides, resolve_amount
from rekindle.domain.rerun.plan import OverrideChange, PlannedJob
from rekindle.domain.rerun.request import (
    FROM_BEGINNING,
    How,
    InternalHow,
    RequestMode,
    Requests,
    is_automatic,
    mode_of,
    resets_downstream,
)
from rekindle.domain.rerun.start import AFTER_LAST_STEP, BEGINNING, StartPoint, find_start_point
from rekindle.domain.rerun.views import JobTable
from rekindle.domain.texts.display import did_you_mean, mask_field
from rekindle.domain.texts.substitution import find_references, render_text

if TYPE_CHECKING:
    from rekindle.domain.definition import DefinitionChoice
    from rekindle.domain.rerun.views import JobGraph, JobView

Exists = Callable[[str], bool]
"""Return whether a file or folder exists at an absolute path."""


class ResolvedRequest(msgspec.Struct, frozen=True):
    """The options of a rerun resolved for one selected job."""

    start: StartPoint
    next: NextAttempt
    changes: tuple[OverrideChange, ...] = ()
    kept_by: int | None = None  # the rerun that kept the resume point used here
    warning: str = ""


def resolve_request(view: JobView, how: How, exists: Exists) -> ResolvedRequest | str:
    """Resolve the options of a rerun for a selected job, or return why they do not apply."""
    if mode_of(how) is RequestMode.REPEAT:
        return _repeat_last(view, how)
    start, attempt, kept_by = _resolve_start(view, how)
    if isinstance(start, str):
        return start
    modified = _resolve_overrides(view, how)
    if isinstance(modified, str):
        return modified
    warning = start.warning
    kept = 0 if how.recovery == "keep" else view.next.keep_recovery
    if how.recovery == "clear" or not start.resumes:
        kept = None
        if how.recovery == "keep":
            warning = f"`{view.name}` starts from the beginning: it has no resume point to keep"
    taken = _resolve_folder(view, how, start, attempt, kept_by is not None, exists)
    if isinstance(taken, str):
        return taken
    take, folder = taken
    delay = how if isinstance(how, InternalHow) else InternalHow()
    next_attempt = NextAttempt(
        resume_attempt=attempt if start.resumes or take else None,
        resume_step=start.position,
        subtasks=start.subtasks,
        take=take,
        folder=folder,
        overrides=modified.text(),
        not_before=delay.not_before,
        avoids=delay.avoids,
        repeats=_repeats(view, how),
        keep_recovery=kept,
    )
    return ResolvedRequest(start, next_attempt, _override_changes(view, modified), kept_by, warning)


def keep_next_attempt(job: PlannedJob, view: JobView) -> PlannedJob:
    """Return the planned job with its next attempt unchanged."""
    at = view.next.resume_step
    resumes = view.next.resume_attempt is not None and at < len(view.steps)
    return replace(
        job,
        start=view.steps[at] if resumes and at else job.start,
        keeps=view.steps[:at] if resumes else job.keeps,
        next=view.next,
    )


def _repeat_last(view: JobView, how: How) -> ResolvedRequest | str:
    """Repeat the last attempt: same step, folder and overrides, with the requested overrides on top."""
    modified = _resolve_overrides(view, replace(how, keep_modified=True))
    if isinstance(modified, str):
        return modified
    last, start = view.next, BEGINNING
    delay = how if isinstance(how, InternalHow) else InternalHow()
    at = last.resume_step
    if last.resume_attempt is not None and (last.subtasks is not None or at) and at <= len(view.steps):
        label = view.steps[at] if at < len(view.steps) else AFTER_LAST_STEP
        start = StartPoint(at, label, view.steps[:at], subtasks=last.subtasks)
    next_attempt = replace(
        last,
        resume_attempt=last.resume_attempt if start.resumes or last.take else None,
        resume_step=start.position,
        subtasks=start.subtasks,
        overrides=modified.text(),
        not_before=delay.not_before,
        avoids=delay.avoids,
        repeats=_repeats(view, how),
    )
    return ResolvedRequest(start, next_attempt, _override_changes(view, modified))


def _repeats(view: JobView, how: How) -> int:
    """Return how many more times the job runs. An automatic rerun keeps the requested repeats."""
    if how.repeats is not None:
        return how.repeats
    return view.next.repeats if is_automatic(how) else 0


def _resolve_start(view: JobView, how: How) -> tuple[StartPoint | str, int | None, int | None]:
    """Return (start point, the attempt it builds on, the rerun that kept that point)."""
    live, kept = view.attempt.id if view.attempt else None, view.next
    if how.start != FROM_BEGINNING or how.accept_partial or kept.keep_recovery is None or how.recovery == "clear":
        return find_start_point(view, how), live, None
    at = kept.resume_step
    if kept.resume_attempt is None or not 0 < at < len(view.steps):
        return BEGINNING, live, None
    return StartPoint(at, view.steps[at], view.steps[:at]), kept.resume_attempt, kept.keep_recovery


def _resolve_folder(
    view: JobView, how: How, start: StartPoint, attempt: int | None, recovered: bool, exists: Exists
) -> tuple[FolderReuse | None, str | None] | str:
    """Return (how the folder is taken over, which folder) for the next attempt, or why that is impossible."""
    wanted = how.workdir
    if view.workdir == "project":
        if wanted in ("copy", "same"):
            return (
                f"it runs in the project's folder, which all attempts share: --workdir {wanted} has a meaning for jobs "
                "with `workdir: attempt` only"
            )
        return None, None
    if wanted is None:
        wanted = (view.next.take or "new") if recovered else "copy" if start.resumes else "new"
    if wanted == "new":
        return None, None
    if attempt is None:
        return f"it has no earlier attempt whose folder --workdir {wanted} could take"
    candidates: tuple[str, ...] = view.attempt.folders if view.attempt else ()
    if recovered and view.next.folder:
        candidates = (view.next.folder,)
    folder = next((one for one in candidates if exists(one)), None)
    if folder is None:
        gone = candidates[0] if candidates else "unknown"
        return f"the folder of its attempt {attempt} is gone ({gone}): --workdir new starts in an empty one"
    return wanted, folder


def _resolve_overrides(view: JobView, how: How) -> AppliedOverrides | str:
    """Return the job's overrides after the rerun, or why they are impossible."""
    if how.overrides is None and view.next.overrides is None:
        return NO_OVERRIDES
    asked = how.overrides or Overrides()
    for name in asked.params:
        if name not in view.params:
            return _explain_no_parameter(view, name)
    for text in asked.env.values():
        for reference in find_references(text):
            if reference.scope == "params" and reference.path[0] not in view.params:
                return _explain_no_parameter(view, reference.path[0])
    now = decode_overrides(view.next.overrides)
    has = now.resources(view.resources)
    memory = resolve_amount("memory", asked.memory, has.memory)
    time = resolve_amount("time", asked.time, has.time)
    if isinstance(memory, str) or isinstance(time, str):
        return memory if isinstance(memory, str) else str(time)
    new = AppliedOverrides(asked.params, asked.env, None if memory is None else max(1, round(memory)), time, asked.cpus)
    unpinned = view.next.pinned_to is not None and pinned_attempt(view, how) is None
    return new.over(now if how.keep_modified and not unpinned else NO_OVERRIDES)


def _explain_no_parameter(view: JobView, name: str) -> str:
    if name in json.loads(view.binding):
        return f"`{name}` is a value of its matrix, which makes it this job: only parameters can be set"
    hint = did_you_mean(name, view.params)
    return f"its workflow has no parameter `{name}`" + (f": {hint}" if hint else "")


def _override_changes(view: JobView, after: AppliedOverrides) -> tuple[OverrideChange, ...]:
    """Return the overrides that differ from the current ones."""
    before = decode_overrides(view.next.overrides)
    if before == after:
        return ()
    return tuple(
        OverrideChange(one.name, mask_field(one.name, one.before), mask_field(one.name, one.after))
        for one in _compare_overrides(view, before, after)
        if one.before != one.after
    )


def _compare_overrides(view: JobView, before: AppliedOverrides, after: AppliedOverrides) -> Iterator[OverrideChange]:
    for name in sorted({*before.params, *after.params}):
        base = view.params.get(name)
        yield OverrideChange(f"params.{name}", before.params.get(name, base), after.params.get(name, base))
    for name in sorted({*before.env, *after.env}):
        text = view.env.get(name)
        yield OverrideChange(f"env.{name}", before.env.get(name, text), after.env.get(name, text))
    had, has = before.resources(view.resources), after.resources(view.resources)
    yield OverrideChange("memory", had.memory or None, has.memory or None)
    yield OverrideChange("time", had.time, has.time)
    yield OverrideChange("cpus", had.cpus, has.cpus)


def overwritten(next_attempt: NextAttempt, view: JobView, exists: Exists) -> list[tuple[str, str]]:
    """Return (declared path, absolute path) of the existing outputs that the next attempt overwrites."""
    if not view.outputs:
        return []
    if view.workdir == "attempt":
        if next_attempt.take != "same" or next_attempt.folder is None:
            return []  # a new folder: nothing is overwritten
        base = next_attempt.folder
    else:
        base = view.directory
    paths = ((path, posixpath.join(base, path)) for path in _output_paths(view, next_attempt.overrides))
    return [(path, absolute) for path, absolute in paths if exists(absolute)]


def _output_paths(view: JobView, overrides: str | None) -> tuple[str, ...]:
    params = decode_overrides(overrides).params
    if not params:
        return view.outputs
    scope: Mapping[str, Any] = {
        "params": {**view.params, **params},
        "matrix": json.loads(view.binding),
        "job": {"name": view.name, "id": view.id},
    }
    try:
        return tuple(render_text(text, scope) for text in view.declared)
    except RekindleError:  # the value lacks a part named in the path: the attempt reports the error
        return ()


def pinned_attempt(view: JobView, how: How) -> int | None:
    """Return the attempt whose definition the job uses when it is rerun with these options; None: the latest.

    Automatic repeats keep the definition of the attempt they repeat."""
    if mode_of(how) is not RequestMode.RERUN:
        return view.next.pinned_to
    return _newest_attempt(view) if (how.definition or view.definition) == "pinned" else None


def _newest_attempt(view: JobView) -> int | None:
    return view.attempt.id if view.attempt else view.last


def pinned_attempts(views: Mapping[int, JobView], graph: JobGraph, requests: Requests) -> dict[int, int]:
    """Return every job that the requests may pin, with the attempt it is pinned to."""
    found: dict[int, int] = {}
    for job, how in requests.hows.items():
        if (attempt := pinned_attempt(views[job], how) if job in views else None) is not None:
            found[job] = attempt
    for job in _pinned_descendants(views, graph, requests):
        if (attempt := _newest_attempt(views[job])) is not None:
            found.setdefault(job, attempt)
    return found


def _pinned_descendants(views: Mapping[int, JobView], graph: JobGraph, requests: Requests) -> set[int]:
    """Return the jobs below those that are rerun with `pinned`, and the jobs that are pinned by their own definitions
    below those that are rerun with neither."""
    asked: dict[DefinitionChoice | None, list[int]] = {"pinned": [], None: []}
    for job, how in requests.hows.items():
        if resets_downstream(how) and how.definition in asked:
            asked[how.definition].append(job)
    own = JobTable.of(views).having(lambda view: view.definition == "pinned")
    found = set(descendants(graph.children, asked["pinned"]))
    return found | (own & set(descendants(graph.children, asked[None]))) if own else found


def with_definition(view: JobView, pinned_to: int | None, earlier: Mapping[int, JobView]) -> JobView:
    """Return the job with the definition it will have: the latest, or the pinned attempt's if `earlier` has it."""
    return view if pinned_to is None else earlier.get(view.id, view)
