"""The JSON documents that the reading commands print, and the HTTP API returns: from a session and checked values.
Commands write the rows of long lists one by one: these rows have functions of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rekindle.engine.queries import lists, selections, workflow_queries
from rekindle.presentation import documents

if TYPE_CHECKING:
    from rekindle.domain.selection import Selection
    from rekindle.engine.queries.forecasts import ForecastOptions
    from rekindle.engine.queries.lists import AttemptRow
    from rekindle.engine.results import PageRequest
    from rekindle.engine.session import Session
    from rekindle.engine.staleness.contents import ReadProgress


def status(session: Session, workflow: str | None, page: PageRequest) -> dict[str, Any]:
    """Return each workflow at a glance: its state, counts, failures and runners."""
    found = page.of(workflow_queries.status(session, workflow))
    return {"workflows": [documents.workflow_status(one) for one in found]}


def workflows_list(session: Session, page: PageRequest, *, archived: bool = False) -> dict[str, Any]:
    """Return the workflows of the store."""
    found = page.of(workflow_queries.workflows(session, archived))
    return {"workflows": [documents.workflow(one) for one in found]}


def workflows_show(session: Session, workflow: str) -> dict[str, Any]:
    """Return a workflow with its state, templates and revisions."""
    found = workflow_queries.status(session, workflow)[0]
    number = found.workflow.id
    return {
        **documents.workflow_status(found),
        "on": {hook.event: hook.target for hook in workflow_queries.hooks(session, number)},
        "templates": [documents.template(one) for one in workflow_queries.templates(session, number)],
        "revisions": [
            {"revision": one.number, "submitted": documents.iso(one.submitted), "rerun": one.rerun}
            for one in workflow_queries.revision_history(session, number)
        ],
    }


def workflows_diff(
    session: Session,
    workflow: str,
    revisions: Sequence[int] = (),
    spec: Path | None = None,
    params: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return what differs between two revisions, or from a spec file."""
    from rekindle.engine.submit.workflow_diff import diff_workflow
    from rekindle.presentation.revisions import diff_json

    found = diff_workflow(session, workflow, revisions, spec, params)
    differences = diff_json(found.differences)
    return {
        "workflow": found.workflow.id,
        "name": found.workflow.name,
        "from": found.a,
        "to": found.b,
        "spec": str(found.spec) if found.spec else None,
        "unchanged": not any(differences.values()),
        **differences,
    }


def jobs_list(
    session: Session, selection: Selection, page: PageRequest, progress: ReadProgress | None = None
) -> dict[str, Any]:
    """Return the jobs of a selection."""
    with lists.jobs(session, selection, page, progress) as found:
        return {"jobs": [documents.job(row, known_stale(selection)) for row in found.rows]}


def known_stale(selection: Selection) -> bool | None:
    """Return whether the jobs of a selection are stale. Only a selection of stale jobs says so."""
    return True if selection.changed else None


def jobs_show(session: Session, jobs: Sequence[int], progress: ReadProgress | None = None) -> dict[str, Any]:
    """Return everything about a job; about several, a list."""
    from rekindle.engine.queries.details import job_details
    from rekindle.presentation import job_documents

    return job_documents.jobs_details(job_details(session, jobs, progress))


def attempts_list(session: Session, selection: Selection, page: PageRequest, *, live: bool = False) -> dict[str, Any]:
    """Return the attempts of a selection's jobs, archived ones too unless `live`; the oldest comes first."""
    with lists.attempts(session, selection, page, live=live) as found:
        return {"attempts": [attempt_row(row) for row in found.rows]}


def attempt_row(row: AttemptRow) -> dict[str, Any]:
    """Return an attempt of a list."""
    return documents.attempt(row.attempt, row.workdir, row.subtasks, row.retries, row.partial)


def attempts_show(session: Session, attempt: int, page: PageRequest) -> dict[str, Any]:
    """Return everything about an attempt. `page`: of the subtasks of each step."""
    from rekindle.engine.queries.details import attempt_details
    from rekindle.presentation import job_documents

    return job_documents.attempt_details(attempt_details(session, attempt), page)


