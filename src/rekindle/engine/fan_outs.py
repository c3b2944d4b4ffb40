"""Fan-outs between journal, store and plans: what is written of them, and what planner and worker are told."""

from __future__ import annotations

import dataclasses
import json
import os.path
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from rekindle.domain.causes import Cause
from rekindle.domain.definition import Each, JobTemplate
from rekindle.domain.errors import RekindleError
from rekindle.domain.models import Attempt, Ending, NewAttempt, StepOutcome
from rekindle.domain.rerunning.pinning import pins
from rekindle.domain.rerunning.reach import spreading
from rekindle.domain.rerunning.rerun import FROM_BEGINNING, FanOutView, Graph, How, JobView
from rekindle.domain.rerunning.resume import completed_steps
from rekindle.domain.states import State
from rekindle.domain.subtasks import Choice, Known, known_of
from rekindle.files.reading import Reader
from rekindle.journal.encoding import from_json, to_json
from rekindle.journal.items import settled
from rekindle.journal.orders import FanOut
from rekindle.journal.records import FannedOut, Subtasks
from rekindle.store.port import Archive

_WITH_ATTEMPT = (Cause.LOST, Cause.CANCELED, Cause.OOM)
"""Causes with which an attempt ends without its worker having told of all that ran."""


# --- what the journal tells


def take_in(archive: Archive, records: Iterable[FannedOut | Subtasks]) -> None:
    """Write what workers told of fan-outs, in the order in which they told it."""
    for record in records:
        if isinstance(record, FannedOut):
            archive.subtasks.fan_out(
                record.attempt, record.step, record.total, record.base, record.gone, record.run, record.held
            )
        else:
            archive.subtasks.tell(record.attempt, record.step, record.started, record.ended)


def end_subtasks(archive: Archive, endings: Iterable[Ending]) -> None:
    """Attempts have ended: with those that were lost or canceled, what still ran of their subtasks."""
    rows = [
        (ending.attempt, ending.state, ending.cause, ending.ended)
        for ending in endings
        if ending.cause in _WITH_ATTEMPT
    ]
    archive.subtasks.end_with([(attempt, state, cause, at) for attempt, state, cause, at in rows if cause])


# --- what the planner is told


def planning_views(
    archive: Archive, requests: Sequence[tuple[Sequence[int], How]]
) -> tuple[Mapping[int, JobView], Graph, Mapping[int, JobView]]:
    """(views, graph, views by earlier definitions): what the planner reads for these requests."""
    by_itself = {job for jobs, how in requests if how.again or how.automatic for job in jobs}
    alone = by_itself - spreading(requests).keys()
    views, graph = archive.reruns.views(sorted({job for jobs, _ in requests for job in jobs}), alone)
    views = with_sources(archive, views, requests)
    earlier = archive.reruns.defined_by(views, pins(views, graph, requests))
    resumed = resuming(requests)
    looked_at = resuming([one for one in requests if not (one[1].automatic or one[1].again)])
    with_earlier = with_fan_outs(archive, earlier, resumed)
    return with_fan_outs(archive, views, resumed, looked_at), graph, with_earlier


def with_sources(
    archive: Archive, views: dict[int, JobView], requests: Sequence[tuple[Sequence[int], How]]
) -> dict[int, JobView]:
    """The views, those of jobs for which a request names an attempt to go on from with that attempt."""
    named = {how.attempt: jobs for jobs, how in requests if how.attempt is not None}
    if not named:
        return views
    found = archive.reruns.sources(sorted(named))
    sources = {job: view for attempt, (job, view) in found.items() if job in named[attempt]}
    return views | {job: dataclasses.replace(views[job], source=view) for job, view in sources.items() if job in views}


def resuming(requests: Iterable[tuple[Sequence[int], How]]) -> set[int]:
    """The jobs of requests under which one may start at a fan-out, or behind it."""
    return {job for jobs, how in requests if _may_resume(how) for job in jobs}


def _may_resume(how: How) -> bool:
    """A job may start at a fan-out, or behind it."""
    return how.accept_partial or how.start != FROM_BEGINNING


def with_fan_outs(
    archive: Archive, views: Mapping[int, JobView], jobs: Iterable[int], read: Collection[int] = ()
) -> Mapping[int, JobView]:
    """The views, those of `jobs` with what is known of their fan-outs; of those among `read`, the files of complete
    items are compared with what they held."""
    wanted = sorted({job for job in jobs if job in views and views[job].attempt is not None})
    if not wanted:
        return views
    found = dict(views)
    templates: dict[int, JobTemplate] = {}
    live = archive.jobs.live(wanted)
    for job in wanted:
        view = views[job]
        template = templates.get(view.template) or archive.workflows.template(view.template)
        templates[view.template] = template
        if any(step.each for step in template.steps):
            fan_outs = _views(archive, view, template, live[job])
            if job in read:
                folder = _directory(view, template, live[job])
                fan_outs = tuple(_with_changed(archive, one, template, folder) for one in fan_outs)
            found[job] = dataclasses.replace(view, fan_outs=fan_outs)
    return found


