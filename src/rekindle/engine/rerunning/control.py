"""Cancel, hold and release: what a user does to jobs beside running them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rekindle.domain.lifecycle import Event, transition
from rekindle.domain.models import JobFlags, Move
from rekindle.domain.states import ACTIVE, ENDED
from rekindle.engine.planning.canaries import settle
from rekindle.engine.presence import alive
from rekindle.engine.results import Canceled, Held
from rekindle.engine.session import Session
from rekindle.engine.wake import ring
from rekindle.store.port import Archive

_LISTED = 100
_LISTED_WITH_NOTE = 100_000
"""Jobs that an event lists: `why` finds the note of a job by its event."""


def cancel(session: Session, ids: Sequence[int], note: str | None = None) -> Canceled:
    """End what runs, and keep what has not started from starting. What has ended is left as it is. The note is kept
    with the event.

    Jobs that run are ended by their runner, which is woken; they are CANCELED once their processes are gone. What has
    failed and waits for a canary does so no more."""
    now = session.clock()
    with session.store.write() as archive:
        moves, active, over, touched_jobs = [], [], [], _Touched(note)
        for job in archive.jobs.flags(ids):
            if job.state in ENDED:
                over.append(job.id)
            elif job.state in ACTIVE:
                active.append(job)
                touched_jobs.add(job)
            elif not job.retired:
                moves.append(_canceled(job))
                touched_jobs.add(job)
        idle = [move.job for move in moves]
        archive.jobs.cancel(idle)
        archive.queue.move(moves)
        archive.queue.move(archive.queue.gave_up(idle, idle=True))
        archive.attempts.want_cancel([job.attempt for job in active if job.attempt is not None])
        groups = archive.canaries.of_jobs(over)
        answer = Canceled(
            now=tuple(idle),
            asked=tuple(job.id for job in active),
            ended=tuple(over),
            left_out=tuple(job for job in over if job in groups and groups[job].outcome is None),
        )
        touched_jobs.write(archive, now, "canceled")
        archive.canaries.leave(answer.left_out)
        settle(archive, now)
        runners = alive(archive, now)
    ring(session.store.folder, runners)
    return answer


def _canceled(job: JobFlags) -> Move:
    after = transition(job.state, Event.CANCEL, f"job {job.id} {job.name}")
    return Move(job.id, job.workflow, job.resource_class, job.state, after)


def hold(session: Session, ids: Sequence[int], reason: str = "held", *, instead: bool = False) -> Held:
    """Keep jobs from being claimed until they are released. What runs goes on to its end. With `instead` what is held
    for another reason is held for this one from now on."""
    return _set_hold(session, ids, reason, instead=instead)


def release(session: Session, ids: Sequence[int], note: str | None = None) -> Held:
    """Take holds back. The note is kept with the event."""
    return _set_hold(session, ids, None, note)


def _set_hold(
    session: Session, ids: Sequence[int], reason: str | None, note: str | None = None, *, instead: bool = False
) -> Held:
    now = session.clock()
    with session.store.write() as archive:
        changed, already, touched_jobs = [], [], _Touched(reason if reason not in (None, "held") else note)
        for job in archive.jobs.flags(ids):
            if (job.held is None) == (reason is not None) or (instead and job.held != reason):
                changed.append(job.id)
                touched_jobs.add(job)
            else:
                already.append(job.id)
        archive.jobs.hold(changed, reason)
        touched_jobs.write(archive, now, "held" if reason is not None else "released")
        runners = alive(archive, now)
    ring(session.store.folder, runners)
    return Held(tuple(changed), tuple(already))


class _Touched:
    """The jobs of each workflow that something was done to: how many there are, and the first of them."""

    def __init__(self, note: str | None) -> None:
        self._note, self._most = note, _LISTED if note is None else _LISTED_WITH_NOTE
        self._jobs = Counter[int]()
        self._first: dict[int, list[int]] = {}

    def add(self, job: JobFlags) -> None:
        self._jobs[job.workflow] += 1
        first = self._first.setdefault(job.workflow, [])
        if len(first) < self._most:
            first.append(job.id)

    def write(self, archive: Archive, now: float, kind: str) -> None:
        """Record it as an event of each workflow."""
        note = {} if self._note is None else {"note": self._note}
        for workflow, jobs in sorted(self._jobs.items()):
            archive.events.add(now, kind, workflow, {"jobs": jobs, "first": self._first[workflow], **note})
