"""Store the next revision of a workflow, recorded as a plan, and compare revisions."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from rekindle.domain.actions import retire_sets
from rekindle.domain.changes.differences import parameter_differences
from rekindle.domain.changes.revisions import (
    RevisedJob,
    RevisionDiff,
    RevisionOutline,
    diff_outlines,
    dropped_warnings,
    pair_by_name,
    revision_plan,
    revision_reason,
)
from rekindle.domain.changes.staleness import uses_changed_params
from rekindle.domain.definition import Definition, JobNode, split_job_name
from rekindle.domain.errors import NotFound, SubmitRefused
from rekindle.domain.graph import find_cycle
from rekindle.domain.rerun.plan import ReasonKind, RerunPlan
from rekindle.domain.texts.display import list_names
from rekindle.engine.canaries import resolve_canaries
from rekindle.engine.dynamic_actions import sets_below
from rekindle.engine.results import SubmitResult
from rekindle.engine.retention.regenerate import regenerate_for_waiting
from rekindle.store.templates import binding_text

if TYPE_CHECKING:
    from rekindle.domain.models import Workflow
    from rekindle.domain.rerun.resolve import Exists
    from rekindle.engine.session import Session
    from rekindle.store.archive import Snapshot, Transaction
    from rekindle.store.revisions import RevisionChanges


def may_replace_source(session: Session, definition: Definition, revision_of: int | None = None) -> bool:
    """Return whether a definition from another path may become the next revision without `revise`: both paths are one
    file, or the workflow's file is missing, so that it was probably renamed."""
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


def revise_workflow(
    archive: Transaction, known: Workflow, definition: Definition, now: float, exists: Exists, *, revise: bool = False
) -> SubmitResult:
    """Store a definition as the next revision of a workflow, and record the changes as a rerun of kind `revision`.
    Nothing is stored if definition and parameters are unchanged. With `revise`, the definition may come from another
    file, which becomes the workflow's file. SubmitRefused if the definition cannot be a revision. `exists`: see
    `KnownPaths`."""
    if known.directory != definition.directory:
        gone = "" if exists(known.directory) else ", which is missing"
        raise SubmitRefused(
            f"this store has a workflow {known.name!r} from another folder, {known.directory}{gone}",
            hint="--as NAME submits this one under a name of its own; `rekindle init` makes a store here",
        )
    moved = _replaced_source(known, definition, revise)
    if is_unchanged(archive, known, definition):
        if moved:
            archive.workflows.set_source(known.id, definition.source)
        jobs = len(definition.jobs)
        return SubmitResult(known.id, known.name, known.revision, jobs, created=False, unchanged=True, replaces=moved)
    definition = with_stored_names(archive, known, definition)
    _refuse_removing_running(archive, known, definition)
    _refuse_taken_names(archive, known, definition)
    revised = archive.workflows.revise(known.id, definition, now)
    dropped = dropped_warnings(revised.dropped)
    plan = _revision_plan(archive, revised, _retire_added_jobs(archive, known, revised), dropped)
    params = archive.workflows.params(known.id, known.revision)
    differing = parameter_differences(params, definition.params)
    rerun = _record_revision(archive, known, definition, revised, plan, now)
    resolve_canaries(archive, now, exists)
    if again := regenerate_for_waiting(archive, known.id, now, exists):
        dropped += (f"{list_names(again)} run{'' if len(again) > 1 else 's'} again: its temporary output is gone",)
    return SubmitResult(
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
        using=_count_jobs_using(definition, params) if differing else 0,
        warnings=dropped,
        replaces=moved,
    )


