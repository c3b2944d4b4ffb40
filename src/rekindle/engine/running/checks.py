"""Early cut-off: a ready job that has an attempt in reserve is looked at before it is claimed. Where that attempt is
still what would come out, it is live again, and the job is done without having run.

What the store knows is gathered in a reading transaction, files are read in a thread of its own in none, and the
outcome is written with the runner's next turn, for those jobs that stand as they stood. Nothing is written before:
a runner that dies amid this leaves the jobs to the next one, and two runners that look at the same do no harm.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event as Flag
from typing import TYPE_CHECKING

from rekindle.domain.changes.prints import FileSeen
from rekindle.domain.lifecycle import Event, transition
from rekindle.domain.models import Move, Reserved
from rekindle.domain.rerunning.rerun import Reason, ReasonKind
from rekindle.domain.states import State
from rekindle.engine.planning.canaries import settle
from rekindle.engine.session import Session
from rekindle.store.port import Archive

if TYPE_CHECKING:
    from rekindle.engine.changes.measuring import Measured

BATCH = 1000
"""So many jobs are looked at together: their outcomes come together, and what is below them waits for all."""

NAMED = 20
"""So many names of reinstated jobs are kept with an event."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What became of looking at a reserve. No reasons: it still holds."""

    job: Reserved
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    looked: Sequence[Looked]
    seen: Sequence[FileSeen]


class Checks:
    """What a runner looks at: one batch after the other, while it claims and runs other jobs."""

    def __init__(
        self, session: Session, workflow: int | None, environment: Mapping[str, str], wake: Callable[[], None]
    ) -> None:
        """`wake` is called in another thread when a batch has been looked at."""
        self._session, self._workflow, self._environment, self._wake = session, workflow, environment, wake
        self._pool: ThreadPoolExecutor | None = None
        self._under_way: Future[_Found] | None = None
        self._closed = Flag()

    @property
    def under_way(self) -> bool:
        """Outcomes will come, or are there."""
        return self._under_way is not None

    @property
    def done(self) -> bool:
        """Outcomes are there to be written."""
        return self._under_way is not None and self._under_way.done()

    def begin(self) -> None:
        """Start on what waits to be looked at, unless something is under way."""
        if self._under_way is not None:
            return
        with self._session.store.read() as archive:
            jobs = archive.reserves.listing(self._workflow, BATCH)
            if not jobs:
                return
            from rekindle.engine.changes.measuring import gather  # most runs never need it

            measured = gather(archive, {job.id: job.reserve for job in jobs}, self._environment)
        self._pool = self._pool or ThreadPoolExecutor(1, "checks")
        self._under_way = self._pool.submit(self._look, jobs, measured)
        self._under_way.add_done_callback(lambda _: self._wake())

    def settle(self, archive: Archive, now: float) -> int:
        """Write what is known by now, and release what is below; returns how many jobs were reinstated."""
        if self._under_way is None or not self._under_way.done():
            return 0
        found = self._under_way.result()
        archive.fingerprints.remember_files(found.seen)
        standing = archive.reserves.standing([one.job for one in found.looked])
        looked = [one for one in found.looked if one.job.id in standing]
        write(archive, looked, now)
        return sum(not one.reasons for one in looked)

    def settled(self) -> None:
        """The transaction of `settle` is committed."""
        if self.done:
            self._under_way = None

    def close(self) -> None:
        """Look no further: a file that is being read is left."""
        self._closed.set()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _look(self, jobs: Sequence[Reserved], measured: Measured) -> _Found:
        from rekindle.engine.changes.reading import Contents, take

        contents: Contents | None = None
        with contextlib.suppress(OSError):  # a disk fails: the jobs run, and their attempts say what they meet
            contents = take(measured.requests, measured.known, self._stop_when_closed)
        if contents is None:
            return _Found([Looked(job, (Reason(ReasonKind.UNKNOWN),)) for job in jobs], ())
        assessed = measured.judge(contents)
        looked = []
        for job in jobs:
            one = assessed.get(job.id)
            reasons = one.reasons if one is not None else ()
            if one is None or not (reasons or one.comparable):
                reasons = (Reason(ReasonKind.UNKNOWN),)
            looked.append(Looked(job, reasons))
        return _Found(looked, contents.seen)

    def _stop_when_closed(self, *_: int) -> None:
        if self._closed.is_set():
            raise _Closed


class _Closed(Exception):
    """The runner has ended."""


def write(archive: Archive, looked: Sequence[Looked], now: float) -> None:
    """Reinstate what holds and release what is below it; the rest is to run. All of them stand as they stood."""
    if not looked:
        return
    kept = [one.job for one in looked if not one.reasons]
    changed = [one.job for one in looked if one.reasons]
    archive.reruns.note_checks(
        [
            (
                one.job.id,
                one.job.reserve,
                {
                    "at": now,
                    "result": "runs" if one.reasons else "reinstated",
                    "reasons": [{"kind": reason.kind.value, **reason.detail} for reason in one.reasons],
                },
            )
            for one in looked
        ]
    )
    archive.reserves.drop([job.id for job in changed])
    archive.reserves.reinstate([(job.id, job.reserve) for job in kept])
    archive.queue.move([_reinstated(job) for job in kept])
    if kept:
        archive.queue.move(archive.queue.completed([job.id for job in kept]))
    for workflow in sorted({job.workflow for job in kept}):
        names = [job.name for job in kept if job.workflow == workflow]
        to_run = sum(job.workflow == workflow for job in changed)
        detail = {"jobs": len(names), "names": names[:NAMED], "to_run": to_run}
        archive.events.add(now, "reinstated", workflow, detail)
    if kept:
        settle(archive, now)


def _reinstated(job: Reserved) -> Move:
    after = transition(State.READY, Event.REINSTATE, f"job {job.id} {job.name}, attempt {job.reserve} in reserve")
    return Move(job.id, job.workflow, job.resource_class, State.READY, after)
