"""Cancel, hold and release: what a user does to jobs beside running them."""

from __future__ import annotations

from collections.abc import Sequence

from rekindle.domain.lifecycle import Event, transition
from rekindle.domain.models import Job, Move
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
        jobs = archive.jobs.get(ids)
        idle = [job for job in jobs if job.state not in ACTIVE and job.state not in ENDED and not job.retired]
        archive.jobs.cancel([job.id for job in idle])
        archive.queue.move([_canceled(job) for job in idle])
        archive.queue.move(archive.queue.gave_up([job.id for job in idle], idle=True))
        active = [job for job in jobs if job.state in ACTIVE]
        archive.attempts.want_cancel([job.attempt for job in active if job.attempt is not None])
        ended = tuple(job.id for job in jobs if job.state in ENDED)
        groups = archive.canaries.of_jobs(ended)
        answer = Canceled(
            now=tuple(job.id for job in idle),
            asked=tuple(job.id for job in active),
            ended=ended,
            left_out=tuple(job for job in ended if job in groups and groups[job].outcome is None),
        )
        _tell(archive, now, "canceled", [*idle, *active], note)
        archive.canaries.leave(answer.left_out)
        settle(archive, now)
        runners = alive(archive, now)
    ring(session.store.folder, runners)
    return answer


def _canceled(job: Job) -> Move:
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
        jobs = archive.jobs.get(ids)
        changed = [
            job for job in jobs if (job.held is None) == (reason is not None) or (instead and job.held != reason)
        ]
        archive.jobs.hold([job.id for job in changed], reason)
        note = reason if reason not in (None, "held") else note
        _tell(archive, now, "held" if reason is not None else "released", changed, note)
        runners = alive(archive, now)
    ring(session.store.folder, runners)
    touched = {job.id for job in changed}
    return Held(tuple(sorted(touched)), tuple(job.id for job in jobs if job.id not in touched))


def _tell(archive: Archive, now: float, kind: str, jobs: Sequence[Job], note: str | None) -> None:
    for workflow in sorted({job.workflow for job in jobs}):
        ids = [job.id for job in jobs if job.workflow == workflow]
        first = ids[: _LISTED if note is None else _LISTED_WITH_NOTE]
        detail = {"jobs": len(ids), "first": first} | ({} if note is None else {"note": note})
        archive.events.add(now, kind, workflow, detail)
