"""Query workflows: status, definitions, revisions, and the reruns and events recorded for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from rekindle.domain.errors import NotFound, SpecError
from rekindle.domain.states import ACTIVE, ENDED, State
from rekindle.engine.presence import live_and_dead_runners
from rekindle.engine.results import DeadRunner, JobNames, SpecState, UnfitJobs, WorkflowState, WorkflowStatus

if TYPE_CHECKING:
    from rekindle.domain.batches.canaries import CanaryGroup
    from rekindle.domain.batches.quarantine import QuarantinedJobs
    from rekindle.domain.definition import Hook, JobTemplate
    from rekindle.domain.models import LoggedEvent, Revision, Runner, Workflow
    from rekindle.domain.rerun.plan import RerunRecord
    from rekindle.domain.texts.name_sets import NameIndex
    from rekindle.domain.verdicts import VerdictLevel
    from rekindle.engine.session import Session
    from rekindle.journal.batches import ElementWait
    from rekindle.store.archive import Snapshot


def workflows(session: Session, archived: bool = False) -> list[Workflow]:
    """Return all workflows, oldest first; archived ones only if `archived`."""
    with session.store.read() as archive:
        return archive.workflows.listing(archived)


def chosen(session: Session, workflow: str | None) -> list[Workflow]:
    """Return one workflow, or with None all that are not archived."""
    with session.store.read() as archive:
        return _chosen(archive, workflow)


def _chosen(archive: Snapshot, workflow: str | None) -> list[Workflow]:
    return [_found(archive, workflow)] if workflow else archive.workflows.listing()


def _found(archive: Snapshot, workflow: str) -> Workflow:
    from rekindle.engine.queries.selections import find_workflow_in

    return find_workflow_in(archive, workflow)


def templates(session: Session, workflow: int) -> list[JobTemplate]:
    """Return the templates that a workflow's jobs use now."""
    with session.store.read() as archive:
        return [template for _, template in archive.workflows.templates(workflow)]


def hooks(session: Session, workflow: int) -> tuple[Hook, ...]:
    """Return the hooks of a workflow that is not archived."""
    with session.store.read() as archive:
        return archive.hooks.of_workflows(workflow).get(workflow, ())


def params(session: Session, workflow: Workflow) -> dict[str, Any]:
    """Return the parameters of a workflow's latest revision."""
    with session.store.read() as archive:
        return archive.workflows.params(workflow.id, workflow.revision)


def revision_history(session: Session, workflow: int) -> list[Revision]:
    """Return the revisions of a workflow, oldest first."""
    with session.store.read() as archive:
        return archive.workflows.revisions(workflow)


_INDEXED = 20_000
"""Jobs that are read for their names or an estimate, at most."""


def name_index(session: Session, jobs: Iterable[int]) -> NameIndex:
    """Return the names of all jobs of the workflows of these jobs; an empty index for large workflows."""
    from rekindle.domain.texts.name_sets import NameIndex

    with session.store.read() as archive:
        return NameIndex(archive.graphs.names_beside(jobs, _INDEXED))


def names_of_groups(session: Session, groups: Iterable[Sequence[int]]) -> JobNames:
    """Return the names of the jobs of these groups, without those of very large groups; the index if a group has
    several jobs."""
    read = [group for group in groups if len(group) <= _INDEXED]
    ids = {job for group in read for job in group}
    if not ids:
        return JobNames({})
    with session.store.read() as archive:
        names = {job: name for job, (_, name) in archive.jobs.versions(ids).items()}
    several = any(len(group) > 1 for group in read)
    return JobNames(names, name_index(session, ids) if several else None)


def expected_interval(session: Session, workflow: str, slots: int) -> float | None:
    """Return the expected seconds from one job's end to the next, for the jobs of a workflow that have not ended: their
    mean running time, of earlier attempts, divided by the slots. None if most have no history, or there are many."""
    from rekindle.domain.selection import Compare, Not, Op

    waiting = Not(Compare("state", Op.IN, sorted(ENDED)))
    with session.store.read() as archive:
        found = _found(archive, workflow)
        left = sum(number for state, number in found.counts.items() if state not in ENDED)
        if not 0 < left <= _INDEXED:
            return None
        jobs = archive.jobs.select(waiting, found.id)
        times = archive.statistics.expected_seconds(jobs)
    return sum(times) / len(times) / slots if 2 * len(times) > len(jobs) else None


def status(session: Session, workflow: str | None = None, *, specs: bool = True) -> list[WorkflowStatus]:
    """Return the status of each workflow, or of one. Reads counts, not jobs. Without `specs`, spec files are not
    compared."""
    with session.store.read() as archive:
        every, now = _chosen(archive, workflow), session.clock()
        shared = _shared(session, archive, now, any(map(_has_unstarted, every)))
        found = [_status(archive, one, shared, now) for one in every]
    return [replace(one, spec=spec_state(one.workflow)) for one in found] if specs else found


def _has_unstarted(workflow: Workflow) -> bool:
    return any(workflow.counts.get(state) for state in (State.WAITING, State.READY))


def labels(session: Session, workflows: Sequence[int]) -> dict[int, list[tuple[str, str]]]:
    """Return, by workflow, the labels of its jobs as sorted (name, value) pairs. Workflows without any are absent."""
    with session.store.read() as archive:
        found = archive.graphs.labels(workflows)
    return {
        workflow: sorted((name, value) for name, values in labels.items() for value in values)
        for workflow, labels in found.items()
    }


