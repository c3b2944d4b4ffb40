"""How a job stands, in torc's words, and what became of its attempts, in torc's fields."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rekindle.domain.causes import Cause
from rekindle.domain.definition import JobTemplate
from rekindle.domain.models import Attempt, Job, Workflow
from rekindle.domain.rerunning.rerun import RESET_HOLD
from rekindle.domain.rerunning.restarting import ended_by_itself
from rekindle.domain.states import State
from rekindle.engine.looking import look
from rekindle.engine.results import JobRow
from rekindle.engine.session import Session

_SHELLS_SIGNAL = 128
_WITHOUT_CODE = 1
"""The return code of what failed though its command ended with 0, as without a declared output."""

_PLAIN = {
    State.WAITING: "blocked",
    State.READY: "ready",
    State.QUEUED: "submitted_pending",
    State.RUNNING: "submitted",
    State.COMPLETED: "done",
    State.CANCELED: "canceled",
}
LATER_WORDS = {
    State.QUEUED: "pending",
    State.RUNNING: "running",
    State.COMPLETED: "completed",
    State.FAILED: "failed",
}
"""Those of torc since 0.8, which filters take too."""


def job_documents(session: Session, workflow: Workflow) -> list[dict[str, Any]]:
    """The jobs of a workflow, as torc lists them."""
    rows = jobs_of(session, workflow)
    bodies = {body.name: body for body in look.templates(session, workflow.id)}
    doomed = _doomed(session, rows, bodies)
    runs = Runs(session, workflow)
    return [_job(row, bodies.get(row.job.name), row.job.id in doomed, runs) for row in rows if not row.job.retired]


def jobs_of(session: Session, workflow: Workflow) -> list[JobRow]:
    """All jobs of a workflow, retired ones too, by id."""
    from rekindle.domain.selection import Selection

    return look.jobs(session, look.select(session, Selection(workflow=str(workflow.id))))


def status_of(job: Job, attempt: Attempt | None, doomed: bool = False) -> str:
    """One word. `done` is what came to an end of its own, with whatever return code; `terminated` what did not.
    `doomed`: something that it needs has failed, so that it cannot start."""
    if job.retired:
        return "disabled"
    if job.held == RESET_HOLD and job.attempt is None:
        return "uninitialized"
    if job.state is State.FAILED:
        return "done" if ended_by_itself(job.state, attempt.cause if attempt else None) else "terminated"
    if job.state is State.WAITING and doomed:
        return "canceled"
    return "blocked" if job.state is State.READY and job.held is not None else _PLAIN[job.state]


def return_code(attempt: Attempt) -> int | None:
    """As a shell tells it: 128 + n for signal n. None: it came to no end of its own that has a code."""
    if attempt.state is State.COMPLETED:
        return 0
    if attempt.signal is not None:
        return _SHELLS_SIGNAL + attempt.signal
    if attempt.cause in (Cause.EXIT, Cause.MISSING_OUTPUT, Cause.EXCEPTION, Cause.SUBTASKS):
        return attempt.exit_code or _WITHOUT_CODE
    return None


class Runs:
    """Which run of a workflow an attempt belongs to: 1, and 1 more after each restart."""

    def __init__(self, session: Session, workflow: Workflow) -> None:
        records = (record for record, _ in look.reruns(session, str(workflow.id)))
        self._restarts = sorted(one.at for one in records if one.kind == "restart" and one.undone is None)

    @property
    def now(self) -> int:
        """The present one."""
        return 1 + len(self._restarts)

    def of(self, attempt: Attempt) -> int:
        """The one in which an attempt was begun."""
        began = attempt.queued or attempt.started or 0.0
        return 1 + sum(at <= began for at in self._restarts)


def result_document(attempt: Attempt, name: str, runs: Runs) -> dict[str, Any]:
    """An attempt that has ended, as torc has results; `cause` is ours: why it did not succeed, of every one."""
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
        "completion_time": _when(attempt.ended),
        "status": "done" if ended_by_itself(attempt.state, attempt.cause) else _ended(attempt),
        "peak_memory_bytes": attempt.max_rss_bytes,
        "avg_memory_bytes": None,
        "peak_cpu_percent": None,
        "avg_cpu_percent": cpu,
        "cause": attempt.cause.value if attempt.cause else None,
        "archived": attempt.archived_by is not None,
    }


def counted(documents: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many jobs have which status."""
    counts: dict[str, int] = {}
    for one in documents:
        counts[one["status"]] = counts.get(one["status"], 0) + 1
    return counts


def _job(row: JobRow, body: JobTemplate | None, doomed: bool, runs: Runs) -> dict[str, Any]:
    job, live = row.job, row.attempt
    ended = live is not None and live.ended is not None
    return {
        "key": str(job.id),
        "id": job.id,
        "name": job.name,
        "command": _command(body) if body else None,
        "status": status_of(job, live, doomed),
        "return_code": return_code(live) if live is not None and ended else None,
        "run_id": runs.of(live) if live else None,
        "attempt_id": live.number if live else None,
        "cancel_on_blocking_job_failure": body is None or body.when == "completed",
        "priority": job.priority,
        "cause": live.cause.value if live and live.cause else None,
        "later_status": LATER_WORDS.get(job.state),
    }


def _command(body: JobTemplate) -> str | None:
    """As the shell gets it; of a job that did not come through torc, its first step's."""
    run = body.steps[0].run
    if run is None or isinstance(run, str):
        return run and run.replace("$${", "${")
    return shlex.join(run)


def _doomed(session: Session, rows: Sequence[JobRow], bodies: Mapping[str, JobTemplate]) -> set[int]:
    """Waiting jobs below one that failed or was canceled, and that are not content with its end."""
    waiting = {row.job.id for row in rows if row.job.state is State.WAITING and not row.job.retired}
    content = {row.job.id for row in rows if row.job.name in bodies and bodies[row.job.name].when == "finished"}
    found: set[int] = set()
    edge = [row.job.id for row in rows if row.job.state in (State.FAILED, State.CANCELED) and not row.job.retired]
    while edge:
        below = {child for children in look.children_of(session, edge).values() for child in children}
        edge = sorted((below & waiting) - content - found)
        found.update(edge)
    return found


def _ended(attempt: Attempt) -> str:
    return "canceled" if attempt.state is State.CANCELED else "terminated"


def _when(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
