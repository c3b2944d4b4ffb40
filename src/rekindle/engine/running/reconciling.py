"""Reconcile with dead runners: record what their jobs came to, so that whatever acts next acts on the present state."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from rekindle.domain.causes import Cause
from rekindle.domain.errors import Refused, StoreError
from rekindle.domain.models import Attempt, Job, Runner
from rekindle.domain.states import ACTIVE, ENDED, State
from rekindle.engine.planning.retrying import ErrorSearch
from rekindle.engine.presence import Presence, alive, is_alive, presence, unattended
from rekindle.engine.rerunning import control
from rekindle.engine.results import Canceled, Reattached, Reattachment, Reconciled, some_names
from rekindle.engine.running.estates import SOON_SECONDS, Estates
from rekindle.engine.running.ingest import failures_of, ingest
from rekindle.engine.running.lease import LEASE_SECONDS
from rekindle.engine.running.orphans import STUCK_SECONDS, Orphan
from rekindle.engine.running.recovery import estate_of
from rekindle.engine.session import Session, tentative
from rekindle.engine.wake import ring
from rekindle.store.port import Archive

CANCEL_SECONDS = 3.0
"""How long `reconcile` waits, beyond their grace, for jobs that it cancels."""


def reconcile(session: Session, *, looks: bool = False) -> Reconciled | None:
    """Record what became of the jobs of dead runners, as a new runner would.

    What finished is recorded, what is lost ends so and runs again, what was claimed and never started is ready again,
    and what was canceled is ended, which is waited for. What still runs is left to the next runner. `looks`: runners
    of the store that this one was copied from are left too. None: no runner is dead, or nothing has changed."""
    now = session.clock()
    with session.store.read() as archive:
        if not _dead(archive, now, looks=looks):
            return None
    estates = Estates(session.store.folder)
    try:
        with session.store.write() as archive:
            dead = _dead(archive, now, looks=looks)
            estates.take_over(archive, dead, None)
        if not estates:
            return None
        _settle(session, estates, dead[0].host)
        found = estates.found
        with session.store.read() as archive:
            canceled = _canceled(archive, found.finished | found.lost)
            runners = alive(archive, now)
            answer = Reconciled(
                tuple(runner.id for runner in dead),
                finished=_names(archive, found.finished - canceled),
                canceled=_names(archive, canceled),
                again=tuple(job.name for job in archive.jobs.get(sorted(found.again))),
                lost=_names(archive, found.lost - canceled, found.again),
                unstarted=len(found.unstarted),
            )
    finally:
        estates.close()
    ring(session.store.folder, runners)
    return answer if answer.changed else None


@contextmanager
def reconciled(session: Session, *, looks: bool = False) -> Iterator[Session]:
    """Reconcile with dead runners before a command that acts, so that it acts on what became of their jobs, and after
    it, so that those of their jobs that it cancels are ended. What changed goes to the session's `note`, and then which
    of their jobs still run, also where the command is refused. `looks`: the command only looks, and works on a store
    that cannot be written too."""
    _reconcile_noted(session, looks=looks)
    if looks:
        yield session
        return
    try:
        yield session
        _reconcile_noted(session, looks=False)
    except Refused:
        _note_orphans(session)
        raise
    _note_orphans(session)


WATCH_SECONDS = 1.0
"""The least time between two reconciliations of a command that waits."""


class DeadRunnerWatch:
    """Reconciles with dead runners for a command that waits for jobs, so that it does not wait for one that has ended
    and that no runner will record."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._next = 0.0

    def look(self) -> bool:
        """Reconcile if no runner is alive and a second has passed since the last time. Return whether one is alive."""
        with self._session.store.read() as archive:
            if alive(archive, self._session.clock()):
                return True
        if time.monotonic() >= self._next:
            _reconcile_noted(self._session, looks=True)
            self._next = time.monotonic() + WATCH_SECONDS
        return False


def _reconcile_noted(session: Session, *, looks: bool) -> None:
    try:
        found = reconcile(session, looks=looks)
    except StoreError:
        if not looks:
            raise
        return
    if found is not None and session.note is not None:
        session.note(found.summary)


def _note_orphans(session: Session) -> None:
    """Note which jobs still run though their runner is dead."""
    if session.note is None:
        return
    with session.store.read() as archive:
        left = {
            runner.id: archive.jobs.get(
                [one.job for one in archive.attempts.active(runner.id) if one.state is State.RUNNING]
            )
            for runner in _dead(archive, session.clock(), looks=True)
        }
    for runner, jobs in left.items():
        if jobs:
            names = some_names([f"`{job.name}`" for job in jobs])
            verb, end = ("runs", "its end") if len(jobs) == 1 else ("run", "their ends")
            session.note(f"runner {runner} died; {names} still {verb}: `rekindle work` records {end}")