def quarantined_jobs(archive: Snapshot, workflow: int, now: float) -> tuple[QuarantinedJobs, ...]:
    """Return the failed jobs of a workflow that have a quarantine, also one that has ended."""
    jobs = archive.attempts.failed_in_quarantine(workflow)
    if not jobs:
        return ()
    from rekindle.domain.batches.quarantine import QuarantinedJobs, is_in_force, utc_day

    today = utc_day(now)
    return tuple(
        QuarantinedJobs(template.name, known, not is_in_force(known, today), tuple(jobs[number]))
        for number, (_, template) in archive.workflows.templates_by_id(jobs).items()
        if (known := template.quarantine) is not None
    )


def runners(session: Session) -> tuple[list[Runner], list[DeadRunner], bool]:
    """Return the runners that are alive, the dead ones with orphans, and whether a runner would have work to do."""
    with session.store.read() as archive:
        living, dead = live_and_dead_runners(archive, session.clock())
        counts = [one.counts for one in archive.workflows.listing()]
    return living, dead, any(one.get(state) for one in counts for state in (State.READY, *ACTIVE))


def _element_waits(
    session: Session, runners: tuple[Sequence[Runner], Sequence[DeadRunner]]
) -> Mapping[ElementWait, int]:
    """Count the elements of these runners that wait in another engine, by the reason."""
    every = [*runners[0], *(one.runner for one in runners[1])]
    if all(one.offer is None or one.offer.placement is None for one in every):
        return {}
    from rekindle.journal.batches import read_waits

    return Counter(read_waits(session.store.folder).values())


class _Shared(msgspec.Struct, frozen=True):
    """What is read for all workflows together: counts by workflow, and runners."""

    runners: tuple[Runner, ...]
    dead_runners: tuple[DeadRunner, ...]
    delayed: Mapping[int, int]
    leaving: Mapping[int, int]
    overtaken: Mapping[int, int]
    by_hand: Mapping[int, int]
    undecided: Mapping[int, Mapping[str, int]]
    verdicts: Mapping[int, Mapping[VerdictLevel, int]]
    with_canaries: Collection[int]
    unfit: Sequence[UnfitJobs]
    element_waits: Mapping[ElementWait, int]


def _shared(session: Session, archive: Snapshot, now: float, unstarted: bool) -> _Shared:
    runners, overviews = live_and_dead_runners(archive, now), archive.overviews
    oversized: Sequence[UnfitJobs] = ()
    if unstarted:
        from rekindle.engine.queries.waits import unfit

        oversized = unfit(archive, runners[0])
    return _Shared(
        tuple(runners[0]),
        tuple(runners[1]),
        overviews.delayed(now),
        overviews.leaving(),
        overviews.overtaken(),
        overviews.by_hand(),
        overviews.undecided(),
        overviews.verdicts(),
        overviews.with_canaries(),
        oversized,
        _element_waits(session, runners),
    )


def _status(archive: Snapshot, workflow: Workflow, shared: _Shared, now: float) -> WorkflowStatus:
    counts = {state: n for state, n in workflow.counts.items() if n}
    first, last = archive.workflows.span(workflow.id)
    seconds = None
    if first is not None:
        running = any(counts.get(state) for state in ACTIVE)
        seconds = max(0.0, (now if running or last is None else last) - first)
    held = archive.jobs.count_held(workflow.id) if counts.get(State.READY) else {}
    leaving, number = shared.leaving.get(workflow.id, 0), workflow.id
    return WorkflowStatus(
        workflow=workflow,
        state="running" if leaving else workflow_state(counts, sum(held.values())),
        counts=counts,
        seconds=seconds,
        failures=tuple(archive.attempts.failures(number)) if counts.get(State.FAILED) else (),
        quarantined=quarantined_jobs(archive, number, now) if counts.get(State.FAILED) else (),
        runners=shared.runners,
        dead_runners=shared.dead_runners,
        held=held,
        delayed=shared.delayed.get(number, 0),
        leaving=leaving,
        found=shared.verdicts.get(number, {}),
        canaries=tuple(archive.canaries.of_workflow(number)) if number in shared.with_canaries else (),
        overtaken=shared.overtaken.get(number, 0),
        by_hand=shared.by_hand.get(number, 0),
        undecided=shared.undecided.get(number, {}),
        unfit=tuple(one for one in shared.unfit if one.workflow == number),
        element_waits=shared.element_waits,
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
        return archive.reruns.listing(_found(archive, workflow).id if workflow else None)


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
        return archive.events.listing(_found(archive, workflow).id if workflow else None)


class RemainingWork(msgspec.Struct, frozen=True):
    """The jobs of a workflow that are claimed or running, or whose judge is asked, and those that may be claimed, now
    or after a delay."""

    active: int = 0
    claimable: int = 0

    def __bool__(self) -> bool:
        return bool(self.active or self.claimable)


def remaining_work(archive: Snapshot, workflow: int) -> RemainingWork:
    """Count the remaining work of a workflow, without reading its jobs. Held jobs, and jobs that wait for failed ones,
    do not count."""
    found = archive.workflows.find(workflow)
    counts: Mapping[State, int] = found.counts if found is not None else {}
    ready = counts.get(State.READY, 0)
    held = sum(archive.jobs.count_held(workflow).values()) if ready else 0
    asked = archive.judgements.count_open(workflow) if counts.get(State.FAILED) else 0
    return RemainingWork(sum(counts.get(state, 0) for state in ACTIVE) + asked, ready - held)
