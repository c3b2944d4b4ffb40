"""Make completed jobs again aside and compare what they leave. The jobs' states, outputs and staleness stay as they
are: only what was found is recorded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from threading import Event
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from rekindle.domain.errors import RekindleError
from rekindle.domain.states import State
from rekindle.engine.reproduction.reproduce import (
    PreparedReproduction,
    Reproduction,
    check_may_run,
    lay_out_folder,
    prepare,
    reproduce,
)
from rekindle.journal.trees import remove_tree

if TYPE_CHECKING:
    from rekindle.domain.batches.flakiness import VerifiedWord
    from rekindle.domain.models import Job
    from rekindle.domain.rerun.plan import Reason
    from rekindle.engine.reproduction.compare import ComparedRun
    from rekindle.engine.session import Session

WhyUnknown = Literal["drift", "nothing", "refused", "by_hand"]
"""Why a job cannot be verified: what it ran with differs today, it left nothing to compare, it cannot be run, or a
person completed it: nothing ran."""


class VerifiedJob(msgspec.Struct, frozen=True):
    """A completed job that was made again aside, or why it was not. `folder`: what it left, kept where that differs."""

    job: int
    name: str
    attempt: int
    outcome: VerifiedWord
    why: WhyUnknown | None = None
    reasons: tuple[Reason, ...] = ()
    message: str = ""
    compared: ComparedRun | None = None
    folder: str | None = None
    seconds: float | None = None

    def detail(self) -> dict[str, Any]:
        """Return what is recorded beside the outcome, as JSON values."""
        differs = [] if self.compared is None else [each.field for each in self.compared.ends]
        outputs = [] if self.compared is None else [each.name for each in self.compared.outputs if each.word != "same"]
        reasons = [{"kind": each.kind.value, **each.detail} for each in self.reasons]
        return {"why": self.why, "message": self.message, "reasons": reasons, "fields": differs, "outputs": outputs}


class Verification(msgspec.Struct, frozen=True):
    """What `verify` found. `left_out`: selected jobs that have not completed."""

    jobs: tuple[VerifiedJob, ...]
    left_out: tuple[int, ...] = ()

    @property
    def exit_code(self) -> int:
        """2 if a job differs, else 1 if nobody knows of one that ran, else 0."""
        words = {one.outcome for one in self.jobs if one.why != "by_hand"}
        return 2 if "differs" in words else 1 if "unknown" in words else 0


def verify(
    session: Session,
    ids: Sequence[int],
    slots: int | None = None,
    on_verified: Callable[[VerifiedJob], None] = lambda _: None,
) -> Verification:
    """Make the live attempts of completed jobs again, up to `slots` at once (None: one for each processor), and record
    how each compared. `on_verified` is called for each, also for those that were completed by hand: of these nothing is
    run or recorded. Ctrl-C cancels what runs; what was found until then is recorded."""
    with session.store.read() as archive:
        rows = archive.jobs.get(ids)
    jobs = [job for job in rows if job.state is State.COMPLETED and job.attempt is not None]
    left_out = tuple(job.id for job in rows if job.state is not State.COMPLETED)
    found = []
    stop = Event()
    pool = ThreadPoolExecutor(slots or os.cpu_count() or 1, "verify")
    try:
        for one in _each(session, jobs, pool, slots or os.cpu_count() or 1, stop):
            if one.why != "by_hand":
                with session.store.write() as archive:
                    archive.verifications.add(one.attempt, session.clock(), one.outcome, one.detail())
            found.append(one)
            on_verified(one)
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
    return Verification(tuple(sorted(found, key=lambda one: one.job)), left_out)


def _each(
    session: Session, jobs: Sequence[Job], pool: ThreadPoolExecutor, slots: int, stop: Event
) -> Iterator[VerifiedJob]:
    """Yield the jobs as they are verified. The store is read in this thread only, at most for `slots` jobs ahead."""
    running: set[Future[VerifiedJob]] = set()
    for job in jobs:
        while len(running) >= slots:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (one.result() for one in done)
        prepared = _prepared(session, job)
        if isinstance(prepared, VerifiedJob):
            yield prepared
        else:
            running.add(pool.submit(_verify, job, prepared, stop))
    while running:
        done, running = wait(running, return_when=FIRST_COMPLETED)
        yield from (one.result() for one in done)


def _prepared(session: Session, job: Job) -> PreparedReproduction | VerifiedJob:
    """Return what a job's attempt is made again from; or why that would prove nothing."""
    attempt = job.attempt or 0
    try:
        prepared = prepare(session, attempt)
        if prepared.one.attempt.completed_by is not None:
            return VerifiedJob(job.id, job.name, attempt, "unknown", "by_hand")
        check_may_run(prepared)
    except RekindleError as error:
        return VerifiedJob(job.id, job.name, attempt, "unknown", "refused", message=error.message)
    if prepared.drift.reasons:
        return VerifiedJob(job.id, job.name, attempt, "unknown", "drift", prepared.drift.reasons)
    if not prepared.one.prints.outputs and prepared.one.attempt.result is None:
        return VerifiedJob(job.id, job.name, attempt, "unknown", "nothing")
    return prepared


def _verify(job: Job, prepared: PreparedReproduction, stop: Event) -> VerifiedJob:
    """Make an attempt again in a folder of its own, which is kept where something differs."""
    folder = None
    kept = False
    try:
        scratch = lay_out_folder(prepared, None)
        folder = scratch.folder
        found = reproduce(prepared, scratch, stop=stop.is_set)
        one = _compared(job, prepared, found)
        kept = one.outcome == "differs"
        return one
    except RekindleError as error:
        return VerifiedJob(job.id, job.name, prepared.one.attempt.id, "unknown", "refused", message=error.message)
    finally:
        if folder is not None and not kept:
            remove_tree(folder)


def _compared(job: Job, prepared: PreparedReproduction, found: Reproduction) -> VerifiedJob:
    attempt, compared, ended = prepared.one.attempt.id, found.compared, found.ended
    took = None if ended.started is None else ended.ended - ended.started
    if not compared.same:
        message = ended.failure.message if ended.failure else ""
        return VerifiedJob(
            job.id, job.name, attempt, "differs", None, (), message, compared, found.scratch.folder, took
        )
    outcome: VerifiedWord = "reproducible" if compared.comparable else "unknown"
    why: WhyUnknown | None = None if compared.comparable else "nothing"
    return VerifiedJob(job.id, job.name, attempt, outcome, why, compared=compared, seconds=took)
