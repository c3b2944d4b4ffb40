"""Reconcile with dead runners: record how their jobs ended, so that the next command acts on the present state."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from rekindle.domain.errors import Refused, StoreError
from rekindle.domain.models import Attempt, Job, Runner
from rekindle.domain.selection import Selection
from rekindle.domain.states import ACTIVE, ENDED, Cause, State
from rekindle.domain.texts.display import some_names
from rekindle.engine.automatic_reruns import RetryErrorSearch
from rekindle.engine.notify import notify
from rekindle.engine.plan_inputs import KnownPaths, write_with_paths
from rekindle.engine.presence import Presence, is_runner_alive, live_runners, presence, unadopted_runners
from rekindle.engine.queries.selections import select
from rekindle.engine.rerun import control
from rekindle.engine.results import CancelResult, ReattachedJob, ReattachResult, ReconcileResult
from rekindle.engine.running.detached import release_canceled
from rekindle.engine.running.ingest import failures_of, ingest
from rekindle.engine.running.lease import LEASE_SECONDS
from rekindle.engine.running.lost_attempts import rerun_lost
from rekindle.engine.running.orphan_tracker import KILL_POLL_SECONDS, OrphanTracker
from rekindle.engine.running.orphans import OrphanedWorker, orphans_of
from rekindle.engine.session import Session, tentative
from rekindle.executors.dead_workers import STUCK_SECONDS

if TYPE_CHECKING:
    from rekindle.engine.queries.selections import Chosen
    from rekindle.store.archive import Snapshot, Transaction

CANCEL_SECONDS = 3.0
"""How long `reconcile` waits, after the grace periods, for jobs that it cancels."""

WATCH_SECONDS = 1.0
"""The least time between two reconciliations by a command that waits."""


def reconcile(session: Session, *, looks: bool = False) -> ReconcileResult | None:
    """Resolve the jobs of dead runners as a new runner would. Return None if that changes no job.

    Jobs that finished are recorded, lost ones end and run again, and those that were claimed but not started are ready
    again. Canceled ones are ended, and their ends awaited. Running ones are left to the next runner. `looks`: the
    command only reads, so runners of the store that this one was copied from are not touched."""
    now = session.clock()
    with session.store.read() as archive:
        dead = _dead_runners(archive, now, looks=looks)
        detached = not looks and archive.runners.count_detached(None)
    if detached:
        release_canceled(session)
    if not dead:
        return None
    tracker = OrphanTracker(session)
    try:
        with session.store.write() as archive:
            tracker.take_over(archive, dead, None)
        if not tracker:
            return None
        _resolve(session, tracker)
        found = tracker.found
        with session.store.read() as archive:
            canceled = _canceled(archive, found.finished | found.lost)
            runners = live_runners(archive.runners.alive(), now)
            result = ReconcileResult(
                tuple(runner.id for runner in dead),
                finished=_job_names(archive, found.finished - canceled),
                canceled=_job_names(archive, canceled),
                again=tuple(job.name for job in archive.jobs.get(sorted(found.again))),
                lost=_job_names(archive, found.lost - canceled, found.again),
                unstarted=len(found.unstarted),
            )
    finally:
        tracker.close()
    notify(session.store, runners)
    return result if result.changed else None


@contextmanager
def reconciled(session: Session, *, looks: bool = False) -> Iterator[Session]:
    """Reconcile with dead runners before a command, and after it, so that jobs of theirs that it cancels are ended.

    What changed is passed to the session's `note`, followed by the jobs that still run, also if the command is refused.
    `looks`: the command only reads; it also works on a store that cannot be written."""
    _reconcile_and_note(session, looks=looks)
    if looks:
        yield session
        return
    try:
        yield session
        _reconcile_and_note(session, looks=False)
    except Refused:
        _note_running_orphans(session)
        raise
    _note_running_orphans(session)


class DeadRunnerWatch:
    """Reconciles for a command that waits for jobs, so that it does not wait for ends that no runner records."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._next = 0.0

    def look(self) -> bool:
        """Reconcile if no runner is alive and a second has passed since the last time. Return whether one is alive."""
        with self._session.store.read() as archive:
            if live_runners(archive.runners.alive(), self._session.clock()):
                return True
        if time.monotonic() >= self._next:
            _reconcile_and_note(self._session, looks=True)
            self._next = time.monotonic() + WATCH_SECONDS
        return False