def cancel(session: Session, ids: Sequence[int], note: str | None = None) -> Canceled:
    """Cancel jobs (see control.cancel), also those whose runner is dead: these are ended here, and waited for."""
    reconciled = reconcile(session)
    done = control.cancel(session, ids, note)
    ended = reconcile(session) if done.asked else None
    with session.store.read() as archive:
        over = tuple(job.id for job in archive.jobs.get(done.asked) if job.state in ENDED)
    return replace(done, over=over, reconciled=tuple(one for one in (reconciled, ended) if one is not None))


def _dead(archive: Archive, now: float, *, looks: bool) -> list[Runner]:
    """Return the dead runners whose jobs no living runner has taken over. Where only its lease can show that a runner
    is dead, the lease must be over for as long again: clocks of hosts differ."""

    def surely(runner: Runner) -> bool:
        return presence(runner, now) is not Presence.EXPIRED or runner.expires + LEASE_SECONDS <= now

    return [one for one in unattended(archive, now) if surely(one) and not (looks and one.elsewhere)]


def _canceled(archive: Archive, attempts: Collection[int]) -> set[int]:
    return {one.id for one in archive.attempts.some(attempts) if one.state is State.CANCELED}


def _names(archive: Archive, attempts: Collection[int], but: Collection[int] = ()) -> tuple[str, ...]:
    """The names of the jobs of these attempts, without the jobs `but`."""
    jobs = {one.job for one in archive.attempts.some(attempts)} - set(but)
    return tuple(job.name for job in archive.jobs.get(sorted(jobs)))


@dataclass(frozen=True, slots=True)
class _Asked:
    """The jobs that were asked for, as they stood before anything was done."""

    now: float
    jobs: Sequence[Job]
    attempts: dict[int, Attempt]  # by job: those that have not ended
    runners: dict[int, Runner]  # that have not ended, dead ones too
    dead: dict[int, Runner]  # of those, whose estates hold any of these attempts and nobody sees to


def plan_reattach(session: Session, ids: Sequence[int]) -> Reattachment:
    """Return what reattaching these jobs would find; nothing is changed."""
    now = session.clock()
    with session.store.read() as archive:
        asked = _asked(archive, ids, now)
        estates = [estate_of(archive, runner, session.store.folder) for runner in asked.dead.values()]
        orphans = [orphan for estate in estates for orphan in estate.orphans]
        for orphan in orphans:
            orphan.told = not orphan.path.exists()  # it would be kept from beginning
    pages = [page for orphan in orphans if (page := orphan.look()) is not None]
    errors = ErrorSearch(session).search(failures_of(pages))
    with tentative(session) as archive:
        here = next(iter(asked.dead.values())).host if asked.dead else ""
        ingest(archive, pages, here, now, errors)
        found = tuple(_told(archive, asked, orphans, {}, job) for job in asked.jobs)
        runners = alive(archive, now)
    for orphan in orphans:
        orphan.forget()
    return Reattachment(found, bool(runners))


def reattach(session: Session, ids: Sequence[int]) -> Reattachment:
    """Take in what has become of these jobs: what finished unseen is recorded, what is lost ends so and runs again, and
    what runs on is left to whoever works next. Settles all that their runners have left."""
    estates, now = Estates(session.store.folder), session.clock()
    try:
        with session.store.write() as archive:
            asked = _asked(archive, ids, now)
            estates.take_over(archive, asked.dead.values(), None)
        _settle(session, estates, next((runner.host for runner in asked.dead.values()), ""))
        orphans = estates.orphans()
        with session.store.read() as archive:
            lost = dict.fromkeys(estates.found.lost, estates.found.again)
            asked = replace(asked, runners={runner.id: runner for runner in archive.runners.alive()})
            found = tuple(_told(archive, asked, orphans, lost, job) for job in asked.jobs)
            runners = alive(archive, now)
    finally:
        estates.close()
    ring(session.store.folder, runners)
    reruns = estates.found.reruns
    return Reattachment(found, bool(runners), reruns[-1] if reruns else None)