def with_stored_names(archive: Snapshot, known: Workflow, definition: Definition) -> Definition:
    """Return a definition whose matrix keys have the order used in the names of the workflow's jobs. Reordering the
    axes in the spec must not create new jobs."""
    stored = ((name, name) for name in archive.dynamic_actions.submitted_names(known.id))
    defined = ((job.name, job.name) for job in definition.jobs)
    entries = {split_job_name(new)[0] for old, new in pair_by_name(stored, defined) if old is None and new is not None}
    orders: dict[tuple[str, frozenset[str]], list[str]] = {}
    for name in archive.dynamic_actions.submitted_names(known.id) if entries else ():
        entry, labels = split_job_name(name) if name.partition("[")[0] in entries else (name, {})
        if labels:
            orders.setdefault((entry, frozenset(labels)), list(labels))
    if not orders:
        return definition
    return replace(definition, jobs=[_with_matrix_order(job, orders) for job in definition.jobs])


def _with_matrix_order(job: JobNode, orders: Mapping[tuple[str, frozenset[str]], list[str]]) -> JobNode:
    entry, labels = split_job_name(job.name)
    order = orders.get((entry, frozenset(labels)))
    if order is None or order == list(labels):
        return job
    binding = {key: job.binding[key] for key in (*order, *job.binding)}
    return replace(job, name=f"{entry}[{','.join(f'{key}={labels[key]}' for key in order)}]", binding=binding)


def _record_revision(
    archive: Transaction, known: Workflow, definition: Definition, revised: RevisionChanges, plan: RerunPlan, now: float
) -> int:
    """Record a revision as a rerun and an event; return the rerun's number."""
    request = {
        "workflow": known.id,
        "name": known.name,
        "revision": revised.revision,
        "source": definition.source,
        "params": dict(definition.params),
    }
    rerun = archive.reruns.record(plan, "revision", request, None, now)
    archive.workflows.set_rerun(known.id, revised.revision, rerun)
    detail = {
        "revision": revised.revision,
        "rerun": rerun,
        "added": len(revised.added),
        "retired": len(revised.retired),
        "changed": len(revised.changed),
    }
    archive.events.add(now, "revised", known.id, detail)
    return rerun


def _replaced_source(known: Workflow, definition: Definition, revise: bool) -> str | None:
    """Return the workflow's current file ("Python" if it has none) if the definition comes from another one, otherwise
    None. SubmitRefused unless `revise`."""
    if known.source == definition.source:
        return None
    if revise:
        return known.source or "Python"
    one, other = (f"the file {each}" if each else "Python" for each in (known.source, definition.source))
    raise SubmitRefused(
        f"this store has a workflow {known.name!r} from {one}, and this one is from {other}",
        hint="--as NAME submits this one as another workflow, --revise as the next revision of that one",
    )


def is_unchanged(archive: Snapshot, known: Workflow, definition: Definition) -> bool:
    """Return whether a definition and its parameters equal the latest revision of a workflow, whichever file they come
    from."""
    if (known.source_digest, known.directory) != (definition.source_digest, definition.directory):
        return False
    params = archive.workflows.params(known.id, known.revision)
    # compared as JSON text, because True == 1 == 1.0 in Python
    return json.dumps(params, sort_keys=True) == json.dumps(dict(definition.params), sort_keys=True)


def _count_jobs_using(definition: Definition, before: Mapping[str, Any]) -> int:
    """Return the number of jobs that use a changed parameter."""
    jobs = Counter(job.template for job in definition.jobs)
    return sum(
        jobs[at] for at, one in enumerate(definition.templates) if uses_changed_params(one, before, definition.params)
    )


def _revision_plan(
    archive: Snapshot, revised: RevisionChanges, retired_too: Sequence[int], warnings: tuple[str, ...]
) -> RerunPlan:
    """Return what the revision did. `retired_too` are the jobs that retired jobs had added."""
    jobs = list(revised.jobs)
    standing = archive.workflows.job_status([*(job.id for job in jobs), *retired_too])
    known = {job.id for job in jobs}
    retired = (revision_reason(ReasonKind.RETIRED, revised.revision),)
    versions = {job.id: job.version for job in archive.jobs.get(retired_too)}
    for job in retired_too:
        if job not in known:
            name, state, _ = standing[job]
            jobs.append(RevisedJob(job, name, versions[job], state, retired))
    return revision_plan(jobs, standing, warnings)


