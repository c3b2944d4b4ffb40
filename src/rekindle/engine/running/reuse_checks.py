"""Reuse checks (early cut-off): a ready job with a reuse candidate is checked before it is claimed.

If the candidate, the newest attempt of the job, still has the job's fingerprint, it becomes live again and the job is
completed without running. Otherwise, the attempts of all workflows that have the job's identity are compared; one of
these completes the job through an attempt of the job's own, which stands for it (`reused_from`).

The store's side is gathered in a snapshot, files are read in a thread outside of any transaction, and the results are
written with the runner's next iteration, for the jobs that have not changed meanwhile. Nothing is written before: a
runner that dies during a check leaves the jobs to the next one, and two runners may check the same jobs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from threading import Event as Flag
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.changes.fingerprints import FileFingerprints, FileRecord
from rekindle.domain.models import ReuseCandidate, ReusedAttempt, ReuseSource, StateChange
from rekindle.domain.next_attempt import ANY_EARLIER
from rekindle.domain.rerun.plan import Reason, ReasonKind
from rekindle.domain.states import JobEvent, State, transition
from rekindle.engine.canaries import resolve_canaries
from rekindle.engine.retention.cache import record_restores
from rekindle.engine.retention.temporary import restore_targets
from rekindle.journal.paths import attempt_folder
from rekindle.journal.restored_outputs import RestoreProblem, restore

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from rekindle.domain.changes.staleness import Assessment
    from rekindle.domain.rerun.resolve import Exists
    from rekindle.engine.session import Session
    from rekindle.engine.staleness.contents import ContentRequests, FileContents
    from rekindle.engine.staleness.earlier_attempts import EarlierAttempt
    from rekindle.store.archive import Snapshot, Transaction

BATCH_JOBS = 1000
"""Jobs that are checked together. Their results are written together, so jobs downstream wait for the whole batch."""

EVENT_NAMES = 20
"""Names of reinstated jobs that are stored with an event."""


class CheckedJob(msgspec.Struct, frozen=True):
    """A job whose reuse candidates were checked. `source` is the attempt that completes it; None: it runs, for these
    reasons. `own`: the source is the job's newest attempt, which becomes live again."""

    job: ReuseCandidate
    reasons: tuple[Reason, ...] = ()
    source: int | None = None
    own: bool = False
    prints: FileFingerprints | None = None  # what the source recorded, at the paths of the job


class _CheckedBatch(msgspec.Struct, frozen=True):
    jobs: Sequence[CheckedJob]
    files: Sequence[FileRecord] = ()
    restores: Mapping[int, RestoreProblem | None] = msgspec.field(default_factory=dict)  # by attempt


class ReuseChecker:
    """Checks the reuse candidates of ready jobs, one batch at a time, while the runner claims other jobs."""

    def __init__(
        self,
        session: Session,
        workflow: int | None,
        environment: Mapping[str, str],
        wake: Callable[[], object],
        *,
        reuse: bool = True,
    ) -> None:
        """`wake` is called in another thread when a batch has been checked. Without `reuse`, all jobs run."""
        self._session, self._workflow, self._environment, self._wake = session, workflow, environment, wake
        self._reuse = reuse
        self._pool: ThreadPoolExecutor | None = None
        self._future: Future[_CheckedBatch] | None = None
        self._closed = Flag()

    @property
    def under_way(self) -> bool:
        """Return whether a batch is being checked, or its results are not committed yet."""
        return self._future is not None

    @property
    def done(self) -> bool:
        """Return whether results can be recorded."""
        return self._future is not None and self._future.done()

    def begin(self) -> None:
        """Start checking the next batch, unless one is under way."""
        if self._future is not None:
            return
        with self._session.store.read() as archive:
            jobs = archive.reuse_candidates.listing(self._workflow, BATCH_JOBS)
            if not jobs:
                return
            candidates = (
                _Candidates(archive, self._session.store.folder, jobs, self._environment) if self._reuse else None
            )
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(1, "checks")
        self._future = self._pool.submit(self._check, jobs, candidates)
        self._future.add_done_callback(lambda _: self._wake())

    def record(self, archive: Transaction, now: float, exists: Exists) -> int:
        """Write the results of the checked batch and release downstream jobs. Return how many jobs were reinstated.
        `exists`: see `KnownPaths`."""
        if self._future is None or not self._future.done():
            return 0
        batch = self._future.result()
        archive.fingerprints.remember_files(batch.files)
        record_restores(archive, batch.restores, now)
        unchanged = archive.reuse_candidates.unchanged([one.job for one in batch.jobs])
        checked = [one for one in batch.jobs if one.job.id in unchanged]
        own = {one.source for one in checked if one.own and one.source is not None}
        archive.temporary_outputs.put_back(own & batch.restores.keys())
        write(archive, self._session.store.folder, checked, now, exists)
        return sum(one.source is not None for one in checked)

    def committed(self) -> None:
        """Note that the transaction of `record` is committed."""
        if self.done:
            self._future = None

    def close(self) -> None:
        """Stop checking. A file that is being read is read to its end in the background."""
        self._closed.set()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _check(self, jobs: Sequence[ReuseCandidate], candidates: _Candidates | None) -> _CheckedBatch:
        if candidates is None:
            return _CheckedBatch([CheckedJob(job) for job in jobs])
        try:
            return candidates.check(self._raise_if_closed)
        except OSError:  # a disk fails: the jobs run, and their attempts report the error
            return _CheckedBatch([CheckedJob(job, (Reason(ReasonKind.UNKNOWN),)) for job in jobs])

    def _raise_if_closed(self, *_: int) -> None:
        if self._closed.is_set():
            raise _Closed