def attempts_diff(session: Session, a: int, b: int, progress: ReadProgress | None = None) -> dict[str, Any]:
    """Return what differs between two attempts."""
    from rekindle.engine.queries.attempt_comparison import compare_attempts
    from rekindle.presentation import job_documents

    return job_documents.attempt_comparison(compare_attempts(session, a, b, progress))


def lineage(session: Session, path: str, progress: ReadProgress | None = None) -> dict[str, Any]:
    """Return where a file comes from, and what depends on it."""
    from rekindle.engine.queries.lineage import lineage
    from rekindle.presentation import job_documents

    return job_documents.lineage(lineage(session, path, progress))


def workflows_compare(session: Session, a: str, b: str) -> dict[str, Any]:
    """Return where two workflows part."""
    from rekindle.engine.queries.run_comparison import compare_runs
    from rekindle.presentation import job_documents

    return job_documents.run_comparison(compare_runs(session, a, b))


def forecast(session: Session, options: ForecastOptions) -> dict[str, Any]:
    """Return when unfinished jobs will be done, and which decide it."""
    from rekindle.engine.queries.forecasts import forecast_store
    from rekindle.presentation import forecasts

    return forecasts.forecast(forecast_store(session, options))


def failures(session: Session, workflow: str | None, page: PageRequest, *, archived: bool = False) -> dict[str, Any]:
    """Return the failed attempts by their error, the largest group first; of `archived` attempts too."""
    from rekindle.domain.batches.quarantine import covered_jobs
    from rekindle.engine.queries import failure_queries
    from rekindle.presentation import batch_documents

    groups = page.of(failure_queries.failures(session, workflow, archived))
    examples = failure_queries.failure_examples(session, groups)
    partial = failure_queries.partial_outputs_of_failures(session, groups, archived)
    covered = covered_jobs(failure_queries.quarantined(session, workflow))
    waits = failure_queries.undecided(session, groups)
    return {
        "failures": [
            batch_documents.failure(one, examples.get(one.signature), partial.get(one.signature, ()), covered, waits)
            for one in groups
        ]
    }


def flaky(
    session: Session,
    selection: Selection,
    page: PageRequest,
    progress: ReadProgress | None = None,
    *,
    every: bool = False,
) -> dict[str, Any]:
    """Return which jobs of a selection fail sometimes, and how often; with `every`, all that have ended."""
    from rekindle.engine.queries.flaky_queries import flaky_jobs_with_rows
    from rekindle.presentation import batch_documents

    found, rows = flaky_jobs_with_rows(session, selections.select(session, selection, progress), every=every)
    return {"flaky": batch_documents.flaky_jobs(page.of(found), rows)}


def reruns_list(session: Session, workflow: str | None, page: PageRequest) -> dict[str, Any]:
    """Return the reruns that were applied, newest first."""
    found = lists.reruns(session, workflow, page)
    return {"reruns": [documents.rerun(record, touched) for record, touched in found.rows]}


def reruns_show(session: Session, rerun: int) -> dict[str, Any]:
    """Return an applied rerun: its request, and its plan."""
    from rekindle.presentation import batch_documents

    return batch_documents.rerun_details(
        workflow_queries.rerun(session, rerun),
        workflow_queries.reuse_checks(session, rerun),
        workflow_queries.canary_groups(session, rerun),
    )


def events_list(session: Session, workflow: str | None, page: PageRequest) -> dict[str, Any]:
    """Return what happened, oldest first; a page counts from the newest event."""
    with lists.events(session, workflow, page) as found:
        return {"events": [documents.event(one) for one in found.rows]}


def why(
    session: Session, selection: Selection, page: PageRequest, progress: ReadProgress | None = None
) -> dict[str, Any]:
    """Return whether the jobs of a selection would run again, and why or why not."""
    from rekindle.engine.queries.details import explanations
    from rekindle.presentation import job_documents

    jobs = page.of(selections.select(session, selection, progress))
    found = explanations(session, jobs, progress, strict=selection.changed == "all")
    return {"jobs": [*job_documents.explanations(found)]}