def was_amid_fan_out(view: JobView) -> bool:
    """Its live attempt stopped in a fan-out that had come to know its items."""
    at = len(completed_steps(view.attempt))
    return any(one.step == at and one.known for one in view.fan_outs)


def _views(archive: Archive, view: JobView, template: JobTemplate, attempt: Attempt) -> tuple[FanOutView, ...]:
    earlier = archive.workflows.template(attempt.template)
    views = []
    for position, step in enumerate(template.steps):
        if step.each is None:
            continue
        same = position < len(earlier.steps) and earlier.steps[position].name == step.name
        known = known_of(archive.subtasks.of(attempt.id, position)) if same else ()
        now = _items_now(archive, view, template, attempt, step.each) if known else None
        views.append(FanOutView(position, known, now))
    return tuple(views)


def _items_now(
    archive: Archive, view: JobView, template: JobTemplate, attempt: Attempt, each: Each
) -> tuple[str, ...] | None:
    """The items as they would come out now; None where only the step itself can tell."""
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
        found = settled(each, scope, _directory(view, template, attempt))
    except RekindleError:
        return None
    return None if found is None else tuple(found)


def _directory(view: JobView, template: JobTemplate, attempt: Attempt) -> str:
    return attempt.folder if template.workdir == "attempt" and attempt.folder else view.directory


def _with_changed(archive: Archive, one: FanOutView, template: JobTemplate, directory: str) -> FanOutView:
    """A fan-out over a pattern, with the complete items whose files hold something else by now."""
    each = template.steps[one.step].each
    if each is None or each.glob is None:
        return one
    now = None if one.now is None else set(one.now)
    recorded = {
        known.item: (known.digest, os.path.join(directory, json.loads(known.item)))  # noqa: PTH118 many
        for known in one.known
        if known.complete and known.digest is not None and (now is None or known.item in now)
    }
    reader = Reader(archive.fingerprints.known_files([path for _, path in recorded.values()]).values())
    changed = (item for item, (digest, path) in recorded.items() if reader.content("", path).digest != digest)
    return dataclasses.replace(one, changed=frozenset(changed))


# --- what the worker is told


def fan_outs_of(archive: Archive, template: JobTemplate, attempt: NewAttempt) -> tuple[FanOut, ...]:
    """What a resumed attempt needs to know: of each fan-out before its start, and of the one that it starts at."""
    job, source = attempt.job, attempt.job.resume_attempt
    if source is None:
        return ()
    choice: Choice = "failed" if job.subtasks is None else msgspec.json.decode(job.subtasks, type=Choice)
    last = job.resume_step + (job.subtasks is not None)
    found = []
    for position, step in enumerate(template.steps[:last]):
        owner = archive.subtasks.owner(source, position) if step.each is not None else None
        if owner is not None:
            found.append(FanOut(position, owner, choice, known_of(archive.subtasks.of(owner, position))))
    return tuple(found)


def goes_on_with_a_part(attempt: NewAttempt, fan_outs: Iterable[FanOut]) -> bool:
    """A fan-out that the attempt keeps is not complete."""
    before = (one for one in fan_outs if one.step < attempt.job.resume_step)
    return any(not known.complete for one in before for known in one.known)


def kept_whole(source: Attempt, template: JobTemplate, before: int) -> list[StepOutcome]:
    """The steps before a position as an attempt that builds on `source` keeps them: completed, a fan-out of which a
    part was accepted too, and even where `source` was lost before it told how that ended."""
    told = {step.position: step for step in source.steps}
    kept = []
    for position, step in enumerate(template.steps[:before]):
        outcome = told.get(position)
        if outcome is None and step.each is None:
            continue
        if outcome is None or outcome.state is not State.COMPLETED:
            outcome = StepOutcome(position, step.name, State.COMPLETED)
        kept.append(dataclasses.replace(outcome, kept_from=outcome.kept_from or source.id))
    return kept


def complete_document(known: Iterable[Known]) -> msgspec.Raw:
    """What the jobs behind it see as the result of a job that ends with a fan-out: its complete subtasks."""
    items = [
        {
            "item": msgspec.Raw(one.item.encode()),
            "result": None if one.result is None else msgspec.Raw(one.result.encode()),
        }
        for one in known
        if one.complete
    ]
    return msgspec.Raw(to_json({"items": items}))