def _settle(session: Session, estates: Estates, host: str) -> None:
    """Read and settle until what is left runs on by itself, or cannot be ended."""
    limit, canceling = time.monotonic() + 2 * STUCK_SECONDS, False
    search = ErrorSearch(session)
    while estates:
        pages = estates.gather()
        if estates.ripe:
            now, errors = session.clock(), search.search(failures_of(pages))
            with session.store.write() as archive:
                estates.settle(archive, ingest(archive, pages, host, now, errors), now)
                wanted = estates.cancel_wanted(archive)
                if wanted and not canceling:
                    limit += CANCEL_SECONDS + max(archive.workflows.template(one.template).grace for one in wanted)
                canceling = bool(wanted)
            estates.advance(pages)
        if not (estates.hurried or canceling) or time.monotonic() > limit:
            return
        time.sleep(SOON_SECONDS)


def _asked(archive: Archive, ids: Sequence[int], now: float) -> _Asked:
    jobs = archive.jobs.get(ids)
    active = {job.id: archive.attempts.get(job.attempt) for job in jobs if job.state in ACTIVE and job.attempt}
    attempts = {job: attempt for job, attempt in active.items() if attempt is not None}
    owners = {attempt.runner for attempt in attempts.values()}
    runners = {runner.id: runner for runner in archive.runners.alive()}
    dead = {runner.id: runner for runner in unattended(archive, now) if runner.id in owners}
    return _Asked(now, jobs, attempts, runners, dead)


def _told(
    archive: Archive, asked: _Asked, orphans: Sequence[Orphan], lost: dict[int, set[int]], job: Job
) -> Reattached:
    """What was found of a job."""
    before = asked.attempts.get(job.id)
    if before is None:
        return Reattached(job.id, job.name, "none", job.state, why=f"it is {job.state.label}, and nothing runs")
    if before.runner not in asked.dead:
        return Reattached(job.id, job.name, "attended", job.state, why=_attended(asked, before))
    (now,) = archive.jobs.get([job.id])
    after = archive.attempts.get(before.id)
    if after is None:
        return Reattached(job.id, job.name, "gone", now.state, why="it had not started; it is ready again")
    if after.id in lost:
        again = "it runs again" if job.id in lost[after.id] else "it does not run again by itself"
        died = "its worker died with its runner; " + again
        return Reattached(job.id, job.name, "gone", now.state, after.cause, after.pid, after.worker, why=died)
    if after.state in ENDED:
        state = State(after.state)
        why = None if now.state is state else f"it is {now.state.label} now"
        return Reattached(job.id, job.name, "finished", state, after.cause, after.pid, after.worker, after.started, why)
    if _keeper(asked, after) is not None:  # somebody was faster
        return Reattached(job.id, job.name, "attended", now.state, why=_attended(asked, after))
    return _active(after, now, orphans)


def _active(attempt: Attempt, job: Job, orphans: Sequence[Orphan]) -> Reattached:
    """Of an attempt that has not ended: whether it runs on."""
    if attempt.state is State.QUEUED:
        if any(orphan.could_begin(attempt.token) and not orphan.gone for orphan in orphans):
            why = "not started; a worker that runs on has it, or its neighbour"
            return Reattached(job.id, job.name, "running", attempt.state, why=why)
        return Reattached(job.id, job.name, "gone", attempt.state, why="it had not started; it will be ready again")
    worker = next((one for one in orphans if one.worker == attempt.worker), None)
    if worker is not None and not worker.gone:
        pid = attempt.pid or worker.pid
        return Reattached(
            job.id, job.name, "running", attempt.state, pid=pid, worker=worker.worker, since=attempt.started
        )
    why = "its worker died with its runner; it will run again when nothing of it is left"
    return Reattached(job.id, job.name, "gone", attempt.state, Cause.LOST, attempt.pid, attempt.worker, why=why)


def _attended(asked: _Asked, attempt: Attempt) -> str:
    runner = asked.runners.get(attempt.runner or 0)
    if runner is None:
        return "its runner has ended"
    keeper = _keeper(asked, attempt)
    if keeper is not None:
        return f"runner {keeper.id} (pid {keeper.pid} on {keeper.host}) has adopted it"
    return f"runner {runner.id} (pid {runner.pid} on {runner.host}) is alive and attends it"


def _keeper(asked: _Asked, attempt: Attempt) -> Runner | None:
    """The runner that lives and has taken over from the attempt's own."""
    runner = asked.runners.get(attempt.runner or 0)
    keeper = asked.runners.get(runner.keeper or 0) if runner is not None and not is_alive(runner, asked.now) else None
    return keeper if keeper is not None and is_alive(keeper, asked.now) else None
