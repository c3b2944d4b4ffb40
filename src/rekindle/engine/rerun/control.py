"""Cancel, hold and release jobs, and acknowledge their ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

from rekindle.domain.models import Failure, JobFlags, StateChange
from rekindle.domain.states import ACTIVE, ENDED, JobEvent, transition
from rekindle.engine.automatic_reruns import RetryErrorMatches, RetryErrorSearch
from rekindle.engine.canaries import leave_groups, resolve_canaries
from rekindle.engine.failure_policy import release_failures
from rekindle.engine.notify import notify
from rekindle.engine.plan_inputs import KnownPaths, write_with_paths
from rekindle.engine.presence import live_runners
from rekindle.engine.queries.selections import Chosen, before_write, resolve_in, transaction_on
from rekindle.engine.results import CancelResult, HoldResult

if TYPE_CHECKING:
    from rekindle.domain.models import Runner
    from rekindle.engine.queries.selections import JobsInTransaction
    from rekindle.engine.session import Session
    from rekindle.store.archive import Transaction

_MOST_LISTED = 100

_MOST_LISTED_WITH_NOTE = 100_000
"""The most jobs that an event with a note lists: `why` finds the note of a job by its event."""


def cancel(session: Session, chosen: Chosen, note: str | None = None) -> CancelResult:
    """Cancel jobs: end running ones, and keep unstarted ones from starting. Ended jobs are left as they are. The note
    is recorded with the event.

    Running jobs are ended by their runner, which is notified; they become CANCELED once their processes have ended.
    Failed jobs that wait for a canary leave their group.
    """
    now = session.clock()

    def change(found: JobsInTransaction, paths: KnownPaths) -> tuple[CancelResult, list[Runner]]:
        archive, ids, moved = found
        moves, active, over, changes = [], [], [], _ChangedJobs(note)
        for job in archive.jobs.flags(ids):
            if job.state in ENDED:
                over.append(job.id)
            elif job.state in ACTIVE:
                active.append(job)
                changes.add(job.workflow, [job.id])
            elif not job.retired:
                moves.append(_cancel_move(job))
                changes.add(job.workflow, [job.id])
        idle = [move.job for move in moves]
        archive.jobs.cancel(idle)
        archive.queue.move(moves)
        archive.queue.gave_up(idle, idle=True)
        archive.attempts.want_cancel([job.attempt for job in active if job.attempt is not None])
        answer = CancelResult(
            now=tuple(idle),
            asked=tuple(job.id for job in active),
            ended=tuple(over),
            left_out=leave_groups(archive, over),
            moved=moved,
        )
        changes.write(archive, now, "canceled")
        resolve_canaries(archive, now, paths.exists)
        return answer, archive.runners.alive()

    answer, registered = write_with_paths(lambda: transaction_on(session, chosen), change)
    runners = live_runners(registered, now)
    notify(session.store, runners)
    return answer


def _cancel_move(job: JobFlags) -> StateChange:
    after = transition(job.state, JobEvent.CANCEL, f"job {job.id} {job.name}")
    return StateChange(job.id, job.workflow, job.resource_class, job.state, after)


def hold(session: Session, chosen: Chosen, reason: str = "held", *, instead: bool = False) -> HoldResult:
    """Keep jobs from being claimed until they are released. Running jobs continue. With `instead`, jobs held for
    another reason are held for this one."""
    return _set_hold(session, chosen, reason, instead=instead)


def release(session: Session, chosen: Chosen, note: str | None = None) -> HoldResult:
    """Release held jobs, and let failures that wait for a decision wait no longer (see `release_failures`). The note is
    recorded with the event."""
    errors = _errors_of_undecided(session, chosen)
    now = session.clock()

    def change(found: JobsInTransaction, paths: KnownPaths) -> tuple[HoldResult, list[Runner]]:
        archive, ids, _ = found
        decided = release_failures(archive, ids, now, paths.exists, errors)
        return _change_hold(found, None, note, now, decided), archive.runners.alive()

    done, registered = write_with_paths(lambda: transaction_on(session, chosen), change)
    notify(session.store, live_runners(registered, now))
    return done


def _errors_of_undecided(session: Session, chosen: Chosen) -> RetryErrorMatches:
    """Search the failures that wait for a decision for the errors that retry policies name."""
    with session.store.read() as archive:
        if not archive.overviews.undecided():
            return RetryErrorMatches()
    chosen = before_write(session, chosen)
    with session.store.read() as archive:
        ids, _ = resolve_in(archive, chosen)
        undecided = archive.judgements.undecided(ids)
        attempts = archive.attempts.by_id([attempt for attempt, _ in undecided.values()])
    return RetryErrorSearch(session).search({one.id: one.failure or Failure() for one in attempts})


def acknowledge(session: Session, jobs: Sequence[int], note: str) -> None:
    """Record that somebody has seen how these jobs ended until now. No job is changed."""
    changes = _ChangedJobs(note)
    with session.store.write() as archive:
        for job in archive.jobs.flags(jobs):
            changes.add(job.workflow, [job.id])
        changes.write(archive, session.clock(), "acknowledged")


def _set_hold(session: Session, chosen: Chosen, reason: str, *, instead: bool = False) -> HoldResult:
    now = session.clock()
    with transaction_on(session, chosen) as found:
        done = _change_hold(found, reason, None, now, instead=instead)
        registered = found[0].runners.alive()
    notify(session.store, live_runners(registered, now))
    return done


def _change_hold(
    found: JobsInTransaction,
    reason: str | None,
    note: str | None,
    now: float,
    more: Sequence[int] = (),
    *,
    instead: bool = False,
) -> HoldResult:
    """Hold jobs for a reason, or release them, in a transaction. `more`: jobs that were released already."""
    archive, ids, moved = found
    by_workflow: dict[int, Sequence[int]] = {**archive.jobs.hold(ids, reason, instead=instead)}
    for job in archive.jobs.flags(more):
        own = by_workflow.get(job.workflow, ())
        by_workflow[job.workflow] = own if job.id in own else sorted([*own, job.id])
    changes = _ChangedJobs(reason if reason not in (None, "held") else note)
    for workflow, jobs in by_workflow.items():
        changes.add(workflow, jobs)
    changes.write(archive, now, "held" if reason is not None else "released")
    changed = sorted(chain.from_iterable(by_workflow.values()))
    already = sorted(set(ids).difference(changed)) if len(changed) < len(ids) else ()
    return HoldResult(tuple(changed), tuple(already), moved)


class _ChangedJobs:
    """Counts the jobs changed in each workflow, and keeps the first of them."""

    def __init__(self, note: str | None) -> None:
        self._note, self._most = note, _MOST_LISTED if note is None else _MOST_LISTED_WITH_NOTE
        self._jobs = Counter[int]()
        self._first: dict[int, list[int]] = {}

    def add(self, workflow: int, jobs: Sequence[int]) -> None:
        """Add jobs of a workflow, by id."""
        self._jobs[workflow] += len(jobs)
        first = self._first.setdefault(workflow, [])
        first += jobs[: max(0, self._most - len(first))]

    def write(self, archive: Transaction, now: float, kind: str) -> None:
        """Record an event for each workflow."""
        note = {} if self._note is None else {"note": self._note}
        for workflow, jobs in sorted(self._jobs.items()):
            archive.events.add(now, kind, workflow, {"jobs": jobs, "first": self._first[workflow], **note})
