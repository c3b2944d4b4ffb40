"""The next revision of a workflow: made in one transaction, and recorded as a plan. And two revisions, compared."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rekindle.domain.changes.differences import parameter_differences
from rekindle.domain.changes.outdated import warnings_of
from rekindle.domain.changes.revisions import (
    Outline,
    RevisedJob,
    RevisionDiff,
    compare,
    revision_plan,
    revision_reason,
)
from rekindle.domain.changes.staleness import uses_changed
from rekindle.domain.definition import Definition, JobNode
from rekindle.domain.errors import NotFound, SubmitRefused
from rekindle.domain.models import Workflow
from rekindle.domain.rerunning.rerun import ReasonKind, RerunPlan
from rekindle.domain.texts.jobnames import labels_of
from rekindle.engine.acting.joining import first_adders, join_revision, refuse_taken_names
from rekindle.engine.planning.canaries import settle
from rekindle.engine.results import Submitted
from rekindle.engine.session import Session
from rekindle.store.port import Archive, Revised
from rekindle.store.templates import binding_text


def takes_over(session: Session, definition: Definition, revision_of: int | None = None) -> bool:
    """Whether a definition may become the next revision without being asked to, though its file has another path than
    the workflow's: both paths are one file, or the workflow's file is gone, so that it was probably renamed."""
    with session.store.read() as archive:
        known = archive.workflows.find(revision_of or definition.name)
    if known is None or known.source is None or known.source == definition.source:
        return False
    try:
        found = os.stat(known.source)  # noqa: PTH116 the two are compared
        return definition.source is not None and os.path.samestat(found, os.stat(definition.source))  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False


def resubmit(
    archive: Archive, known: Workflow, definition: Definition, now: float, *, revise: bool = False
) -> Submitted:
    """Make a definition the next revision of a workflow, and record what that did as a rerun of kind `revision`;
    nothing where definition and parameters are as they were. With `revise` the definition may come from another file
    than the workflow, which is the workflow's file from then on. SubmitRefused says what stands in the way."""
    if known.directory != definition.directory:
        gone = "" if Path(known.directory).is_dir() else ", which is missing"
        raise SubmitRefused(
            f"this store has a workflow {known.name!r} from another folder, {known.directory}{gone}",
            hint="--as NAME submits this one under a name of its own",
        )
    moved = _moved(known, definition, revise)
    definition = with_stored_names(archive, known, definition)
    if unchanged(archive, known, definition):
        if moved:
            archive.workflows.set_source(known.id, definition.source)
        jobs = len(definition.jobs)
        return Submitted(known.id, known.name, known.revision, jobs, created=False, unchanged=True, replaces=moved)
    _refuse_losing_what_runs(archive, known, definition)
    refuse_taken_names(archive, known, definition)
    revised = archive.workflows.revise(known.id, definition, now)
    dropped = warnings_of(revised.dropped)
    plan = _plan(archive, revised, join_revision(archive, known, revised), dropped)
    params = archive.workflows.params(known.id, known.revision)
    differing = parameter_differences(params, definition.params)
    rerun = _recorded(archive, known, definition, revised, plan, now)
    settle(archive, now)
    return Submitted(
        known.id,
        known.name,
        revised.revision,
        jobs=len(definition.jobs),
        created=False,
        added=revised.added,
        retired=revised.retired,
        changed=revised.changed,
        rerun=rerun,
        plan=plan,
        params=differing,
        using=_using(definition, params) if differing else 0,
        warnings=dropped,
        replaces=moved,
    )


def with_stored_names(archive: Archive, known: Workflow, definition: Definition) -> Definition:
    """Return a definition whose jobs have the keys of their matrix in the order that the names of the workflow's jobs
    have: another order of the axes in the spec makes no other jobs."""
    stored = archive.workflows.outline(known.id, known.revision).jobs
    orders: dict[tuple[str, frozenset[str]], list[str]] = {}
    if all(job.name in stored for job in definition.jobs):
        return definition
    for name in stored:
        entry, labels = labels_of(name)
        if labels:
            orders.setdefault((entry, frozenset(labels)), list(labels))
    return replace(definition, jobs=[_with_order(job, orders) for job in definition.jobs])


def _with_order(job: JobNode, orders: Mapping[tuple[str, frozenset[str]], list[str]]) -> JobNode:
    entry, labels = labels_of(job.name)
    order = orders.get((entry, frozenset(labels)))
    if order is None or order == list(labels):
        return job
    binding = {key: job.binding[key] for key in (*order, *job.binding)}
    return replace(job, name=f"{entry}[{','.join(f'{key}={labels[key]}' for key in order)}]", binding=binding)


