"""Which ready jobs go to which worker: packed into what is free, and a little ahead where jobs are short."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from rekindle.domain.causes import Cause
from rekindle.domain.lifecycle import Event, transition
from rekindle.domain.models import Ending, Failure, Job, Move, NewAttempt, ReadyClass, ReadyJob, Workplace
from rekindle.domain.packing import Room, never_fits, pack
from rekindle.domain.selection import Compare, Op, Predicate, has_pattern
from rekindle.domain.states import State
from rekindle.engine.fan_outs import fan_outs_of, goes_on_with_a_part
from rekindle.engine.presence import works_elsewhere
from rekindle.engine.running.bench import MOST_STOCK, STOCK_SECONDS, Bench, Flight, Pace
from rekindle.engine.running.recipes import Recipes, assignments, kept_steps
from rekindle.engine.session import Session
from rekindle.journal.orders import FanOut
from rekindle.journal.places import attempt_folder
from rekindle.store.port import Archive

Offer = list[tuple[ReadyClass, list[ReadyJob]]]


@dataclass(frozen=True, slots=True)
class Scope:
    """What a runner works on, with what, as whom."""

    workflow: int | None
    total: Room
    runner: int
    store_folder: str
    host: str = ""
    only: Predicate | None = None  # see engine.results.WorkOptions
    place: Callable[[ReadyJob, int, float], Workplace | None] | None = None
    stopped: Mapping[int, str] = field(default_factory=dict)  # workflows of which nothing can start, and why
    owner: str = "this runner"  # whose room `total` is


@dataclass(frozen=True, slots=True)
class Claimed:
    """What was claimed for which worker, and what can never be claimed here: (job name, why)."""

    work: Mapping[str, list[Flight]]
    never_fit: Mapping[int, tuple[str, str]]  # by resource class
    left: int = 0  # jobs that are ready still, at most: held and delayed ones are counted too

    @property
    def any(self) -> bool:
        """Something was claimed."""
        return bool(self.work)


def without_patterns(session: Session, scope: Scope, benches: Sequence[Bench]) -> Scope:
    """Return a scope whose condition searches for no user's regular expression: one that does is replaced by the ids
    of the ready jobs for which it holds, as many as the workers can take. No transaction that writes may wait for a
    search."""
    if scope.only is None or not has_pattern(scope.only):
        return scope
    most = MOST_STOCK * len(benches)
    with session.store.read() as archive:
        here = _avoided(archive, scope, session.clock())
        classes = archive.queue.ready_classes(scope.workflow) if most else []
        found = [archive.queue.ready(one.workflow, one.resource_class, most, here, scope.only) for one in classes]
    return replace(scope, only=Compare("id", Op.IN, tuple(job.id for jobs in found for job in jobs)))


def claim(
    archive: Archive,
    scope: Scope,
    benches: Sequence[Bench],
    pace: Pace,
    recipes: Recipes,
    now: float,
    free: Room,
    most: int | None = None,
) -> Claimed:
    """Claim for every worker what it can take now, no more than `most` attempts; they are written, their workers are
    not told yet."""
    never: dict[int, tuple[str, str]] = {}
    classes = archive.queue.ready_classes(scope.workflow)
    offer = _offer(archive, scope, classes, benches, pace, now, never)
    chosen = _choose(offer, benches, pace, free)
    jobs = [(worker, job) for worker, picked in chosen.items() for job in picked][:most]
    if not jobs:
        return Claimed({}, never, sum(one.ready for one in classes))
    attempts = _claimed(archive, scope, recipes, [job for _, job in jobs], now)
    work: dict[str, list[Flight]] = {}
    kept = kept_steps(archive, recipes, attempts)
    archive.queue.steps([(attempt, step) for attempt, steps in kept.items() for step in steps])
    orders = assignments(archive, recipes, attempts, kept, _fan_outs(archive, recipes, attempts))
    takes = {ready.resource_class: ready.resources for ready, _ in offer}
    for (worker, job), assignment in zip(jobs, orders, strict=True):
        number = job.resource_class
        flight = Flight(job.id, job.name, job.workflow, job.template, number, assignment, takes[number])
        work.setdefault(worker, []).append(flight)
    return Claimed(work, never, sum(one.ready for one in classes) - len(jobs))


def _claimed(
    archive: Archive, scope: Scope, recipes: Recipes, jobs: Sequence[ReadyJob], now: float
) -> list[NewAttempt]:
    first = archive.queue.next_attempt()
    attempts = [_new_attempt(archive, scope, recipes, first + at, job, now) for at, job in enumerate(jobs)]
    archive.queue.claim(attempts, scope.runner, now)
    return attempts


def _new_attempt(
    archive: Archive, scope: Scope, recipes: Recipes, number: int, job: ReadyJob, now: float
) -> NewAttempt:
    own, token = attempt_folder(scope.store_folder, number), secrets.token_hex(8)
    place = None
    if scope.place is not None and recipes.template(archive, job.template).workdir == "attempt":
        place = scope.place(job, number, now)
    if job.take == "same" and job.take_folder:
        return NewAttempt(number, token, job, job.take_folder, own)
    if place is None or (place.shared and job.take == "copy" and job.take_folder != place.path):
        return NewAttempt(number, token, job, own)  # a copy is never put among other files
    return NewAttempt(number, token, job, place.path, own, given=True, shared=place.shared)


def _fan_outs(archive: Archive, recipes: Recipes, attempts: Sequence[NewAttempt]) -> dict[int, tuple[FanOut, ...]]:
    """What resumed attempts keep of fan-outs; those that keep a part are marked."""
    resumed = [attempt for attempt in attempts if attempt.job.resume_attempt is not None]
    found = {one.id: fan_outs_of(archive, recipes.template(archive, one.job.template), one) for one in resumed}
    partial = [attempt.id for attempt in resumed if goes_on_with_a_part(attempt, found[attempt.id])]
    if partial:
        archive.subtasks.mark_partial(partial)
    return found


def _offer(
    archive: Archive,
    scope: Scope,
    classes: Sequence[ReadyClass],
    benches: Sequence[Bench],
    pace: Pace,
    now: float,
    never: dict[int, tuple[str, str]],
) -> Offer:
    """The ready jobs to choose from: of each class no more than all workers together could take."""
    idle = sum(bench.idle for bench in benches)
    here = _avoided(archive, scope, now)
    offer: Offer = []
    for ready in classes:
        busy = [bench for bench in benches if bench.resource_class == ready.resource_class and not bench.idle]
        if not idle and not busy:
            continue
        why = scope.stopped.get(ready.workflow) or never_fits(scope.total, ready.resources, scope.owner)
        first = 1 if scope.only is None else 2 * idle + len(busy)  # to look twice at what does not hold takes long
        jobs = archive.queue.ready(ready.workflow, ready.resource_class, first, here, scope.only)
        if not jobs:
            continue
        if why is not None:
            never[ready.resource_class] = (jobs[0].name, why)
            continue
        want = idle + (idle + len(busy)) * pace.depth(jobs[0].template)
        if want > first == len(jobs) < ready.ready:
            jobs = archive.queue.ready(ready.workflow, ready.resource_class, want, here, scope.only)
        offer.append((ready, jobs))
    return offer


def _avoided(archive: Archive, scope: Scope, now: float) -> str:
    """This host, if another one works too: a job that failed here and is to run on another host waits for that."""
    return scope.host if works_elsewhere(archive, scope.host, now) else ""


def _choose(offer: Offer, benches: Sequence[Bench], pace: Pace, free: Room) -> dict[str, list[ReadyJob]]:
    """First one job for each idle worker, packed; then short jobs ahead, for workers that have the same class."""
    chosen: dict[str, list[ReadyJob]] = {}
    classes = {bench.info.name: bench.resource_class for bench in benches if not bench.idle}
    idle = [bench for bench in benches if bench.idle]
    taken: set[int] = set()
    if idle:
        for bench, job in zip(idle, pack(free, offer), strict=False):
            chosen[bench.info.name] = [job]
            classes[bench.info.name] = job.resource_class
            taken.add(job.id)
    rest = [(ready, [job for job in jobs if job.id not in taken]) for ready, jobs in offer]
    for ready, jobs in rest:
        others = max((left[0].priority for other, left in rest if left and other is not ready), default=None)
        allowed = [job for job in jobs if others is None or job.priority >= others]
        takers = [bench for bench in benches if classes.get(bench.info.name) == ready.resource_class]
        _stock_up(takers, allowed, pace, chosen)
    return chosen


def _stock_up(takers: Sequence[Bench], jobs: Sequence[ReadyJob], pace: Pace, chosen: dict[str, list[ReadyJob]]) -> None:
    """Spread jobs that are known to be short over the workers, behind work that is known to be short too."""
    at = 0
    for left in range(len(takers), 0, -1):
        bench = takers[len(takers) - left]
        given = chosen.get(bench.info.name, [])
        if bench.recalled:
            continue
        share = min(len(jobs), at + -(-(len(jobs) - at) // left))
        room = MOST_STOCK - len(bench.flights) - len(given)
        ahead = pace.stock(bench) + sum(pace.of(job.template) for job in given)
        while at < share and room > 0 and ahead + pace.of(jobs[at].template) <= STOCK_SECONDS:
            given.append(jobs[at])
            ahead += pace.of(jobs[at].template)
            at, room = at + 1, room - 1
        if given:
            chosen[bench.info.name] = given


def give_back(archive: Archive, attempts: Sequence[int], now: float) -> None:
    """Take back claims of which nothing has started. Their jobs are ready again, or wait for what a revision has made
    them need meanwhile; those whose end was asked for are canceled. An attempt that a rerun has archived meanwhile ends
    as canceled, and moves no job."""
    standing = archive.queue.standing(attempts)
    live = {number: known.job for number, known in standing.items() if not known.archived}
    canceled = {known.job for known in standing.values() if known.cancel_asked and not known.archived}
    archive.queue.release(live)
    archive.queue.move([_given_back(job, job.id in canceled) for job in archive.jobs.get(sorted(live.values()))])
    archive.jobs.cancel(sorted(canceled))
    archive.queue.move(archive.queue.gave_up(sorted(canceled)))
    archive.queue.end([_canceled_before(number, now) for number in sorted(standing.keys() - live.keys())])


def _canceled_before(attempt: int, now: float) -> Ending:
    failure = Failure(message="canceled before it started")
    return Ending(attempt, State.CANCELED, now, cause=Cause.CANCELED, failure=failure)


def _given_back(job: Job, canceled: bool) -> Move:
    story = f"job {job.id} {job.name}, whose claim was given back"
    after = transition(job.state, Event.GIVE_BACK, story)
    if canceled:
        after = transition(after, Event.CANCEL, story)
    elif job.unmet:
        after = transition(after, Event.NEEDS_LOST, story)
    return Move(job.id, job.workflow, job.resource_class, job.state, after)
