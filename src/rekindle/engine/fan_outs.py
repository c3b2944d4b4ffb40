"""Fan-outs: record their subtasks, load them for planning, and prepare them for a resumed attempt."""

from __future__ import annotations

import json
import os.path
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.errors import RekindleError
from rekindle.domain.models import Attempt, AttemptEnd, NewAttempt, StepOutcome
from rekindle.domain.rerun.request import FROM_BEGINNING, How, Requests, is_automatic
from rekindle.domain.rerun.resolve import pinned_attempts
from rekindle.domain.rerun.start import completed_steps
from rekindle.domain.rerun.views import FanOutView, JobGraph, JobTable, JobView
from rekindle.domain.states import Cause, State
from rekindle.domain.subtasks import KnownSubtask, known_subtasks
from rekindle.journal.encoding import from_json, to_json

if TYPE_CHECKING:
    from rekindle.domain.definition import Each, JobTemplate
    from rekindle.journal.orders import FanOut
    from rekindle.journal.records import Depended, FannedOut, Subtasks
    from rekindle.store.archive import Snapshot, Transaction

_CAUSES_ENDING_SUBTASKS = (Cause.LOST, Cause.CANCELED, Cause.OOM)
"""Causes with which an attempt can end before its worker has journaled the ends of its subtasks."""


# --- ingesting journal records


def record_fan_outs(archive: Transaction, records: Iterable[FannedOut | Depended | Subtasks]) -> None:
    """Write journal records of fan-outs and subtasks, in order."""
    from rekindle.journal.records import Depended, FannedOut

    for record in records:
        if isinstance(record, Depended):
            prints = {} if record.prints is None else {record.attempt: record.prints}
            archive.fingerprints.put_files(prints, {} if record.code is None else {record.attempt: record.code})
        elif isinstance(record, FannedOut):
            archive.subtasks.fan_out(
                record.attempt, record.step, record.total, record.base, record.gone, record.run, record.held
            )
        else:
            archive.subtasks.report(record.attempt, record.step, record.started, record.ended)


def end_subtasks(archive: Transaction, endings: Iterable[AttemptEnd]) -> None:
    """End the subtasks that still ran when these attempts were lost, canceled or out of memory."""
    rows = [
        (ending.attempt, ending.state, ending.cause, ending.ended)
        for ending in endings
        if ending.cause in _CAUSES_ENDING_SUBTASKS
    ]
    if rows:
        archive.subtasks.end_with_attempts([(attempt, state, cause, at) for attempt, state, cause, at in rows if cause])


# --- planning


def planning_views(
    archive: Snapshot, requests: Requests, read: tuple[JobTable, JobGraph] | None = None
) -> tuple[JobTable, JobGraph, Mapping[int, JobView]]:
    """Return (views, graph, views by earlier definitions): all that the planner reads for these requests. `read`: the
    jobs, their descendants and the parents of both, for a caller with several requests of the same jobs."""
    alone = {job for job, how in requests.hows.items() if is_automatic(how)}
    views, graph = read or archive.plan_views.of(sorted(requests.hows), alone)
    views = with_sources(archive, views, requests)
    earlier = archive.plan_views.defined_by(views, pinned_attempts(views, graph, requests))
    resumed = jobs_to_resume(requests)
    looked_at = resumed - alone
    earlier = {**earlier, **fan_outs_of(archive, earlier, resumed)}
    return views.with_views(fan_outs_of(archive, views, resumed, looked_at)), graph, earlier


def with_sources(archive: Snapshot, views: JobTable, requests: Requests) -> JobTable:
    """Add to the views the attempts that requests name as the ones to resume from."""
    named = {job: how.attempt for job, how in requests.hows.items() if how.attempt is not None}
    if not named:
        return views
    found = archive.plan_views.sources(sorted(set(named.values())))
    sources = {job: view for attempt, (job, view) in found.items() if named.get(job) == attempt}
    return views.with_views(
        {job: msgspec.structs.replace(views[job], source=view) for job, view in sources.items() if job in views}
    )


def jobs_to_resume(requests: Requests) -> set[int]:
    """Return the jobs of requests that may start at a fan-out or after one."""
    return {job for job, how in requests.hows.items() if _may_resume(how)}


def _may_resume(how: How) -> bool:
    """Return whether a job may start at a fan-out or after one."""
    return how.accept_partial or how.start != FROM_BEGINNING


def fan_outs_of(
    archive: Snapshot, views: Mapping[int, JobView], jobs: Iterable[int], read: Collection[int] = ()
) -> dict[int, JobView]:
    """Return the views of those of `jobs` that have fan-outs, with these. For jobs in `read`, also compare the files of
    complete items with the recorded digests."""
    wanted = sorted({job for job in jobs if job in views and views[job].attempt is not None})
    found: dict[int, JobView] = {}
    if not wanted:
        return found
    templates: dict[int, JobTemplate] = {}
    live = archive.jobs.live(wanted)
    for job in wanted:
        view = views[job]
        template = templates.get(view.template) or archive.workflows.template(view.template)
        templates[view.template] = template
        if any(step.each for step in template.steps):
            fan_outs = _fan_out_views(archive, view, template, live[job])
            if job in read:
                folder = _directory(view, template, live[job])
                fan_outs = tuple(_with_changed_items(archive, one, template, folder) for one in fan_outs)
            found[job] = msgspec.structs.replace(view, fan_outs=fan_outs)
    return found