class _Closed(Exception):
    """The checker was closed."""


class _Candidates:
    """What the store knows of the attempts that may complete some jobs."""

    def __init__(
        self, archive: Snapshot, store: str, jobs: Sequence[ReuseCandidate], environment: Mapping[str, str]
    ) -> None:
        from rekindle.engine.staleness.earlier_attempts import EarlierAttempts
        from rekindle.engine.staleness.measure import measure_attempts

        self._jobs = jobs
        named = {job.id: job.reuse_candidate for job in jobs if job.reuse_candidate != ANY_EARLIER}
        newest = {job.id: job.newest for job in jobs if job.newest is not None}
        self._own = measure_attempts(archive, named, environment, newest=newest)
        self._removed = restore_targets(archive, list(named.values()))
        self._earlier = EarlierAttempts(archive, [job.id for job in jobs], environment, newest)
        self._store, self._seen = store, list[FileRecord]()
        self._restores: dict[int, RestoreProblem | None] = {}

    def check(self, going_on: Callable[..., None]) -> _CheckedBatch:
        """Compare the candidates with the present, and restore outputs. Raise OSError if a file cannot be read."""
        from rekindle.engine.staleness.contents import ContentReader

        reader = ContentReader(going_on)

        def read(requests: ContentRequests, known: Mapping[str, FileRecord]) -> FileContents:
            contents = reader.read(requests, {**known, **{one.path: one for one in self._seen}})
            self._seen += contents.seen
            return contents

        assessed = self._own.assess(read(self._own.requests, self._own.known))
        own = {job.id: self._checked(job, assessed.get(job.id), going_on) for job in self._jobs}
        wanted = any(one.source is None for one in own.values())
        earlier = self._earlier.compare(read) if wanted else {}
        checked = []
        for job in self._jobs:
            found = own[job.id]
            if found.source is None and job.id in earlier:
                found = self._from_earlier(found, earlier[job.id], going_on)
            checked.append(found)
        return _CheckedBatch(checked, self._seen, self._restores)

    def _from_earlier(
        self, own: CheckedJob, found: Sequence[EarlierAttempt], going_on: Callable[..., None]
    ) -> CheckedJob:
        """Return a job that an earlier attempt completes, as it is or once its outputs are restored; or that runs, for
        the reasons against its own candidate, if it has one."""
        job = own.job
        for one in (found[-1], *found[:-1]):  # the last one may equal the present
            if not one.comparable or (one.reasons and not one.targets):
                continue
            if one.reasons:
                problem = self._restores[one.attempt] = restore(self._store, one.attempt, one.targets, going_on)
                if problem is not None:
                    continue
            return CheckedJob(job, (), one.attempt, one.attempt == job.newest and not one.accepted, one.prints)
        if job.reuse_candidate != ANY_EARLIER:
            return own
        return CheckedJob(job, found[0].reasons or (Reason(ReasonKind.UNKNOWN),))

    def _checked(self, job: ReuseCandidate, found: Assessment | None, going_on: Callable[..., None]) -> CheckedJob:
        """Return a job with its own candidate, or the reasons against it."""
        if job.reuse_candidate == ANY_EARLIER or found is None or not (found.reasons or found.comparable):
            return CheckedJob(job, (Reason(ReasonKind.UNKNOWN),))
        if found.reasons:
            return CheckedJob(job, found.reasons)
        if job.reuse_candidate in self._removed:  # jobs below may need its temporary outputs
            targets = self._removed[job.reuse_candidate]
            if not targets:
                return CheckedJob(job, (Reason(ReasonKind.TEMPORARY),))
            problem = restore(self._store, job.reuse_candidate, targets, going_on)
            self._restores[job.reuse_candidate] = problem
            if problem is not None:
                return CheckedJob(job, (Reason(ReasonKind.TEMPORARY),))
        return CheckedJob(job, source=job.reuse_candidate, own=True)