def _reconcile_and_note(session: Session, *, looks: bool) -> None:
    try:
        found = reconcile(session, looks=looks)
    except StoreError:
        if not looks:
            raise
        return
    if found is not None and session.note is not None:
        session.note(found.summary)


def _note_running_orphans(session: Session) -> None:
    """Note the jobs of dead runners that still run."""
    if session.note is None:
        return
    with session.store.read() as archive:
        left = {
            runner.id: archive.jobs.get(
                [one.job for one in archive.attempts.active(runner.id) if one.state is State.RUNNING]
            )
            for runner in _dead_runners(archive, session.clock(), looks=True)
        }
    for runner, jobs in left.items():
        if jobs:
            names = some_names([f"`{job.name}`" for job in jobs])
            verb, end = ("runs", "its end") if len(jobs) == 1 else ("run", "their ends")
            session.note(f"runner {runner} died; {names} still {verb}: `rekindle work` records {end}")


def cancel(session: Session, chosen: Chosen, note: str | None = None) -> CancelResult:
    """Cancel jobs (see control.cancel). Jobs of dead runners are ended here, and their ends awaited.

    A selection that matched a dead runner's job before reconciling, such as `-s running`, means that job too, although
    reconciling has made it ready again."""
    orphaned = _orphaned_jobs(session, chosen) if isinstance(chosen, Selection) else []
    before = reconcile(session)
    done = control.cancel(session, chosen, note)
    lost = control.cancel(session, orphaned, note) if orphaned else None
    if lost is not None:
        known = {*done.now, *done.asked}
        done = replace(
            done,
            now=(*done.now, *(job for job in lost.now if job not in known)),
            asked=(*done.asked, *(job for job in lost.asked if job not in known)),
        )
    after = reconcile(session) if done.asked else None
    with session.store.read() as archive:
        over = tuple(job.id for job in archive.jobs.get(done.asked) if job.state in ENDED)
    return replace(done, over=over, reconciled=tuple(one for one in (before, after) if one is not None))


def _orphaned_jobs(session: Session, selection: Selection) -> list[int]:
    """Return the selected jobs with unfinished attempts of dead runners."""
    now = session.clock()
    with session.store.read() as archive:
        dead = _dead_runners(archive, now, looks=False)
        jobs = {attempt.job for runner in dead for attempt in archive.attempts.active(runner.id)}
    return [job for job in select(session, selection) if job in jobs] if jobs else []


def _dead_runners(archive: Snapshot, now: float, *, looks: bool) -> list[Runner]:
    """Return the dead runners whose orphans no living runner has adopted.

    If only its lease shows that a runner is dead, the lease must have been expired for as long as a lease lasts: clocks
    can be set, and a database server that was away may have kept the runner from renewing it."""

    def is_certain(runner: Runner) -> bool:
        return presence(runner, now) is not Presence.EXPIRED or runner.expired_for(now) >= LEASE_SECONDS

    return [one for one in unadopted_runners(archive, now) if is_certain(one) and not (looks and one.elsewhere)]


def _canceled(archive: Snapshot, attempts: Collection[int]) -> set[int]:
    return {one.id for one in archive.attempts.by_id(attempts) if one.state is State.CANCELED}


def _job_names(archive: Snapshot, attempts: Collection[int], excluded: Collection[int] = ()) -> tuple[str, ...]:
    """Return the names of the jobs of these attempts, without the `excluded` jobs."""
    jobs = {one.job for one in archive.attempts.by_id(attempts)} - set(excluded)
    return tuple(job.name for job in archive.jobs.get(sorted(jobs)))


