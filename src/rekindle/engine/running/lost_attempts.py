"""Lost attempts: they end with the cause `lost`, and their jobs run again unless that happens too often."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.errors import RekindleError
from rekindle.domain.models import Attempt, AttemptEnd, AttemptJobState, Failure, PartialOutput, Runner
from rekindle.domain.overrides import decode_overrides
from rekindle.domain.rerun.planner import plan_rerun
from rekindle.domain.rerun.request import FROM_FAILED_STEP, How
from rekindle.domain.signatures import signature
from rekindle.domain.states import Cause, State
from rekindle.domain.texts.substitution import render_text
from rekindle.engine.automatic_reruns import apply_retries, bounded_by_policy
from rekindle.engine.canaries import resolve_canaries
from rekindle.engine.fan_outs import end_subtasks, planning_views, stopped_in_fan_out
from rekindle.engine.machine import processors
from rekindle.engine.running.ingest import IngestResult, end_move
from rekindle.journal.partial_outputs import changes_between, find_moved, move_aside, partial_outputs
from rekindle.journal.paths import attempt_folder, partial_outputs_folder

if TYPE_CHECKING:
    from rekindle.store.archive import Snapshot, Transaction

LOST_IN_A_ROW = 3
"""Consecutive lost attempts after which a job stays failed, because the job itself is probably the reason."""

Damages = Sequence[tuple[str, int, int]]
"""(journal, byte, length) of unreadable parts."""


class LostAttempts(msgspec.Struct, frozen=True):
    """Lost attempts that were ended, and the jobs that run again. `rerun`: the rerun of the jobs without a retry policy
    for lost attempts, if any."""

    ended: dict[int, tuple[int, State]]  # attempt -> (job, state)
    again: frozenset[int]
    rerun: int | None


def end_lost(
    archive: Transaction,
    attempts: Sequence[Attempt],
    wanted: Collection[int],
    runner: Runner,
    damages: Damages,
    now: float,
    store_folder: str,
) -> LostAttempts:
    """End attempts whose processes have all ended: as canceled if that was requested (`wanted`), else as lost.

    Jobs of lost attempts run again."""
    if not runner.elsewhere:  # files of a copied store are all newer than the attempt, so they prove nothing
        left = {attempt.id: _partial_outputs(archive, attempt, runner, store_folder) for attempt in attempts}
        archive.fingerprints.put_partial({attempt: found for attempt, found in left.items() if found})
    standing = archive.queue.status([attempt.id for attempt in attempts])
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
    states = {one.attempt: (standing[one.attempt].job, one.state) for one in endings}
    return LostAttempts(states, again, rerun)


def rerun_lost_to_damage(archive: Transaction, result: IngestResult, now: float) -> None:
    """Rerun the jobs whose attempts were lost to an unreadable journal of a living runner; add them to `requeued`."""
    lost = sorted(result.lost_to_damage - result.requeued)
    if not lost:
        return
    bounded = bounded_by_policy(archive, lost)
    again = _rerun_lost(archive, [job for job in lost if job not in bounded], now)[1]
    archive.queue.move(archive.queue.gave_up([job for job in lost if job not in again]))
    result.requeued |= again
    resolve_canaries(archive, now)


def _run_again(
    archive: Transaction, lost: Sequence[int], ended: Sequence[tuple[AttemptEnd, AttemptJobState]], now: float
) -> tuple[frozenset[int], int | None]:
    bounded = bounded_by_policy(archive, lost)
    retried = apply_retries(archive, [one for one in ended if one[1].job in bounded], now)
    rerun, jobs = _rerun_lost(archive, [job for job in lost if job not in bounded], now)
    archive.queue.move(archive.queue.gave_up([one.job for _, one in ended if one.job not in retried | jobs]))
    if any(known.canaries_open for _, known in ended):
        resolve_canaries(archive, now)
    return frozenset((retried | jobs) & set(lost)), rerun


def _ending(attempt: Attempt, runner: Runner, damages: Damages, canceled: bool, now: float) -> AttemptEnd:
    message = f"runner {runner.id} (pid {runner.pid} on {runner.host}) and the worker died under it"
    if runner.elsewhere:
        message = f"the store was copied while runner {runner.id} (pid {runner.pid} on {runner.host}) ran it elsewhere"
    if damages:
        message += f"; {damages[0][0]} is damaged, and may have held the end"
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
    return AttemptEnd(
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


def _partial_outputs(
    archive: Snapshot, attempt: Attempt, runner: Runner, store_folder: str
) -> tuple[PartialOutput, ...]:
    """Return the declared outputs that a lost attempt has written, set aside if its job has `partial: aside`.

    They are renamed within the transaction that lets the job run again, because its next attempt may start right after
    it. If the transaction fails, the next one finds them. Outputs on another file system stay in place, because nothing
    is copied here."""
    template, workflow = archive.workflows.template(attempt.template), archive.workflows.find(attempt.workflow)
    [job] = archive.jobs.get([attempt.job])
    if not template.outputs or workflow is None:
        return ()
    params = archive.workflows.params(attempt.workflow, attempt.revision)
    patched = archive.fingerprints.patched([attempt.id]).get(attempt.id, {})
    scope = {
        "params": {**params, **patched, **decode_overrides(attempt.overrides).params},
        "matrix": json.loads(attempt.binding or job.binding),
        "job": {"name": job.name, "id": job.id},
    }
    apart = template.workdir == "attempt"
    base = attempt.folder if apart and attempt.folder else workflow.directory
    try:
        paths = {name: str(Path(base, render_text(path, scope))) for name, path in template.outputs.items()}
    except RekindleError:  # a path without a value: the attempt could not start
        return ()
    began = attempt.started or attempt.queued or runner.expires
    before, place = (
        changes_between(began, runner.expires),
        partial_outputs_folder(attempt_folder(store_folder, attempt.id)),
    )
    aside = tuple(find_moved(paths, workflow.directory, place)) if template.partial == "aside" else ()
    known = {one.name for one in aside}
    left = [one for one in partial_outputs(paths, before) if one.name not in known]
    if template.partial == "aside" and not apart:
        left = list(move_aside(left, list(paths), before, workflow.directory, place, copy=False))
    return (*aside, *left)


def _rerun_lost(archive: Transaction, jobs: Sequence[int], now: float) -> tuple[int | None, set[int]]:
    """Plan and apply the rerun of jobs whose attempts were lost. Return the rerun and the jobs that run again.

    A job starts from the beginning, or from the fan-out that was running, whose completed subtasks are kept. Held jobs,
    and jobs that were lost too often, do not run again."""
    free = [job.id for job in archive.jobs.get(jobs) if job.held is None]
    chosen = [job for job in free if not _lost_too_often(archive, job)]
    if not chosen:
        return None, set()
    views, graph, earlier = planning_views(archive, [(chosen, _RESUME)])
    resumable = [job for job in chosen if stopped_in_fan_out(earlier.get(job, views[job]))]
    past = archive.statistics.durations(views, resumable, float(processors()))
    plan = plan_rerun(views, graph, _requests(chosen, resumable), earlier=earlier, past=past)
    if plan.refused:  # jobs that cannot resume start from the beginning
        refused = {job.id for job in plan.refused}
        again = _requests(chosen, [job for job in resumable if job not in refused])
        plan = plan_rerun(views, graph, again, earlier=earlier, past=past)
    if not plan.jobs:
        return None, set()
    rerun = archive.reruns.apply(plan, "recovery", {"jobs": chosen}, "lost with their runner", now)
    return rerun, {job.id for job in plan.jobs}


_RESUME = How(FROM_FAILED_STEP, keep_modified=True, automatic=True)


def _requests(lost: Sequence[int], resumable: Sequence[int]) -> list[tuple[list[int], How]]:
    """Return the rerun requests: resume the fan-outs of `resumable` jobs, and start the others again."""
    return [(list(resumable), _RESUME), ([job for job in lost if job not in resumable], How(again=True))]


def _lost_too_often(archive: Snapshot, job: int) -> bool:
    last = archive.attempts.listing([job], None)[-LOST_IN_A_ROW:]
    return len(last) == LOST_IN_A_ROW and all(attempt.cause is Cause.LOST for attempt in last)