def write(archive: Transaction, store: str, checked: Sequence[CheckedJob], now: float, exists: Exists) -> None:
    """Complete the jobs that an attempt completes, release the jobs that need them, and let the others run. `store`:
    its folder. None of the jobs may have changed since its check."""
    if not checked:
        return
    reused = {one.job.id: one for one in checked if one.source is not None}
    sources = archive.reuse_candidates.sources({one.source for one in reused.values() if one.source is not None})
    for job in [job for job, one in reused.items() if one.source not in sources]:
        del reused[job]  # it was deleted since
    archive.reruns.record_reuse_checks(
        [(one.job.id, one.job.reuse_candidate, _record(one, reused, sources, now)) for one in checked]
    )
    archive.reuse_candidates.reject([one.job.id for one in checked if one.job.id not in reused])
    archive.reuse_candidates.reinstate([(job, one.source or 0) for job, one in reused.items() if one.own])
    _complete(archive, store, [one for one in reused.values() if not one.own], now)
    archive.queue.move([_reinstated(one) for one in reused.values()])
    if reused:
        archive.queue.completed(list(reused))
    for workflow in sorted({one.job.workflow for one in reused.values()}):
        some = [one for one in reused.values() if one.job.workflow == workflow]
        to_run = sum(one.job.workflow == workflow and one.job.id not in reused for one in checked)
        detail: dict[str, Any] = {
            "jobs": len(some),
            "names": [one.job.name for one in some[:EVENT_NAMES]],
            "to_run": to_run,
        }
        if others := [one for one in some if not one.own]:
            detail["reused_from"] = {one.job.name: one.source for one in others[:EVENT_NAMES]}
            detail["workflows"] = sorted({sources[one.source or 0].workflow for one in others})
        archive.events.add(now, "reinstated", workflow, detail)
    if reused:
        resolve_canaries(archive, now, exists)


def _record(one: CheckedJob, reused: Collection[int], sources: Mapping[int, ReuseSource], now: float) -> dict[str, Any]:
    """Return what is recorded of a check with the rerun that reset the job."""
    if one.job.id not in reused:
        reasons = [{"kind": reason.kind.value, **reason.detail} for reason in one.reasons]
        return {"at": now, "result": "runs", "reasons": reasons}
    if one.own:
        return {"at": now, "result": "reinstated", "reasons": []}
    source = sources[one.source or 0]
    return {"at": now, "result": "reused", "reasons": [], "attempt": one.source, "workflow": source.workflow}


def _complete(archive: Transaction, store: str, reused: Sequence[CheckedJob], now: float) -> None:
    """Complete jobs by attempts of their own that stand for other ones."""
    if not reused:
        return
    ids = archive.queue.attempt_ids(len(reused))
    attempts = [
        ReusedAttempt(number, os.urandom(8).hex(), attempt_folder(store, number), one.job.id, one.source or 0)
        for number, one in zip(ids, reused, strict=True)
    ]
    archive.reuse_candidates.complete(attempts, now)
    prints = {attempt.id: one.prints for attempt, one in zip(attempts, reused, strict=True) if one.prints is not None}
    archive.fingerprints.put_files(prints)
    needs = archive.staleness.needs(attempt.job for attempt in attempts)
    live = {one.job: one.attempt or 0 for one in archive.staleness.needed_jobs({parent for _, parent in needs})}
    needed: dict[int, dict[int, int]] = {}
    for job, parent in needs:
        needed.setdefault(job, {})[parent] = live[parent]
    archive.fingerprints.put_needed({attempt.id: needed[attempt.job] for attempt in attempts if attempt.job in needed})


def _reinstated(one: CheckedJob) -> StateChange:
    job = one.job
    after = transition(State.READY, JobEvent.REINSTATE, f"job {job.id} {job.name}, attempt {one.source} is reused")
    return StateChange(job.id, job.workflow, job.resource_class, State.READY, after)
