"""Claims: which ready jobs go to which worker, packed into the free capacity, and short jobs several at a time."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from rekindle.domain.models import AttemptEnd, Failure, GivenFolder, Job, NewAttempt, ReadyClass, ReadyJob, StateChange
from rekindle.domain.packing import Capacity, explain_never_fits, pack_jobs
from rekindle.domain.selection import Compare, Op, Predicate, has_pattern
from rekindle.domain.states import Cause, JobEvent, State, transition
from rekindle.engine.fan_outs import fan_outs_to_resume, resumes_partially
from rekindle.engine.presence import works_elsewhere
from rekindle.engine.running.assignments import TaskTemplates, assignments, kept_steps
from rekindle.engine.running.dispatch import (
    BACKLOG_SECONDS,
    MAX_BACKLOG,
    DurationAverages,
    InFlightAttempt,
    WorkerHandle,
)
from rekindle.journal.paths import attempt_folder

if TYPE_CHECKING:
    from rekindle.engine.session import Session
    from rekindle.journal.orders import FanOut
    from rekindle.store.archive import Snapshot, Transaction

Candidates = list[tuple[ReadyClass, list[ReadyJob]]]
"""Ready jobs to choose from, by resource class, in the order of the queue."""


class ClaimScope(msgspec.Struct, frozen=True):
    """The jobs that a runner may claim, and the capacity that it has for them."""

    workflow: int | None  # None: all
    total: Capacity
    runner: int
    store_folder: str
    host: str = ""
    only: Predicate | None = None  # see engine.results.WorkOptions
    place: Callable[[ReadyJob, int, float], GivenFolder | None] | None = None
    stopped: Mapping[int, str] = msgspec.field(default_factory=dict)  # workflows whose jobs cannot start, and why
    owner: str = "this runner"  # who has the capacity, for messages


class Claims(msgspec.Struct, frozen=True):
    """The result of claiming: attempts by worker, and jobs that can never be claimed here as (job name, why)."""

    work: Mapping[str, list[InFlightAttempt]]
    never_fit: Mapping[int, tuple[str, str]]  # by resource class
    left: int = 0  # an upper bound of the jobs that are still ready: it includes held and delayed jobs


def without_patterns(session: Session, scope: ClaimScope, workers: Sequence[WorkerHandle]) -> ClaimScope:
    """Return the scope without a user's regular expression, because no write transaction may wait for a search.

    A condition that has one is replaced by the ids of the ready jobs that match, as many as the workers can take."""
    if scope.only is None or not has_pattern(scope.only):
        return scope
    most = MAX_BACKLOG * len(workers)
    with session.store.read() as archive:
        here = _avoided_host(archive, scope, session.clock())
        classes = archive.queue.ready_classes(scope.workflow) if most else []
        found = [archive.queue.ready(one.workflow, one.resource_class, most, here, scope.only) for one in classes]
    return replace(scope, only=Compare("id", Op.IN, tuple(job.id for jobs in found for job in jobs)))


def claim(
    archive: Transaction,
    scope: ClaimScope,
    workers: Sequence[WorkerHandle],
    durations: DurationAverages,
    tasks: TaskTemplates,
    now: float,
    free: Capacity,
    most: int | None = None,
) -> Claims:
    """Claim as many jobs as the workers can take now, and at most `most`.

    Store the attempts. The caller assigns them to the workers once the transaction is committed."""
    never_fit: dict[int, tuple[str, str]] = {}
    classes = archive.queue.ready_classes(scope.workflow)
    candidates = _candidates(archive, scope, classes, workers, durations, now, never_fit)
    chosen = _choose(candidates, workers, durations, free)
    jobs = [(worker, job) for worker, picked in chosen.items() for job in picked][:most]
    if not jobs:
        return Claims({}, never_fit, sum(one.ready for one in classes))
    attempts = _store_claims(archive, scope, tasks, [job for _, job in jobs], now)
    work: dict[str, list[InFlightAttempt]] = {}
    kept = kept_steps(archive, tasks, attempts)
    archive.queue.steps([(attempt, step) for attempt, steps in kept.items() for step in steps])
    orders = assignments(archive, tasks, attempts, kept, _fan_outs(archive, tasks, attempts))
    resources = {ready.resource_class: ready.resources for ready, _ in candidates}
    for (worker, job), assignment in zip(jobs, orders, strict=True):
        number = job.resource_class
        in_flight = InFlightAttempt(job.id, job.name, job.workflow, job.template, number, assignment, resources[number])
        work.setdefault(worker, []).append(in_flight)
    return Claims(work, never_fit, sum(one.ready for one in classes) - len(jobs))


def _store_claims(
    archive: Transaction, scope: ClaimScope, tasks: TaskTemplates, jobs: Sequence[ReadyJob], now: float
) -> list[NewAttempt]:
    first = archive.queue.next_attempt()
    attempts = [_new_attempt(archive, scope, tasks, first + at, job, now) for at, job in enumerate(jobs)]
    archive.queue.claim(attempts, scope.runner, now)
    return attempts


def _new_attempt(
    archive: Snapshot, scope: ClaimScope, tasks: TaskTemplates, number: int, job: ReadyJob, now: float
) -> NewAttempt:
    own, token = attempt_folder(scope.store_folder, number), secrets.token_hex(8)
    place = None
    if scope.place is not None and tasks.template(archive, job.template).workdir == "attempt":
        place = scope.place(job, number, now)
    if job.take == "same" and job.take_folder:
        return NewAttempt(number, token, job, job.take_folder, own)
    if place is None or (place.shared and job.take == "copy" and job.take_folder != place.path):
        return NewAttempt(number, token, job, own)  # a copy is never mixed with other files
    return NewAttempt(number, token, job, place.path, own, given=True, shared=place.shared)


def _fan_outs(
    archive: Transaction, tasks: TaskTemplates, attempts: Sequence[NewAttempt]
) -> dict[int, tuple[FanOut, ...]]:
    """Return, by attempt, the fan-outs that resumed attempts keep. Mark the attempts that keep only some subtasks."""
    resumed = [attempt for attempt in attempts if attempt.job.resume_attempt is not None]
    found = {one.id: fan_outs_to_resume(archive, tasks.template(archive, one.job.template), one) for one in resumed}
    partial = [attempt.id for attempt in resumed if resumes_partially(attempt, found[attempt.id])]
    if partial:
        archive.subtasks.mark_partial(partial)
    return found


def _candidates(
    archive: Snapshot,
    scope: ClaimScope,
    classes: Sequence[ReadyClass],
    workers: Sequence[WorkerHandle],
    durations: DurationAverages,
    now: float,
    never_fit: dict[int, tuple[str, str]],
) -> Candidates:
    """Return the ready jobs to choose from: of each class at most as many as all workers together could take.

    Add to `never_fit` the classes that need more than the runner has."""
    idle = sum(worker.idle for worker in workers)
    here = _avoided_host(archive, scope, now)
    candidates: Candidates = []
    for ready in classes:
        busy = [worker for worker in workers if worker.resource_class == ready.resource_class and not worker.idle]
        if not idle and not busy:
            continue
        why = scope.stopped.get(ready.workflow) or explain_never_fits(scope.total, ready.resources, scope.owner)
        # With a condition one query is made for all, because evaluating the condition twice is slow.
        first = 1 if scope.only is None else 2 * idle + len(busy)
        jobs = archive.queue.ready(ready.workflow, ready.resource_class, first, here, scope.only)
        if not jobs:
            continue
        if why is not None:
            never_fit[ready.resource_class] = (jobs[0].name, why)
            continue
        want = idle + (idle + len(busy)) * durations.batch_size(jobs[0].template)
        if want > first == len(jobs) < ready.ready:
            jobs = archive.queue.ready(ready.workflow, ready.resource_class, want, here, scope.only)
        candidates.append((ready, jobs))
    return candidates


def _avoided_host(archive: Snapshot, scope: ClaimScope, now: float) -> str:
    """Return this host if a runner works on another one, else "". A job that failed on a host, and is to run on
    another, is not claimed on the avoided host."""
    return scope.host if works_elsewhere(archive, scope.host, now) else ""


def _choose(
    candidates: Candidates, workers: Sequence[WorkerHandle], durations: DurationAverages, free: Capacity
) -> dict[str, list[ReadyJob]]:
    """Choose one job for each idle worker, packed into `free`, then short jobs for workers of the same class."""
    chosen: dict[str, list[ReadyJob]] = {}
    classes = {worker.info.name: worker.resource_class for worker in workers if not worker.idle}
    idle = [worker for worker in workers if worker.idle]
    taken: set[int] = set()
    if idle:
        for worker, job in zip(idle, pack_jobs(free, candidates), strict=False):
            chosen[worker.info.name] = [job]
            classes[worker.info.name] = job.resource_class
            taken.add(job.id)
    rest = [(ready, [job for job in jobs if job.id not in taken]) for ready, jobs in candidates]
    for ready, jobs in rest:
        others = max((left[0].priority for other, left in rest if left and other is not ready), default=None)
        allowed = [job for job in jobs if others is None or job.priority >= others]
        takers = [worker for worker in workers if classes.get(worker.info.name) == ready.resource_class]
        _fill_backlogs(takers, allowed, durations, chosen)
    return chosen


def _fill_backlogs(
    takers: Sequence[WorkerHandle],
    jobs: Sequence[ReadyJob],
    durations: DurationAverages,
    chosen: dict[str, list[ReadyJob]],
) -> None:
    """Spread jobs that are known to be short over the workers whose queued work is known to be short too."""
    at = 0
    for left in range(len(takers), 0, -1):
        worker = takers[len(takers) - left]
        given = chosen.get(worker.info.name, [])
        if worker.recalled:
            continue
        share = min(len(jobs), at + -(-(len(jobs) - at) // left))
        room = MAX_BACKLOG - len(worker.in_flight) - len(given)
        backlog = durations.backlog(worker) + sum(durations.average(job.template) for job in given)
        while at < share and room > 0 and backlog + durations.average(jobs[at].template) <= BACKLOG_SECONDS:
            given.append(jobs[at])
            backlog += durations.average(jobs[at].template)
            at, room = at + 1, room - 1
        if given:
            chosen[worker.info.name] = given


def give_back(archive: Transaction, attempts: Sequence[int], now: float) -> None:
    """Release claims whose attempts have not started.

    Their jobs become ready, or waiting if a revision has added a need meanwhile, or canceled if that was requested. An
    attempt that a rerun has archived meanwhile ends as canceled and changes no job's state."""
    standing = archive.queue.status(attempts)
    live = {number: known.job for number, known in standing.items() if not known.archived}
    canceled = {known.job for known in standing.values() if known.cancel_asked and not known.archived}
    archive.queue.release(live)
    archive.queue.move([_released(job, canceled=job.id in canceled) for job in archive.jobs.get(sorted(live.values()))])
    archive.jobs.cancel(sorted(canceled))
    archive.queue.move(archive.queue.gave_up(sorted(canceled)))
    archive.queue.end([_canceled_unstarted(number, now) for number in sorted(standing.keys() - live.keys())])


def _canceled_unstarted(attempt: int, now: float) -> AttemptEnd:
    failure = Failure(message="canceled before it started")
    return AttemptEnd(attempt, State.CANCELED, now, cause=Cause.CANCELED, failure=failure)


def _released(job: Job, *, canceled: bool) -> StateChange:
    description = f"job {job.id} {job.name}, whose claim was given back"
    after = transition(job.state, JobEvent.GIVE_BACK, description)
    if canceled:
        after = transition(after, JobEvent.CANCEL, description)
    elif job.unmet:
        after = transition(after, JobEvent.NEEDS_LOST, description)
    return StateChange(job.id, job.workflow, job.resource_class, job.state, after)
