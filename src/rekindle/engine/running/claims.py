"""Claims: which ready jobs go to which worker, packed into the free capacity, and short jobs several at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from rekindle.domain.models import AttemptEnd, Failure, GivenFolder, Job, NewAttempt, ReadyJob, StateChange
from rekindle.domain.packing import Capacity, explain_never_fits, pack_jobs
from rekindle.domain.selection import Compare, Op, Predicate, has_pattern
from rekindle.domain.states import Cause, JobEvent, State, transition
from rekindle.engine.fan_outs import fan_outs_to_resume, resumes_partially
from rekindle.engine.presence import works_elsewhere
from rekindle.engine.running.assignments import TaskTemplates, assignments, kept_steps
from rekindle.engine.running.dispatch import DurationAverages, InFlightAttempt, WorkerHandle
from rekindle.engine.running.slices import MAX_READY, slice_jobs
from rekindle.engine.running.time_left import TimeLeft
from rekindle.journal.paths import attempt_folder

if TYPE_CHECKING:
    from rekindle.engine.session import Session
    from rekindle.journal.orders import FanOut
    from rekindle.store.archive import Snapshot, Transaction

Candidates = dict[int, list[ReadyJob]]
"""Ready jobs to choose from, by resource class, each in the order of the queue."""


class ClaimScope(msgspec.Struct, frozen=True):
    """The jobs that a runner may claim, and the capacity that it has for them."""

    workflow: int | None  # None: all
    total: Capacity
    runner: int
    store_folder: str
    host: str = ""  # empty: no other host works on the store
    only: Predicate | None = None  # see engine.results.WorkOptions
    place: Callable[[ReadyJob, int, float], GivenFolder | None] | None = None
    stopped: Mapping[int, str] = msgspec.field(default_factory=dict)  # workflows whose jobs cannot start, and why
    time_left: TimeLeft | None = None  # None: no end
    skipped: frozenset[int] = frozenset()  # templates whose jobs are not claimed
    owner: str = "this runner"  # who has the capacity, for messages


class Claims(msgspec.Struct, frozen=True):
    """The result of claiming: attempts by worker, jobs that can never be claimed here as (job name, why), and the
    number of further jobs that fit and wait for a worker to be started."""

    work: Mapping[str, list[InFlightAttempt]]
    never_fit: Mapping[int, tuple[str, str]]  # by resource class
    left: bool = False  # more jobs are ready
    waiting: int = 0


def without_patterns(session: Session, scope: ClaimScope, most: int) -> ClaimScope:
    """Return the scope without a user's regular expression, because no write transaction may wait for a search.

    A condition that has one is replaced by the ids of the ready jobs that match, at most `most`."""
    if scope.only is None or not has_pattern(scope.only):
        return scope
    with session.store.read() as archive:
        found = _find_ready(archive, scope, session.clock(), most) if most else []
    return replace(scope, only=Compare("id", Op.IN, tuple(job.id for job in found)))


def claim(
    archive: Transaction,
    scope: ClaimScope,
    workers: Sequence[WorkerHandle],
    durations: DurationAverages,
    tasks: TaskTemplates,
    now: float,
    free: Capacity,
    most: int | None = None,
    absent: int = 0,
) -> Claims:
    """Claim as many jobs as the workers can take now, and at most `most`. `absent`: how many more could be started.

    Store the attempts. The caller assigns them to the workers once the transaction is committed."""
    free_slots = absent + sum(worker.idle for worker in workers)
    refills = durations.supply.refills
    limit = _jobs_to_read(scope, workers, durations, free_slots, absent)
    scope, ready, never_fit = _find_in_time(archive, scope, now, limit if refills or not free_slots else MAX_READY)
    found = _by_class(ready)
    durations.classes = len(found)
    resources = archive.jobs.resources(found)
    reasons = {number: explain_never_fits(scope.total, resources[number], scope.owner) for number in found}
    unfit = {number: (jobs[0].name, why) for number, jobs in found.items() if (why := reasons[number]) is not None}
    never_fit |= unfit
    candidates = {number: jobs for number, jobs in found.items() if number not in unfit}
    idle = [worker.info.name for worker in workers if worker.idle]
    if refills:
        classes = [(resources[number], jobs) for number, jobs in candidates.items()] if free_slots else []
        first = pack_jobs(free, classes)[:free_slots]  # one job for each slot
        chosen = {worker: [job] for worker, job in zip(idle, first, strict=False)}
        rest = _choose_short(archive, scope, tasks, candidates, workers, durations, chosen, now, limit, free_slots)
    else:
        kinds = tasks.kinds(archive, {job.template for jobs in candidates.values() for job in jobs})
        slices = slice_jobs(free, resources, candidates, kinds, durations)[:free_slots]
        first = [one[0] for one in slices]
        chosen = dict(zip(idle, slices, strict=False))
        rest = sum(map(len, candidates.values())) - sum(map(len, chosen.values()))
    jobs = [(worker, job) for worker, picked in chosen.items() for job in picked][:most]
    taken = {job.id for _, job in jobs}
    waiting = sum(job.id not in taken for job in first)
    waiting = min(waiting, absent, absent if most is None else most - len(jobs))
    left = rest > (waiting if refills else 0) or bool(never_fit) or len(jobs) < sum(map(len, chosen.values()))
    if not jobs:
        return Claims({}, never_fit | _stopped_jobs(archive, scope, now), left, waiting)
    attempts = _store_claims(archive, scope, tasks, [job for _, job in jobs], now)
    work: dict[str, list[InFlightAttempt]] = {}
    kept = kept_steps(archive, tasks, attempts)
    archive.queue.steps([(attempt, step) for attempt, steps in kept.items() for step in steps])
    orders = assignments(archive, tasks, attempts, kept, _fan_outs(archive, tasks, attempts))
    kinds = tasks.kinds(archive, {job.template for _, job in jobs})
    for (worker, job), assignment in zip(jobs, orders, strict=True):
        number, kind = job.resource_class, kinds[job.template]
        in_flight = InFlightAttempt(assignment, kind, number, resources[number])
        work.setdefault(worker, []).append(in_flight)
    return Claims(work, never_fit, left, waiting)


def _jobs_to_read(
    scope: ClaimScope, workers: Sequence[WorkerHandle], durations: DurationAverages, free_slots: int, absent: int
) -> int:
    """Return how many ready jobs of each resource class to read at first: one more than there are free slots. With one
    class, as many as the workers have room for. With a condition more: evaluating the condition twice is slow."""
    limit = 1 + (free_slots if scope.only is None else 2 * (absent + len(workers)))
    if durations.supply.refills and durations.classes == 1:
        limit += sum(map(durations.room, workers))
    return limit


def _find_ready(
    archive: Snapshot, scope: ClaimScope, now: float, limit: int, resource_class: int | None = None
) -> list[ReadyJob]:
    """Return the first ready jobs of each resource class, or of one."""
    here = _avoided_host(archive, scope, now)
    return archive.queue.ready(
        scope.workflow,
        limit,
        here,
        scope.only,
        resource_class=resource_class,
        stopped=scope.stopped,
        skipped=scope.skipped,
    )


def _find_in_time(
    archive: Snapshot, scope: ClaimScope, now: float, limit: int
) -> tuple[ClaimScope, list[ReadyJob], dict[int, tuple[str, str]]]:
    """Return the first ready jobs of each resource class that can end in time, the scope without the templates of the
    others, and of these, by resource class, one job with the reason."""
    late: dict[int, tuple[str, str]] = {}
    while True:
        found = _find_ready(archive, scope, now, limit)
        longer = scope.time_left.too_long(archive, found) if scope.time_left is not None else {}
        if not longer:
            return scope, found, late
        for job in found:
            if job.template in longer:
                late.setdefault(job.resource_class, (job.name, longer[job.template]))
        scope = replace(scope, skipped=scope.skipped | longer.keys())


def _by_class(jobs: Sequence[ReadyJob]) -> Candidates:
    found: Candidates = {}
    for job in jobs:
        found.setdefault(job.resource_class, []).append(job)
    return found


def _stopped_jobs(archive: Snapshot, scope: ClaimScope, now: float) -> dict[int, tuple[str, str]]:
    """Return the first ready jobs of stopped workflows by resource class, each with the reason. They are read only
    when nothing is claimed, because their number grows with that of the workflows."""
    here = _avoided_host(archive, scope, now) if scope.stopped else ""
    return {
        job.resource_class: (job.name, why)
        for workflow, why in scope.stopped.items()
        for job in archive.queue.ready(workflow, 1, here, scope.only)
    }


def _store_claims(
    archive: Transaction, scope: ClaimScope, tasks: TaskTemplates, jobs: Sequence[ReadyJob], now: float
) -> list[NewAttempt]:
    ids = archive.queue.attempt_ids(len(jobs))
    attempts = [_new_attempt(archive, scope, tasks, *one, now) for one in zip(ids, jobs, strict=True)]
    archive.queue.claim(attempts, scope.runner, now)
    return attempts


def _new_attempt(
    archive: Snapshot, scope: ClaimScope, tasks: TaskTemplates, number: int, job: ReadyJob, now: float
) -> NewAttempt:
    own, token = attempt_folder(scope.store_folder, number), os.urandom(8).hex()
    place, identity = None, tasks.identity(archive, job)
    if scope.place is not None and tasks.template(archive, job.template).workdir == "attempt":
        place = scope.place(job, number, now)
    if job.next.take == "same" and job.next.folder:
        return NewAttempt(number, token, job, job.next.folder, own)
    if place is None or (place.shared and job.next.take == "copy" and job.next.folder != place.path):
        return NewAttempt(number, token, job, own, identity=identity)  # a copy is never mixed with other files
    return NewAttempt(number, token, job, place.path, own, given=True, shared=place.shared)


def _fan_outs(
    archive: Transaction, tasks: TaskTemplates, attempts: Sequence[NewAttempt]
) -> dict[int, tuple[FanOut, ...]]:
    """Return, by attempt, the fan-outs that resumed attempts keep. Mark the attempts that keep only some subtasks."""
    resumed = [attempt for attempt in attempts if attempt.job.next.resume_attempt is not None]
    found = {one.id: fan_outs_to_resume(archive, tasks.template(archive, one.job.template), one) for one in resumed}
    partial = [attempt.id for attempt in resumed if resumes_partially(attempt, found[attempt.id])]
    if partial:
        archive.subtasks.mark_partial(partial)
    return found


def _avoided_host(archive: Snapshot, scope: ClaimScope, now: float) -> str:
    """Return this host if a runner works on another one, else "". A job that failed on a host, and is to run on
    another, is not claimed on the avoided host."""
    return scope.host if scope.host and works_elsewhere(archive, scope.host, now) else ""


def _choose_short(
    archive: Snapshot,
    scope: ClaimScope,
    tasks: TaskTemplates,
    candidates: Candidates,
    workers: Sequence[WorkerHandle],
    durations: DurationAverages,
    chosen: dict[str, list[ReadyJob]],
    now: float,
    limit: int,
    free_slots: int,
) -> int:
    """Add short jobs to `chosen` for workers whose jobs are of the same class, unless jobs of another class have a
    higher priority. Return how many more jobs are known to be ready. `limit`: of the candidates of each class."""
    takers: dict[int, list[WorkerHandle]] = {}
    for worker in workers:
        given = chosen.get(worker.info.name)
        number = given[0].resource_class if given else worker.resource_class
        if number is not None and (given or not worker.idle):
            takers.setdefault(number, []).append(worker)
    taken = {job.id for jobs in chosen.values() for job in jobs}
    rest = {number: [job for job in jobs if job.id not in taken] for number, jobs in candidates.items()}
    first = sorted(((jobs[0].priority, number) for number, jobs in rest.items() if jobs), reverse=True)[:2]
    for number in takers.keys() & rest.keys():
        jobs = rest[number]
        if not jobs and len(candidates[number]) < limit:
            continue  # no more are ready
        templates = {job.template for job in candidates[number]}
        kinds = tasks.kinds(archive, templates)
        shortest = min(durations.estimate(kinds[template]) for template in templates)
        others = next((priority for priority, other in first if other != number), None)
        want = 1 + free_slots + sum(durations.room(worker, shortest) for worker in takers[number])
        if want > limit == len(candidates[number]) and (others is None or jobs[0].priority >= others):
            found = _find_ready(archive, scope, now, want, number)
            jobs = rest[number] = [job for job in found if job.id not in taken]
            kinds = tasks.kinds(archive, {job.template for job in jobs})
        allowed = [job for job in jobs if others is None or job.priority >= others]
        _fill_backlogs(takers[number], allowed, durations, kinds, chosen)
    return sum(map(len, rest.values())) - (sum(map(len, chosen.values())) - len(taken))


def _fill_backlogs(
    takers: Sequence[WorkerHandle],
    jobs: Sequence[ReadyJob],
    durations: DurationAverages,
    kinds: Mapping[int, int],
    chosen: dict[str, list[ReadyJob]],
) -> None:
    """Spread jobs that are short, or are assumed to be, over the workers whose queued work is known to be short too.
    `kinds`: see `TaskTemplates`."""
    at = 0
    for left in range(len(takers), 0, -1):
        worker = takers[len(takers) - left]
        given = chosen.get(worker.info.name, [])
        if worker.recalled:
            continue
        share = min(len(jobs), at + -(-(len(jobs) - at) // left))
        room = durations.supply.most - len(worker.in_flight) - len(given)
        backlog = durations.backlog(worker) + sum(durations.estimate(kinds[job.template]) for job in given)
        while at < share and room > 0:
            seconds = durations.estimate(kinds[jobs[at].template])
            if backlog + seconds > durations.supply.seconds:
                break
            given.append(jobs[at])
            backlog, at, room = backlog + seconds, at + 1, room - 1
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
    jobs = archive.jobs.get(sorted(live.values()))
    archive.queue.move([_released(job, canceled=job.id in canceled) for job in jobs])
    archive.jobs.cancel(sorted(canceled))
    waiting = {job.id for job in jobs if job.unmet}  # for what may have given up: then these have, too
    archive.queue.gave_up(sorted(canceled | waiting), idle=bool(waiting))
    archived = [_canceled_unstarted(number, now) for number in sorted(standing.keys() - live.keys())]
    archive.queue.end(archived, standing)


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
