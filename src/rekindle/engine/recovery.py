"""After a runner has died: what its workers still do is waited for, what they did is read, what was lost runs again.

The dead runner's row stays open until all of its workers are gone; should the runner that took over die too, the
next one finds everything as it was.
"""

from __future__ import annotations

import json
import os
import select
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rekindle.domain.causes import Cause
from rekindle.domain.errors import ExecutorError
from rekindle.domain.models import Attempt, Ending, Failure, Runner
from rekindle.domain.planning import plan_rerun
from rekindle.domain.rerun import FROM_FAILED_STEP, How
from rekindle.domain.signatures import signature
from rekindle.domain.states import State
from rekindle.engine.claiming import give_back
from rekindle.engine.fan_outs import end_subtasks, planning_views, was_amid_fan_out
from rekindle.engine.ingest import Page, end_move
from rekindle.engine.machine import processors
from rekindle.engine.retrying import bounded_by_policy, retry
from rekindle.journal.copies import remove_tree
from rekindle.journal.ledger import mend, read
from rekindle.journal.places import attempt_folder, copy_part, forget_progress
from rekindle.journal.processes import boot_id, start_of, started_with
from rekindle.store.port import Archive

LOST_IN_A_ROW = 3
"""So many attempts of a job lost one after the other are not chance: it stays failed, and a user decides."""

KILL_ROUNDS = 20
"""How often the processes of lost attempts are looked for and killed, until none is found."""


@dataclass(slots=True)
class Orphan:
    """A worker whose runner is dead: it finishes what it runs, journals it, and goes."""

    worker: str
    path: Path
    pid: int
    pid_start: int
    boot_id: str
    position: int

    @property
    def gone(self) -> bool:
        """Its process is not there any more."""
        return self.boot_id != boot_id() or start_of(self.pid) != self.pid_start


@dataclass(slots=True)
class Estate:
    """What a dead runner left behind."""

    runner: Runner
    orphans: list[Orphan]
    store_folder: str


def take_over_dead(archive: Archive, dead: Iterable[Runner], keeper: int | None, store_folder: str) -> list[Estate]:
    """The estates of these runners, as far as nobody else has taken them over: `keeper` is who does."""
    estates = []
    for runner in dead:
        if not archive.runners.take_over(runner.id, runner.epoch, keeper):
            continue
        orphans = [
            Orphan(worker, Path(store_folder, path), pid, pid_start, runner.boot_id, position)
            for worker, path, pid, pid_start, position in archive.runners.journals(runner.id)
        ]
        estates.append(Estate(runner, orphans, store_folder))
    return estates


def pages(orphans: Iterable[Orphan]) -> list[Page]:
    """What these workers have journalled since they were read last. A dead one's torn last line is cut off."""
    found = []
    for orphan in orphans:
        if not orphan.path.exists():
            continue
        if orphan.gone:
            mend(orphan.path)
        records, position = read(orphan.path, orphan.position)
        if records:
            found.append(Page(orphan.worker, records, position))
    return found


def settle(archive: Archive, estate: Estate, now: float) -> tuple[int, ...]:
    """All workers of a dead runner are gone and their journals are ingested: what never started is ready again;
    what did is ended as lost (or canceled, where that was asked for), its processes killed, and runs again.

    Returns the lost attempts that run again."""
    left = archive.attempts.active(estate.runner.id)
    strays = kill_strays([attempt.folder for attempt in left if attempt.folder])
    never_started = [attempt for attempt in left if attempt.state is State.QUEUED and attempt.folder not in strays]
    for attempt in left:
        _drop_half_copy(attempt_folder(estate.store_folder, attempt.id))
    kept = {attempt.id for attempt in never_started}
    wanted = {number for number, _ in archive.attempts.wanted_cancel(estate.runner.id)}
    canceled = {attempt.job for attempt in never_started if attempt.id in wanted}
    give_back(archive, sorted(attempt.job for attempt in never_started), canceled)
    again = _end_lost(archive, [attempt for attempt in left if attempt.id not in kept], estate.runner, now)
    for orphan in estate.orphans:
        archive.runners.close_journal(orphan.worker)
    archive.runners.end(estate.runner.id, now)
    detail = {"runner": estate.runner.id, "lost": len(left) - len(kept), "never_started": len(kept)}
    archive.events.add(now, "recovered", None, detail)
    return again


def _drop_half_copy(own: str) -> None:
    """Remove the folder that an attempt was copying when its worker died."""
    forget_progress(own)
    remove_tree(copy_part(own))