def _refuse_removing_running(archive: Snapshot, known: Workflow, definition: Definition) -> None:
    active = [attempt.job for attempt in archive.attempts.active() if attempt.workflow == known.id]
    if not active:
        return
    kept = {job.name for job in definition.jobs}
    jobs = archive.jobs.get(sorted(active))
    adders = _spec_adders(archive, [job.id for job in jobs if job.added_by is not None])
    gone = [job.name for job in jobs if adders.get(job.id, job.name) not in kept]
    if gone:
        raise SubmitRefused(
            f"the new revision leaves out jobs that run now: {', '.join(gone[:10])}",
            hint="wait for them, or end them with `rekindle cancel`",
        )


def outline_of(definition: Definition) -> RevisionOutline:
    """Return the outline by which revisions of a definition are compared."""
    names = [job.name for job in definition.jobs]
    return RevisionOutline(
        params=definition.params,
        templates=dict(enumerate(definition.templates)),
        jobs={job.name: (job.template, binding_text(job.binding)) for job in definition.jobs},
        edges={(names[parent], names[child]) for parent, child in definition.edges},
    )


def compare_revisions(session: Session, workflow: Workflow, a: int, b: int | Definition) -> RevisionDiff:
    """Return the differences from revision `a` to `b`, which is a revision or a definition. NotFound if a revision does
    not exist."""
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
    return diff_outlines(one, other)


def _refuse_taken_names(archive: Snapshot, known: Workflow, definition: Definition) -> None:
    """Raise SubmitRefused if a job of the spec has the name of a job that an action added."""
    added = set(archive.dynamic_actions.names(known.id))
    clash = next((job.name for job in definition.jobs if job.name in added), None)
    if clash is None:
        return
    job = archive.jobs.named([clash], known.id)[clash]
    adder = archive.dynamic_actions.adders(job)[job[0]]
    raise SubmitRefused(
        f"{clash!r:.80} is the name of a job that `{adder.name}` added",
        hint="name one of them otherwise, or submit it as a workflow of its own: --new",
    )


def _spec_adders(archive: Snapshot, jobs: Sequence[int]) -> dict[int, str]:
    """Return, by job, the name of the spec's job that added it, directly or through other jobs."""
    found: dict[int, str] = {}
    pending = {job: job for job in jobs}
    while pending:
        adders = archive.dynamic_actions.adders(sorted(set(pending.values())))
        for job, at in list(pending.items()):
            if at in adders:
                found[job], pending[job] = adders[at].name, adders[at].job
            else:
                del pending[job]
    return found


def _retire_added_jobs(archive: Transaction, known: Workflow, revised: RevisionChanges) -> list[int]:
    """After a revision, retire the jobs that retired jobs had added, and end their actions and edges. Return the added
    jobs that were retired. SubmitRefused if the result has a cycle; the transaction must then be rolled back."""
    retired_too: list[int] = []
    if revised.retired:
        named = archive.jobs.named(list(revised.retired), known.id)
        gone = [job for jobs in named.values() for job in jobs]
        ending = archive.dynamic_actions.in_force(gone).values()
        retired, ended = retire_sets(ending, sets_below(archive, list(ending)))
        retired_too = sorted(set(retired) - set(gone))
        archive.dynamic_actions.end(ended, sorted({*gone, *retired}))
    if archive.dynamic_actions.has_edges(known.id):
        edges = archive.workflows.edges(known.id)
        at = {job: position for position, job in enumerate(sorted({job for edge in edges for job in edge}))}
        circle = find_cycle(len(at), [(at[parent], at[child]) for parent, child in edges])
        if circle:
            jobs = sorted(at)
            names = [job.name for job in archive.jobs.get([jobs[one] for one in circle])]
            raise SubmitRefused(
                f"with the jobs that actions added, jobs would need each other in a cycle: {' before '.join(names)}",
                hint="rerun the job that added them with --undo-dynamic first",
            )
    return retired_too