def _recorded(
    archive: Archive, known: Workflow, definition: Definition, revised: Revised, plan: RerunPlan, now: float
) -> int:
    """Record a revision as a rerun, and as an event; returns the rerun's number."""
    request = {
        "workflow": known.id,
        "name": known.name,
        "revision": revised.revision,
        "source": definition.source,
        "params": dict(definition.params),
    }
    rerun = archive.reruns.record(plan, "revision", request, None, now)
    archive.workflows.recorded(known.id, revised.revision, rerun)
    detail = {
        "revision": revised.revision,
        "rerun": rerun,
        "added": len(revised.added),
        "retired": len(revised.retired),
        "changed": len(revised.changed),
    }
    archive.events.add(now, "revised", known.id, detail)
    return rerun


def _moved(known: Workflow, definition: Definition, revise: bool) -> str | None:
    """The workflow's file so far ("Python" where there is none), if the definition comes from another one; None: it
    comes from the same. SubmitRefused unless `revise`."""
    if known.source == definition.source:
        return None
    if revise:
        return known.source or "Python"
    one, other = (f"the file {each}" if each else "Python" for each in (known.source, definition.source))
    raise SubmitRefused(
        f"this store has a workflow {known.name!r} from {one}, and this one is from {other}",
        hint="--as NAME submits this one as another workflow, --revise as the next revision of that one",
    )


def unchanged(archive: Archive, known: Workflow, definition: Definition) -> bool:
    """Return whether a definition and its parameters are those of the latest revision of a workflow, whatever file it
    comes from."""
    if (known.source_digest, known.directory) != (definition.source_digest, definition.directory):
        return False
    params = archive.workflows.params(known.id, known.revision)
    # as JSON text, because Python takes true, 1 and 1.0 for the same value
    return json.dumps(params, sort_keys=True) == json.dumps(dict(definition.params), sort_keys=True)


def _using(definition: Definition, before: Mapping[str, Any]) -> int:
    """How many jobs use a parameter that has changed."""
    jobs = Counter(job.template for job in definition.jobs)
    return sum(jobs[at] for at, one in enumerate(definition.templates) if uses_changed(one, before, definition.params))


def _plan(archive: Archive, revised: Revised, went_along: Sequence[int], warnings: tuple[str, ...]) -> RerunPlan:
    """What the revision did; `went_along` are the jobs that retired ones had added."""
    jobs = list(revised.jobs)
    standing = archive.workflows.standing([*(job.id for job in jobs), *went_along])
    known = {job.id for job in jobs}
    retired = (revision_reason(ReasonKind.RETIRED, revised.revision),)
    versions = {job.id: job.version for job in archive.jobs.get(went_along)}
    for job in went_along:
        if job not in known:
            name, state, _ = standing[job]
            jobs.append(RevisedJob(job, name, versions[job], state, retired))
    return revision_plan(jobs, standing, warnings)


def _refuse_losing_what_runs(archive: Archive, known: Workflow, definition: Definition) -> None:
    active = [attempt.job for attempt in archive.attempts.active() if attempt.workflow == known.id]
    if not active:
        return
    kept = {job.name for job in definition.jobs}
    jobs = archive.jobs.get(sorted(active))
    adders = first_adders(archive, [job.id for job in jobs if job.added_by is not None])
    gone = [job.name for job in jobs if adders.get(job.id, job.name) not in kept]
    if gone:
        raise SubmitRefused(
            f"the new revision leaves out jobs that run now: {', '.join(gone[:10])}",
            hint="wait for them, or end them with `rekindle cancel`",
        )


def outline_of(definition: Definition) -> Outline:
    """A definition, as revisions are compared."""
    names = [job.name for job in definition.jobs]
    return Outline(
        params=definition.params,
        templates=dict(enumerate(definition.templates)),
        jobs={job.name: (job.template, binding_text(job.binding)) for job in definition.jobs},
        edges={(names[parent], names[child]) for parent, child in definition.edges},
    )


def compare_revisions(session: Session, workflow: Workflow, a: int, b: int | Definition) -> RevisionDiff:
    """What differs in `b`, a revision or what may become one, from revision `a`. NotFound names one that is not
    there."""
    with session.store.read() as archive:
        for number in (a, b) if isinstance(b, int) else (a,):
            if not 1 <= number <= workflow.revision:
                raise NotFound(
                    f"{workflow.name} has no revision {number}", hint=f"its revisions are 1 to {workflow.revision}"
                )
        one = archive.workflows.outline(workflow.id, a)
        other = (
            archive.workflows.outline(workflow.id, b)
            if isinstance(b, int)
            else outline_of(with_stored_names(archive, workflow, b))
        )
    return compare(one, other)
