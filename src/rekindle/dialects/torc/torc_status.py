"""torc's statuses, return codes and documents of jobs and results."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rekindle.domain.rerun.request import RESET_HOLD
from rekindle.domain.restart_choice import ended_by_itself
from rekindle.domain.states import Cause, State
from rekindle.engine.queries import job_queries, selections, workflow_queries

if TYPE_CHECKING:
    from rekindle.domain.definition import JobTemplate
    from rekindle.domain.models import Attempt, Job, Workflow
    from rekindle.engine.results import JobRow
    from rekindle.engine.session import Session

_SIGNAL_BASE = 128
_DEFAULT_FAILURE_CODE = 1
"""The return code of a job that failed although its command exited with 0, for instance without a declared output."""

_STATUSES = {
    State.WAITING: "blocked",
    State.READY: "ready",
    State.QUEUED: "submitted_pending",
    State.RUNNING: "submitted",
    State.COMPLETED: "done",
    State.CANCELED: "canceled",
}
NEWER_STATUSES = {
    State.QUEUED: "pending",
    State.RUNNING: "running",
    State.COMPLETED: "completed",
    State.FAILED: "failed",
}
"""Statuses of torc since 0.8, which filters accept too."""


def job_documents(session: Session, workflow: Workflow) -> list[dict[str, Any]]:
    """Return the jobs of a workflow as torc lists them."""
    rows = jobs_of(session, workflow)
    templates = {template.name: template for template in workflow_queries.templates(session, workflow.id)}
    blocked = _blocked_by_failure(session, rows, templates)
    runs = RunNumbers(session, workflow)
    return [
        _job_document(row, templates.get(row.job.name), row.job.id in blocked, runs)
        for row in rows
        if not row.job.retired
    ]


def jobs_of(session: Session, workflow: Workflow) -> list[JobRow]:
    """Return all jobs of a workflow by id, including retired ones."""
    from rekindle.domain.selection import Selection

    return job_queries.jobs(session, selections.select(session, Selection(workflow=str(workflow.id))))


def status_of(job: Job, attempt: Attempt | None, blocked: bool = False) -> str:
    """Return torc's status. `done`: the job's command exited, with any return code; `terminated`: it was ended
    otherwise. `blocked`: a failed dependency keeps the job from starting."""
    if job.retired:
        return "disabled"
    if job.held == RESET_HOLD and job.attempt is None:
        return "uninitialized"
    if job.state is State.FAILED:
        return "done" if ended_by_itself(job.state, attempt.cause if attempt else None) else "terminated"
    if job.state is State.WAITING and blocked:
        return "canceled"
    return "blocked" if job.state is State.READY and job.held is not None else _STATUSES[job.state]


def return_code(attempt: Attempt) -> int | None:
    """Return the code that a shell would report (128 + n for signal n), or None if the job was ended otherwise."""
    if attempt.state is State.COMPLETED:
        return 0
    if attempt.signal is not None:
        return _SIGNAL_BASE + attempt.signal
    if attempt.cause in (Cause.EXIT, Cause.MISSING_OUTPUT, Cause.EXCEPTION, Cause.SUBTASKS):
        return attempt.exit_code or _DEFAULT_FAILURE_CODE
    return None


class RunNumbers:
    """The run numbers of a workflow: 1, and 1 more after each restart."""

    def __init__(self, session: Session, workflow: Workflow) -> None:
        records = (record for record, _ in workflow_queries.reruns(session, str(workflow.id)))
        self._restarts = sorted(one.at for one in records if one.kind == "restart" and one.undone is None)

    @property
    def current(self) -> int:
        """Return the number of the present run."""
        return 1 + len(self._restarts)

    def of(self, attempt: Attempt) -> int:
        """Return the number of the run in which an attempt began."""
        began = attempt.queued or attempt.started or 0.0
        return 1 + sum(at <= began for at in self._restarts)


def result_document(attempt: Attempt, name: str, runs: RunNumbers) -> dict[str, Any]:
    """Return an ended attempt as torc lists results. `cause` is an extra field: why it did not succeed."""
    seconds = attempt.ended - attempt.started if attempt.ended and attempt.started else None
    cpu = 100 * attempt.cpu_seconds / seconds if seconds and attempt.cpu_seconds is not None else None
    return {
        "key": str(attempt.id),
        "job_key": str(attempt.job),
        "job_id": attempt.job,
        "job_name": name,
        "workflow_key": str(attempt.workflow),
        "run_id": runs.of(attempt),
        "attempt_id": attempt.number,
        "compute_node": attempt.host,
        "return_code": return_code(attempt),
        "exec_time_minutes": None if seconds is None else seconds / 60,
        "completion_time": None if attempt.ended is None else utc_text(attempt.ended),
        "status": "done" if ended_by_itself(attempt.state, attempt.cause) else _ended_status(attempt),
        "peak_memory_bytes": attempt.max_rss_bytes,
        "avg_memory_bytes": None,
        "peak_cpu_percent": None,
        "avg_cpu_percent": cpu,
        "cause": attempt.cause.value if attempt.cause else None,
        "archived": attempt.archived_by is not None,
    }


def count_statuses(documents: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Count jobs by status."""
    counts: dict[str, int] = {}
    for one in documents:
        counts[one["status"]] = counts.get(one["status"], 0) + 1
    return counts


def _job_document(row: JobRow, template: JobTemplate | None, blocked: bool, runs: RunNumbers) -> dict[str, Any]:
    job, live = row.job, row.attempt
    ended = live is not None and live.ended is not None
    return {
        "key": str(job.id),
        "id": job.id,
        "name": job.name,
        "command": _command_text(template) if template else None,
        "status": status_of(job, live, blocked),
        "return_code": return_code(live) if live is not None and ended else None,
        "run_id": runs.of(live) if live else None,
        "attempt_id": live.number if live else None,
        "cancel_on_blocking_job_failure": template is None or template.when == "completed",
        "priority": job.priority,
        "cause": live.cause.value if live and live.cause else None,
        "later_status": NEWER_STATUSES.get(job.state),
    }


def _command_text(template: JobTemplate) -> str | None:
    """Return the command as the shell gets it; of a job that torc commands did not add, that of its first step."""
    run = template.steps[0].run
    if run is None or isinstance(run, str):
        return run and run.replace("$${", "${")
    return shlex.join(run)


def _blocked_by_failure(session: Session, rows: Sequence[JobRow], templates: Mapping[str, JobTemplate]) -> set[int]:
    """Return the waiting jobs below a failed or canceled one, except those that also run after a failure."""
    waiting = {row.job.id for row in rows if row.job.state is State.WAITING and not row.job.retired}
    runs_after_failure = {
        row.job.id for row in rows if row.job.name in templates and templates[row.job.name].when == "finished"
    }
    found: set[int] = set()
    edge = [row.job.id for row in rows if row.job.state in (State.FAILED, State.CANCELED) and not row.job.retired]
    while edge:
        below = {child for children in job_queries.child_ids(session, edge).values() for child in children}
        edge = sorted((below & waiting) - runs_after_failure - found)
        found.update(edge)
    return found


def _ended_status(attempt: Attempt) -> str:
    return "canceled" if attempt.state is State.CANCELED else "terminated"


def utc_text(at: float) -> str:
    """Return a time as torc writes it."""
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