def stopped_in_fan_out(view: JobView) -> bool:
    """Return whether the live attempt stopped in a fan-out whose items were known."""
    at = len(completed_steps(view.attempt))
    return any(one.step == at and one.known for one in view.fan_outs)


def _fan_out_views(archive: Snapshot, view: JobView, template: JobTemplate, attempt: Attempt) -> tuple[FanOutView, ...]:
    earlier = archive.workflows.template(attempt.template)
    views = []
    for position, step in enumerate(template.steps):
        if step.each is None:
            continue
        same = position < len(earlier.steps) and earlier.steps[position].name == step.name
        known = known_subtasks(archive.subtasks.of(attempt.id, position)) if same else ()
        now = _current_items(archive, view, template, attempt, step.each) if known else None
        views.append(FanOutView(position, known, now))
    return tuple(views)


def _current_items(
    archive: Snapshot, view: JobView, template: JobTemplate, attempt: Attempt, each: Each
) -> tuple[str, ...] | None:
    """Return the items that the fan-out would have now; None if only the running step can compute them."""
    from rekindle.files.file_patterns import static_items

    stored = archive.attempts.get(attempt.id)
    scope: Mapping[str, Any] = {
        "params": view.params,
        "matrix": from_json(view.binding),
        "job": {"name": view.name, "id": view.id},
        "steps": {
            step.name: {"result": None if step.result is None else from_json(step.result)}
            for step in (stored.steps if stored else ())
            if step.state is State.COMPLETED
        },
    }
    try:
        found = static_items(each, scope, _directory(view, template, attempt))
    except RekindleError:
        return None
    return None if found is None else tuple(found)


def _directory(view: JobView, template: JobTemplate, attempt: Attempt) -> str:
    return attempt.folder if template.workdir == "attempt" and attempt.folder else view.directory


def _with_changed_items(archive: Snapshot, one: FanOutView, template: JobTemplate, directory: str) -> FanOutView:
    """Return a fan-out over a pattern with the complete items whose files have changed."""
    each = template.steps[one.step].each
    if each is None or each.glob is None:
        return one
    now = None if one.now is None else set(one.now)
    recorded = {
        known.item: (known.digest, os.path.join(directory, json.loads(known.item)))  # noqa: PTH118 many
        for known in one.known
        if known.complete and known.digest is not None and (now is None or known.item in now)
    }
    from rekindle.files.digests import FileReader

    reader = FileReader(archive.fingerprints.known_files([path for _, path in recorded.values()]).values())
    changed = (item for item, (digest, path) in recorded.items() if reader.content("", path).digest != digest)
    return msgspec.structs.replace(one, changed=frozenset(changed))


# --- assignments


def fan_outs_to_resume(archive: Snapshot, template: JobTemplate, attempt: NewAttempt) -> tuple[FanOut, ...]:
    """Return the fan-outs before the start of a resumed attempt, and the one it starts at."""
    from rekindle.journal.orders import FanOut

    resumed = attempt.job.next
    source = resumed.resume_attempt
    if source is None:
        return ()
    choice = "failed" if resumed.subtasks is None else resumed.subtasks
    last = resumed.resume_step + (resumed.subtasks is not None)
    found = []
    for position, step in enumerate(template.steps[:last]):
        owner = archive.subtasks.owner(source, position) if step.each is not None else None
        if owner is not None:
            found.append(FanOut(position, owner, choice, known_subtasks(archive.subtasks.of(owner, position))))
    return tuple(found)


def resumes_partially(attempt: NewAttempt, fan_outs: Iterable[FanOut]) -> bool:
    """Return whether a fan-out that the attempt keeps is incomplete."""
    before = (one for one in fan_outs if one.step < attempt.job.next.resume_step)
    return any(not known.complete for one in before for known in one.known)


def kept_step_outcomes(source: Attempt, template: JobTemplate, before: int) -> list[StepOutcome]:
    """Return the steps before a position as completed, for an attempt that builds on `source`. This includes partially
    accepted fan-outs, and fan-outs whose end was not recorded before `source` was lost."""
    told = {step.position: step for step in source.steps}
    kept = []
    for position, step in enumerate(template.steps[:before]):
        outcome = told.get(position)
        if outcome is None and step.each is None:
            continue
        if outcome is None or outcome.state is not State.COMPLETED:
            outcome = StepOutcome(position, step.name, State.COMPLETED)
        kept.append(msgspec.structs.replace(outcome, kept_from=outcome.kept_from or source.id))
    return kept


def fan_out_result(known: Iterable[KnownSubtask]) -> msgspec.Raw:
    """Return the result of a job that ends with a fan-out, as its descendants see it: the items and results of its
    complete subtasks."""
    items = [
        {
            "item": msgspec.Raw(one.item.encode()),
            "result": None if one.result is None else msgspec.Raw(one.result.encode()),
        }
        for one in known
        if one.complete
    ]
    return msgspec.Raw(to_json({"items": items}))