def _end_lost(archive: Archive, attempts: Sequence[Attempt], runner: Runner, now: float) -> tuple[int, ...]:
    wanted = {number for number, _ in archive.attempts.wanted_cancel(runner.id)}
    standing = archive.queue.standing([attempt.id for attempt in attempts])
    endings, moves = [], []
    for attempt in attempts:
        known = standing[attempt.id]
        ending = _lost(attempt, runner, attempt.id in wanted, now)
        endings.append(ending)
        if known.job_attempt == attempt.id:
            moves.append(end_move(known, ending.state, ran=True))
    archive.queue.end(endings)
    end_subtasks(archive, endings)
    archive.queue.move(moves)
    lost = [attempt.job for attempt in attempts if attempt.id not in wanted and attempt.archived_by is None]
    bounded = bounded_by_policy(archive, lost)
    ended = [(ending, standing[ending.attempt]) for ending in endings]
    retried = retry(archive, [one for one in ended if one[1].job in bounded], now)
    return (*rerun_lost(archive, [job for job in lost if job not in bounded], now), *sorted(retried))


def _lost(attempt: Attempt, runner: Runner, canceled: bool, now: float) -> Ending:
    message = f"runner {runner.id} (pid {runner.pid} on {runner.host}) and the worker died under it"
    failure = Failure(message=message)
    cause = Cause.CANCELED if canceled else Cause.LOST
    found = signature(cause, "", "lost with its runner", "", "")
    evidence = {"runner": runner.id, "runner_pid": runner.pid, "worker": attempt.worker, "seen": "its worker is gone"}
    return Ending(
        attempt=attempt.id,
        state=State.CANCELED if canceled else State.FAILED,
        ended=now,
        started=attempt.started or attempt.queued,
        worker=attempt.worker,
        host=attempt.host or runner.host,
        pid=attempt.pid,
        pid_start=attempt.pid_start,
        cause=cause,
        failure=failure,
        evidence=json.dumps(evidence),
        signature=None if canceled else (found.digest, found.type, found.message),
    )


def rerun_lost(archive: Archive, jobs: Sequence[int], now: float) -> tuple[int, ...]:
    """Plan and apply the rerun of jobs whose attempts were lost, except those that are lost again and again: from
    the beginning, or from the fan-out amid which they were lost, whose complete subtasks do not run again.
    One that is held is left to whoever holds it, and those whose retry policy names what is lost are not for here.
    Returns the jobs that run again."""
    free = [job.id for job in archive.jobs.get(jobs) if job.held is None]
    chosen = [job for job in free if not _lost_too_often(archive, job)]
    if not chosen:
        return ()
    views, graph, earlier = planning_views(archive, [(chosen, _GO_ON)])
    amid = [job for job in chosen if was_amid_fan_out(earlier.get(job, views[job]))]
    past = archive.attempts.past(views, amid, float(processors()))
    plan = plan_rerun(views, graph, _manners(chosen, amid), earlier=earlier, past=past)
    if plan.refused:  # what cannot go on there starts as it had started
        refused = {job.id for job in plan.refused}
        again = _manners(chosen, [job for job in amid if job not in refused])
        plan = plan_rerun(views, graph, again, earlier=earlier, past=past)
    if plan.jobs:
        archive.reruns.apply(plan, "recovery", {"jobs": chosen}, "lost with their runner", now)
    return tuple(job.id for job in plan.jobs)


_GO_ON = How(FROM_FAILED_STEP, keep_modified=True, automatic=True)


def _manners(lost: Sequence[int], amid: Sequence[int]) -> list[tuple[list[int], How]]:
    """Those lost amid a fan-out go on there; the others are made over again."""
    return [(list(amid), _GO_ON), ([job for job in lost if job not in amid], How(again=True))]


def _lost_too_often(archive: Archive, job: int) -> bool:
    last = archive.attempts.listing([job], None)[-LOST_IN_A_ROW:]
    return len(last) == LOST_IN_A_ROW and all(attempt.cause is Cause.LOST for attempt in last)


def kill_strays(folders: Sequence[str]) -> set[str]:
    """Kill every process that belongs to one of these attempts (its environment says so), and wait until they are
    gone. Returns the folders of attempts that had such processes."""
    wanted = {f"REKINDLE_DIR={folder}".encode(): folder for folder in folders}
    found: set[str] = set()
    if not wanted:
        return found
    for _ in range(KILL_ROUNDS):
        strays = started_with(wanted)
        if not strays:
            return found
        for pid, folder in strays:
            found.add(folder)
            _kill(pid)
    raise ExecutorError(
        f"processes of lost attempts cannot be killed: {', '.join(str(pid) for pid, _ in strays)}",
        hint="end them, then `rekindle work` again",
    )


def _kill(pid: int) -> None:
    """SIGKILL a process and wait for its end, whoever's child it is."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        _await(handle)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)


def _await(handle: int) -> None:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    poll.poll(5000)
