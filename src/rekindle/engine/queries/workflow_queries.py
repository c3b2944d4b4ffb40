"""Query workflows: status, definitions, revisions, and the reruns and events recorded for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rekindle.domain.errors import NotFound, SpecError
from rekindle.domain.states import ACTIVE, State
from rekindle.engine.presence import live_and_dead_runners
from rekindle.engine.queries.selections import find_workflow_in
from rekindle.engine.results import DeadRunner, SpecState, UnfitJobs, WorkflowState, WorkflowStatus

if TYPE_CHECKING:
    from rekindle.domain.batches.canaries import CanaryGroup
    from rekindle.domain.definition import JobTemplate
    from rekindle.domain.models import LoggedEvent, Revision, Runner, Workflow
    from rekindle.domain.rerun.plan import RerunRecord
    from rekindle.engine.session import Session
    from rekindle.store.archive import Snapshot


def workflows(session: Session, archived: bool = False) -> list[Workflow]:
    """Return all workflows, oldest first; archived ones only if `archived`."""
    with session.store.read() as archive:
        return archive.workflows.listing(archived)


def templates(session: Session, workflow: int) -> list[JobTemplate]:
    """Return the templates that a workflow's jobs use now."""
    with session.store.read() as archive:
        return [template for _, template in archive.workflows.templates(workflow)]


def params(session: Session, workflow: Workflow) -> dict[str, Any]:
    """Return the parameters of a workflow's latest revision."""
    with session.store.read() as archive:
        return archive.workflows.params(workflow.id, workflow.revision)


def revision_history(session: Session, workflow: int) -> list[Revision]:
    """Return the revisions of a workflow, oldest first."""
    with session.store.read() as archive:
        return archive.workflows.revisions(workflow)


def status(session: Session, workflow: str | None = None) -> list[WorkflowStatus]:
    """Return the status of each workflow, or of one. Reads counts, not jobs."""
    from rekindle.engine.queries.waits import unfit

    with session.store.read() as archive:
        chosen = [find_workflow_in(archive, workflow)] if workflow else archive.workflows.listing()
        runners = live_and_dead_runners(archive, session.clock())
        delayed = archive.queue.delayed(session.clock())
        oversized = unfit(archive, runners[0])
        return [_status(session, archive, one, runners, delayed.get(one.id, 0), oversized) for one in chosen]


def _status(
    session: Session,
    archive: Snapshot,
    workflow: Workflow,
    runners: tuple[Sequence[Runner], Sequence[DeadRunner]],
    delayed: int,
    oversized: Sequence[UnfitJobs],
) -> WorkflowStatus:
    counts = {state: n for state, n in workflow.counts.items() if n}
    first, last = archive.workflows.span(workflow.id)
    seconds = None
    if first is not None:
        running = any(counts.get(state) for state in ACTIVE)
        seconds = max(0.0, (session.clock() if running or last is None else last) - first)
    held = archive.jobs.count_held(workflow.id) if counts.get(State.READY) else {}
    leaving = archive.queue.count_archived_active(workflow.id)
    return WorkflowStatus(
        workflow=workflow,
        state="running" if leaving else workflow_state(counts, sum(held.values())),
        counts=counts,
        seconds=seconds,
        failures=tuple(archive.attempts.failures(workflow.id)) if counts.get(State.FAILED) else (),
        runners=tuple(runners[0]),
        dead_runners=tuple(runners[1]),
        held=held,
        spec=spec_state(workflow),
        delayed=delayed,
        leaving=leaving,
        found=archive.attempts.count_verdicts(workflow.id) if counts.get(State.COMPLETED) else {},
        canaries=tuple(archive.canaries.of_workflow(workflow.id)),
        overtaken=archive.jobs.count_overtaken(workflow.id) if len(counts) > 1 and counts.get(State.COMPLETED) else 0,
        unfit=tuple(one for one in oversized if one.workflow == workflow.id),
    )


def workflow_state(counts: Mapping[State, int], held: int = 0) -> WorkflowState:
    """Return the state of a workflow from its number of jobs by state; `held` of the ready jobs are held."""
    if any(counts.get(state) for state in ACTIVE):
        return "running"
    if counts.get(State.READY):
        return "ready" if counts[State.READY] > held else "held"
    if counts.get(State.FAILED):
        return "failed"
    if counts.get(State.CANCELED):
        return "canceled"
    if counts.get(State.WAITING):
        return "waiting"
    return "completed" if counts.get(State.COMPLETED) else "empty"


def owners(session: Session, jobs: Sequence[int]) -> list[Workflow]:
    """Return the workflows of jobs, each once, in order."""
    with session.store.read() as archive:
        return archive.workflows.of_jobs(jobs)


def spec_state(workflow: Workflow) -> SpecState:
    """Compare a workflow's spec file with the stored revision. A file that differs is loaded, which takes as long as
    submitting the file. Parameters given with `--param` are not compared."""
    if not Path(workflow.directory).is_dir():
        return "no_folder"
    if workflow.source is None or workflow.source_digest is None:
        return "none"
    path = Path(workflow.source)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return "gone"
    except OSError:
        return "unreadable"
    if digest_of(content) == workflow.source_digest:
        return "same"
    return "changed" if _is_valid_spec(path) else "invalid"


def _is_valid_spec(path: Path) -> bool:
    from rekindle.spec import load

    try:
        load(path)
    except SpecError:
        return False
    return True


def digest_of(content: bytes) -> str:
    """Return the digest (BLAKE3) that identifies a spec file's content."""
    from blake3 import blake3

    return blake3(content).hexdigest()


def reruns(session: Session, workflow: str | None = None) -> list[tuple[RerunRecord, int]]:
    """Return applied reruns, newest first, each with the number of its jobs."""
    with session.store.read() as archive:
        return archive.reruns.listing(find_workflow_in(archive, workflow).id if workflow else None)


def rerun(session: Session, number: int) -> RerunRecord:
    """Return one applied rerun with its plan, or raise NotFound."""
    with session.store.read() as archive:
        found = archive.reruns.get(number)
    if found is None:
        raise NotFound(f"no such rerun: {number}", hint="`rekindle reruns list` names them")
    return found


def canary_groups(session: Session, rerun: int) -> list[CanaryGroup]:
    """Return the groups of jobs whose canaries a rerun ran."""
    with session.store.read() as archive:
        return archive.canaries.of_rerun(rerun)


def reuse_checks(session: Session, rerun: int) -> dict[int, dict[str, Any]]:
    """Return the checks of attempts that a rerun kept for reuse, by job: `at` (seconds since the epoch), `result`
    (reinstated, runs) and `reasons`."""
    with session.store.read() as archive:
        return archive.reruns.reuse_checks(rerun)


def events(session: Session, workflow: str | None = None) -> list[LoggedEvent]:
    """Return the recorded events, oldest first."""
    with session.store.read() as archive:
        return archive.events.listing(find_workflow_in(archive, workflow).id if workflow else None)
