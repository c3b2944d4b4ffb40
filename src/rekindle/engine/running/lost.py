"""Attempts that were lost with their runner: they end so, and run again unless that happens too often."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rekindle.domain.causes import Cause
from rekindle.domain.errors import RekindleError
from rekindle.domain.models import Attempt, Ending, Failure, PartialOutput, Runner, Standing
from rekindle.domain.overrides import modified_of
from rekindle.domain.rerunning.planning import plan_rerun
from rekindle.domain.rerunning.rerun import FROM_FAILED_STEP, How
from rekindle.domain.signatures import signature
from rekindle.domain.states import State
from rekindle.domain.texts.substitution import render
from rekindle.engine.fan_outs import end_subtasks, planning_views, was_amid_fan_out
from rekindle.engine.machine import processors
from rekindle.engine.planning.canaries import settle
from rekindle.engine.planning.retrying import bounded_by_policy, retry
from rekindle.engine.running.ingest import Told, end_move
from rekindle.journal.partial import find_aside, outputs_between, partial_outputs, set_aside
from rekindle.journal.places import attempt_folder, outputs_aside
from rekindle.store.port import Archive

LOST_IN_A_ROW = 3
"""So many attempts of a job lost one after the other are not chance: it stays failed, and a user decides."""


Damages = Sequence[tuple[str, int, int]]
"""(journal, byte, length) of what cannot be read."""


@dataclass(frozen=True, slots=True)
class Lost:
    """What has become of lost attempts: how they ended, by attempt; the jobs that run again; the rerun for those of
    them that have no retry policy for it, if there are any."""

    ended: dict[int, tuple[int, State]]  # attempt -> (job, state)
    again: frozenset[int]
    rerun: int | None


def end_lost(
    archive: Archive,
    attempts: Sequence[Attempt],
    wanted: Collection[int],
    runner: Runner,
    damages: Damages,
    now: float,
    store_folder: str,
) -> Lost:
    """End attempts of which no process is left, as lost; as canceled where their end was asked for (`wanted`). What
    was lost runs again."""
    if not runner.elsewhere:  # the files of a copy are all newer than the attempt
        left = {attempt.id: _left_by(archive, attempt, runner, store_folder) for attempt in attempts}
        archive.fingerprints.put_partial({attempt: found for attempt, found in left.items() if found})
    standing = archive.queue.standing([attempt.id for attempt in attempts])
    endings, moves = [], []
    for attempt in attempts:
        known = standing[attempt.id]
        ending = _ending(attempt, runner, damages, attempt.id in wanted, now)
        endings.append(ending)
        if known.job_attempt == attempt.id:
            moves.append(end_move(known, ending.state, ran=True))
    archive.queue.end(endings)
    end_subtasks(archive, endings)
    archive.queue.move(moves)
    lost = [attempt.job for attempt in attempts if attempt.id not in wanted and attempt.archived_by is None]
    again, rerun = _run_again(archive, lost, [(ending, standing[ending.attempt]) for ending in endings], now)
    return Lost({one.attempt: (standing[one.attempt].job, one.state) for one in endings}, again, rerun)


def rerun_unread(archive: Archive, told: Told, now: float) -> None:
    """What was lost because a journal of a runner that lives cannot be read runs again, too."""
    lost = sorted(told.unread - told.again)
    if not lost:
        return
    bounded = bounded_by_policy(archive, lost)
    again = _rerun_lost(archive, [job for job in lost if job not in bounded], now)[1]
    archive.queue.move(archive.queue.gave_up([job for job in lost if job not in again]))
    told.again |= again
    settle(archive, now)


def _run_again(
    archive: Archive, lost: Sequence[int], ended: Sequence[tuple[Ending, Standing]], now: float
) -> tuple[frozenset[int], int | None]:
    bounded = bounded_by_policy(archive, lost)
    retried = retry(archive, [one for one in ended if one[1].job in bounded], now)
    rerun, jobs = _rerun_lost(archive, [job for job in lost if job not in bounded], now)
    archive.queue.move(archive.queue.gave_up([one.job for _, one in ended if one.job not in retried | jobs]))
    settle(archive, now)
    return frozenset((retried | jobs) & set(lost)), rerun


def _ending(attempt: Attempt, runner: Runner, damages: Damages, canceled: bool, now: float) -> Ending:
    message = f"runner {runner.id} (pid {runner.pid} on {runner.host}) and the worker died under it"
    if runner.elsewhere:
        message = f"the store was copied while runner {runner.id} (pid {runner.pid} on {runner.host}) ran it elsewhere"
    if damages:
        message += f"; {damages[0][0]} is damaged, and may have told the end"
    cause = Cause.CANCELED if canceled else Cause.LOST
    found = signature(cause, "", "lost with its runner", "", "")
    evidence: dict[str, Any] = {
        "runner": runner.id,
        "runner_pid": runner.pid,
        "worker": attempt.worker,
        "seen": "its store was copied" if runner.elsewhere else "its worker is gone",
    }
    if damages:
        evidence["damaged"] = [{"journal": path, "byte": byte, "length": size} for path, byte, size in damages]
    return Ending(
        attempt=attempt.id,
        state=State.CANCELED if canceled else State.FAILED,
        ended=max(now, attempt.started or now),
        started=attempt.started or attempt.queued,
        worker=attempt.worker,
        host=attempt.host or runner.host,
        pid=attempt.pid,
        pid_start=attempt.pid_start,
        cause=cause,
        failure=Failure(message=message),
        evidence=json.dumps(evidence),
        signature=None if canceled else (found.digest, found.type, found.message),
    )


def _left_by(archive: Archive, attempt: Attempt, runner: Runner, store_folder: str) -> tuple[PartialOutput, ...]:
    """Return the declared outputs that a lost attempt has left, set aside where its job asks for that.

    They are renamed within the transaction that lets the job run again, for its next attempt may begin behind that; if
    it fails, the next one finds them. What lies on another file system stays in its place: nothing is copied here."""
    template, workflow = archive.workflows.template(attempt.template), archive.workflows.find(attempt.workflow)
    [job] = archive.jobs.get([attempt.job])
    if not template.outputs or workflow is None:
        return ()
    params = archive.workflows.params(attempt.workflow, attempt.revision)
    patched = archive.fingerprints.patched([attempt.id]).get(attempt.id, {})
    scope = {
        "params": {**params, **patched, **modified_of(attempt.overrides).params},
        "matrix": json.loads(attempt.binding or job.binding),
        "job": {"name": job.name, "id": job.id},
    }
    apart = template.workdir == "attempt"
    base = attempt.folder if apart and attempt.folder else workflow.directory
    try:
        paths = {name: str(Path(base, render(path, scope))) for name, path in template.outputs.items()}
    except RekindleError:  # it could not have begun
        return ()
    began = attempt.started or attempt.queued or runner.expires
    before, place = outputs_between(began, runner.expires), outputs_aside(attempt_folder(store_folder, attempt.id))
    aside = tuple(find_aside(paths, workflow.directory, place)) if template.partial == "aside" else ()
    known = {one.name for one in aside}
    left = [one for one in partial_outputs(paths, before) if one.name not in known]
    if template.partial == "aside" and not apart:
        left = list(set_aside(left, list(paths), before, workflow.directory, place, copy=False))
    return (*aside, *left)


def _rerun_lost(archive: Archive, jobs: Sequence[int], now: float) -> tuple[int | None, set[int]]:
    """Plan and apply the rerun of jobs whose attempts were lost, except those that are lost again and again: from
    the beginning, or from the fan-out amid which they were lost, whose complete subtasks do not run again.
    One that is held is left to whoever holds it, and those whose retry policy names what is lost are not for here.
    Returns the rerun, and the jobs that run again."""
    free = [job.id for job in archive.jobs.get(jobs) if job.held is None]
    chosen = [job for job in free if not _lost_too_often(archive, job)]
    if not chosen:
        return None, set()
    views, graph, earlier = planning_views(archive, [(chosen, _GO_ON)])
    amid = [job for job in chosen if was_amid_fan_out(earlier.get(job, views[job]))]
    past = archive.attempts.past(views, amid, float(processors()))
    plan = plan_rerun(views, graph, _manners(chosen, amid), earlier=earlier, past=past)
    if plan.refused:  # what cannot go on there starts as it had started
        refused = {job.id for job in plan.refused}
        again = _manners(chosen, [job for job in amid if job not in refused])
        plan = plan_rerun(views, graph, again, earlier=earlier, past=past)
    if not plan.jobs:
        return None, set()
    number = archive.reruns.apply(plan, "recovery", {"jobs": chosen}, "lost with their runner", now)
    return number, {job.id for job in plan.jobs}


_GO_ON = How(FROM_FAILED_STEP, keep_modified=True, automatic=True)


def _manners(lost: Sequence[int], amid: Sequence[int]) -> list[tuple[list[int], How]]:
    """Those lost amid a fan-out go on there; the others are made over again."""
    return [(list(amid), _GO_ON), ([job for job in lost if job not in amid], How(again=True))]


def _lost_too_often(archive: Archive, job: int) -> bool:
    last = archive.attempts.listing([job], None)[-LOST_IN_A_ROW:]
    return len(last) == LOST_IN_A_ROW and all(attempt.cause is Cause.LOST for attempt in last)
