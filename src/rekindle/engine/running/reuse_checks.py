"""Reuse checks (early cut-off): a ready job with a reuse candidate is checked before it is claimed.

If the candidate, an archived attempt, still has the job's fingerprint, it becomes live again and the job is completed
without running. The store's side is gathered in a snapshot, files are read in a thread outside of any transaction, and
the results are written with the runner's next iteration, for the jobs that have not changed meanwhile. Nothing is
written before: a runner that dies during a check leaves the jobs to the next one, and two runners may check the same
jobs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from threading import Event as Flag
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.changes.fingerprints import FileRecord
from rekindle.domain.models import ReuseCandidate, StateChange
from rekindle.domain.rerun.plan import Reason, ReasonKind
from rekindle.domain.states import JobEvent, State, transition
from rekindle.engine.canaries import resolve_canaries

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from rekindle.domain.rerun.resolve import Exists
    from rekindle.engine.session import Session
    from rekindle.engine.staleness.measure import AttemptMeasures
    from rekindle.store.archive import Transaction

BATCH_JOBS = 1000
"""Jobs that are checked together. Their results are written together, so jobs downstream wait for the whole batch."""

EVENT_NAMES = 20
"""Names of reinstated jobs that are stored with an event."""


class CheckedJob(msgspec.Struct, frozen=True):
    """A job whose reuse candidate was checked. Without reasons the candidate is reused."""

    job: ReuseCandidate
    reasons: tuple[Reason, ...]


class _CheckedBatch(msgspec.Struct, frozen=True):
    jobs: Sequence[CheckedJob]
    files: Sequence[FileRecord]


class ReuseChecker:
    """Checks the reuse candidates of ready jobs, one batch at a time, while the runner claims other jobs."""

    def __init__(
        self, session: Session, workflow: int | None, environment: Mapping[str, str], wake: Callable[[], object]
    ) -> None:
        """`wake` is called in another thread when a batch has been checked."""
        self._session, self._workflow, self._environment, self._wake = session, workflow, environment, wake
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
            from rekindle.engine.staleness.measure import measure_attempts

            measured = measure_attempts(archive, {job.id: job.reuse_candidate for job in jobs}, self._environment)
            removed = archive.temporary_outputs.removed_of([job.reuse_candidate for job in jobs])
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(1, "checks")
        self._future = self._pool.submit(self._check, jobs, measured, {one.attempt for one in removed})
        self._future.add_done_callback(lambda _: self._wake())

    def record(self, archive: Transaction, now: float, exists: Exists) -> int:
        """Write the results of the checked batch and release downstream jobs. Return how many jobs were reinstated.
        `exists`: see `KnownPaths`."""
        if self._future is None or not self._future.done():
            return 0
        batch = self._future.result()
        archive.fingerprints.remember_files(batch.files)
        unchanged = archive.reuse_candidates.unchanged([one.job for one in batch.jobs])
        checked = [one for one in batch.jobs if one.job.id in unchanged]
        write(archive, checked, now, exists)
        return sum(not one.reasons for one in checked)

    def committed(self) -> None:
        """Note that the transaction of `record` is committed."""
        if self.done:
            self._future = None

    def close(self) -> None:
        """Stop checking. A file that is being read is read to its end in the background."""
        self._closed.set()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _check(
        self, jobs: Sequence[ReuseCandidate], measured: AttemptMeasures, removed: Collection[int]
    ) -> _CheckedBatch:
        """Check the candidates of jobs. `removed`: those whose temporary outputs are gone: jobs below may need them."""
        from rekindle.engine.staleness.contents import FileContents, read_contents

        contents: FileContents | None = None
        with contextlib.suppress(OSError):  # a disk fails: the jobs run, and their attempts report the error
            contents = read_contents(measured.requests, measured.known, self._raise_if_closed)
        if contents is None:
            return _CheckedBatch([CheckedJob(job, (Reason(ReasonKind.UNKNOWN),)) for job in jobs], ())
        assessed = measured.assess(contents)
        checked = []
        for job in jobs:
            one = assessed.get(job.id)
            reasons = one.reasons if one is not None else ()
            if one is None or not (reasons or one.comparable):
                reasons = (Reason(ReasonKind.UNKNOWN),)
            if job.reuse_candidate in removed and not reasons:
                reasons = (Reason(ReasonKind.TEMPORARY),)
            checked.append(CheckedJob(job, reasons))
        return _CheckedBatch(checked, contents.seen)

    def _raise_if_closed(self, *_: int) -> None:
        if self._closed.is_set():
            raise _Closed


class _Closed(Exception):
    """The checker was closed."""


def write(archive: Transaction, checked: Sequence[CheckedJob], now: float, exists: Exists) -> None:
    """Complete the jobs whose candidate is reused, release the jobs that need them, and let the others run.

    None of the jobs may have changed since its check."""
    if not checked:
        return
    reused = [one.job for one in checked if not one.reasons]
    changed = [one.job for one in checked if one.reasons]
    archive.reruns.record_reuse_checks(
        [
            (
                one.job.id,
                one.job.reuse_candidate,
                {
                    "at": now,
                    "result": "runs" if one.reasons else "reinstated",
                    "reasons": [{"kind": reason.kind.value, **reason.detail} for reason in one.reasons],
                },
            )
            for one in checked
        ]
    )
    archive.reuse_candidates.reject([job.id for job in changed])
    archive.reuse_candidates.reuse([(job.id, job.reuse_candidate) for job in reused])
    archive.queue.move([_reinstated(job) for job in reused])
    if reused:
        archive.queue.move(archive.queue.completed([job.id for job in reused]))
    for workflow in sorted({job.workflow for job in reused}):
        names = [job.name for job in reused if job.workflow == workflow]
        to_run = sum(job.workflow == workflow for job in changed)
        detail = {"jobs": len(names), "names": names[:EVENT_NAMES], "to_run": to_run}
        archive.events.add(now, "reinstated", workflow, detail)
    if reused:
        resolve_canaries(archive, now, exists)


def _reinstated(job: ReuseCandidate) -> StateChange:
    after = transition(
        State.READY, JobEvent.REINSTATE, f"job {job.id} {job.name}, attempt {job.reuse_candidate} is reused"
    )
    return StateChange(job.id, job.workflow, job.resource_class, State.READY, after)