def _resolve(session: Session, tracker: OrphanTracker) -> None:
    """Read and resolve until the attempts that are left either run or cannot be killed."""
    limit, canceling = time.monotonic() + 2 * STUCK_SECONDS, False
    search = RetryErrorSearch(session)

    def resolve(archive: Transaction, paths: KnownPaths) -> list[float]:
        """Return the grace periods of the attempts that are canceled."""
        result = ingest(archive, batches, now, paths.exists, errors, tracker.current(archive))
        rerun_lost(archive, result, now, paths.exists)
        paths.check()
        tracker.resolve(archive, result, now)
        return [archive.workflows.template(one.template).grace for one in tracker.find_canceled(archive)]

    while tracker:
        surveyed, batches = tracker.survey(), tracker.read_journals()
        if surveyed or batches:
            now, errors = session.clock(), search.search(failures_of(batches))
            graces = write_with_paths(session.store.write, resolve)
            tracker.committed(batches)
            if graces and not canceling:
                limit += CANCEL_SECONDS + max(graces) + tracker.request_seconds
            canceling = bool(graces)
        if time.monotonic() > limit:
            return
        if not tracker.resolvable:
            if not (tracker.awaits_killed or canceling):
                return
            time.sleep(KILL_POLL_SECONDS)


class _ReattachRequest(msgspec.Struct, frozen=True):
    """The selected jobs before anything is changed."""

    now: float
    jobs: Sequence[Job]
    attempts: dict[int, Attempt]  # unfinished attempts, by job
    runners: dict[int, Runner]  # all runners that have not ended, dead ones too
    dead: dict[int, Runner]  # dead runners of these attempts that no living runner has taken over from


def plan_reattach(session: Session, ids: Sequence[int]) -> ReattachResult:
    """Return the result that reattaching these jobs would have. Nothing is changed."""
    now = session.clock()
    with session.store.read() as archive:
        request = _reattach_request(archive, ids, now)
        groups = [orphans_of(archive, runner, session.store.folder, lambda _: None) for runner in request.dead.values()]
        workers = [worker for group in groups for worker in group.workers]
        for worker in workers:
            worker.drained = not worker.journal.path.exists()  # reattaching would seal its journal
    batches = [batch for worker in workers if (batch := worker.peek_journal()) is not None]
    errors = RetryErrorSearch(session).search(failures_of(batches))
    if batches:
        with tentative(session) as archive:
            ingest(archive, batches, now, lambda _: True, errors)  # what retries would overwrite is not shown
            after, registered = _jobs_after(archive, request), archive.runners.alive()
    else:
        with session.store.read() as archive:
            after, registered = _jobs_after(archive, request), archive.runners.alive()
    found = tuple(_reattached(request, workers, {}, *after[job.id], job) for job in request.jobs)
    runners = live_runners(registered, now)
    for worker in workers:
        worker.process.close()
    return ReattachResult(found, bool(runners))


def reattach(session: Session, ids: Sequence[int]) -> ReattachResult:
    """Resolve all orphans of the runners of these jobs, and return what was found of the jobs.

    Finished attempts are recorded, lost ones end and their jobs run again, and running ones are left to the next
    runner."""
    tracker, now = OrphanTracker(session), session.clock()
    with session.store.read() as archive:
        request = _reattach_request(archive, ids, now)
    try:
        with session.store.write() as archive:
            tracker.take_over(archive, request.dead.values(), None)
        _resolve(session, tracker)
        workers = tracker.workers()
        with session.store.read() as archive:
            lost = dict.fromkeys(tracker.found.lost, tracker.found.again)
            request = replace(request, runners={runner.id: runner for runner in archive.runners.alive()})
            after = _jobs_after(archive, request)
            found = tuple(_reattached(request, workers, lost, *after[job.id], job) for job in request.jobs)
            runners = live_runners(archive.runners.alive(), now)
    finally:
        tracker.close()
    notify(session.store, runners)
    reruns = tracker.found.reruns
    return ReattachResult(found, bool(runners), reruns[-1] if reruns else None)


def _reattach_request(archive: Snapshot, ids: Sequence[int], now: float) -> _ReattachRequest:
    jobs = archive.jobs.get(ids)
    active = {job.id: archive.attempts.get(job.attempt) for job in jobs if job.state in ACTIVE and job.attempt}
    attempts = {job: attempt for job, attempt in active.items() if attempt is not None}
    owners = {attempt.runner for attempt in attempts.values()}
    runners = {runner.id: runner for runner in archive.runners.alive()}
    dead = {runner.id: runner for runner in unadopted_runners(archive, now) if runner.id in owners}
    return _ReattachRequest(now, jobs, attempts, runners, dead)


def _jobs_after(archive: Snapshot, request: _ReattachRequest) -> dict[int, tuple[Job, Attempt | None]]:
    """Return the selected jobs as they are now, each with the attempt that had not ended before."""
    before = request.attempts
    return {
        job.id: (job, archive.attempts.get(before[job.id].id) if job.id in before else None)
        for job in archive.jobs.get([job.id for job in request.jobs])
    }


def _reattached(
    request: _ReattachRequest,
    workers: Sequence[OrphanedWorker],
    lost: dict[int, set[int]],
    now: Job,
    after: Attempt | None,
    job: Job,
) -> ReattachedJob:
    """Return what was found of a job, which is `now` with the attempt `after`. `lost`: the jobs that run again, by lost
    attempt."""
    before = request.attempts.get(job.id)
    if before is None:
        return ReattachedJob(job.id, job.name, "none", job.state, why=f"it is {job.state.label}, and nothing runs")
    if before.runner not in request.dead:
        return ReattachedJob(job.id, job.name, "attended", job.state, why=_runner_text(request, before))
    if after is None:
        return ReattachedJob(job.id, job.name, "gone", now.state, why="it had not started; it is ready again")
    if after.id in lost:
        again = "it runs again" if job.id in lost[after.id] else "it does not run again by itself"
        died = "its worker died with its runner; " + again
        return ReattachedJob(job.id, job.name, "gone", now.state, after.cause, after.pid, after.worker, why=died)
    if after.state in ENDED:
        state = State(after.state)
        why = None if now.state is state else f"it is {now.state.label} now"
        return ReattachedJob(
            job.id, job.name, "finished", state, after.cause, after.pid, after.worker, after.started, why
        )
    if _live_keeper(request, after) is not None:  # another process has taken over meanwhile
        return ReattachedJob(job.id, job.name, "attended", now.state, why=_runner_text(request, after))
    return _unfinished(after, now, workers)


def _unfinished(attempt: Attempt, job: Job, workers: Sequence[OrphanedWorker]) -> ReattachedJob:
    """Return whether an attempt that has not ended still runs, or may still start."""
    if attempt.state is State.QUEUED:
        if any(worker.may_start(attempt.token) and not worker.process.gone for worker in workers):
            why = "not started; a worker that still runs may start it"
            return ReattachedJob(job.id, job.name, "running", attempt.state, why=why)
        return ReattachedJob(job.id, job.name, "gone", attempt.state, why="it had not started; it will be ready again")
    worker = next((one for one in workers if one.worker == attempt.worker), None)
    if worker is not None and not worker.process.gone:
        pid = attempt.pid or worker.process.pid
        return ReattachedJob(
            job.id, job.name, "running", attempt.state, pid=pid, worker=worker.worker, since=attempt.started
        )
    why = "its worker died with its runner; it will run again when its processes have ended"
    return ReattachedJob(job.id, job.name, "gone", attempt.state, Cause.LOST, attempt.pid, attempt.worker, why=why)


def _runner_text(request: _ReattachRequest, attempt: Attempt) -> str:
    """Return which runner has an attempt, for a message."""
    runner = request.runners.get(attempt.runner or 0)
    if runner is None:
        return "no runner attends it: it was claimed for another process, or its runner has ended"
    keeper = _live_keeper(request, attempt)
    if keeper is not None:
        return f"runner {keeper.id} (pid {keeper.pid} on {keeper.host}) has adopted it"
    return f"runner {runner.id} (pid {runner.pid} on {runner.host}) is alive and attends it"


def _live_keeper(request: _ReattachRequest, attempt: Attempt) -> Runner | None:
    """Return the living runner that has taken over from the attempt's runner, if any."""
    runner = request.runners.get(attempt.runner or 0)
    if runner is None or is_runner_alive(runner, request.now):
        return None
    keeper = request.runners.get(runner.keeper or 0)
    return keeper if keeper is not None and is_runner_alive(keeper, request.now) else None
