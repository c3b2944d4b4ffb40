"""Lost attempts: they end with the cause `lost`, and their jobs run again unless that happens too often."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.errors import RekindleError
from rekindle.domain.models import Attempt, Failure, PartialOutput, Runner
from rekindle.domain.overrides import decode_overrides
from rekindle.domain.rerun.planner import plan_rerun
from rekindle.domain.rerun.request import FROM_FAILED_STEP, How, RequestMode, Requests
from rekindle.domain.signatures import failure_signature
from rekindle.domain.states import Cause, State
from rekindle.domain.texts.substitution import render_text
from rekindle.engine.canaries import resolve_canaries
from rekindle.engine.fan_outs import planning_views, stopped_in_fan_out
from rekindle.engine.machine import processors
from rekindle.journal.partial_outputs import changes_between, find_moved, move_aside, partial_outputs
from rekindle.journal.paths import attempt_folder, partial_outputs_folder
from rekindle.journal.records import Ended

if TYPE_CHECKING:
    from rekindle.domain.rerun.resolve import Exists
    from rekindle.engine.running.ingest import IngestResult
    from rekindle.store.archive import Snapshot, Transaction

LOST_IN_A_ROW = 3
"""Consecutive lost attempts after which a job stays failed, because the job itself is probably the reason."""

Damages = Sequence[tuple[str, int, int]]
"""(journal, byte, length) of unreadable parts."""


def lost_end(
    attempt: Attempt,
    runner: Runner,
    damages: Damages,
    now: float,
    *,
    canceled: bool,
    left: tuple[PartialOutput, ...] = (),
) -> Ended:
    """Return the end of an attempt whose runner and processes are gone: canceled if that was requested, else lost.
    `left`: its partial outputs."""
    message = f"runner {runner.id} (pid {runner.pid} on {runner.host}) and the worker died under it"
    if runner.elsewhere:
        message = f"the store was copied while runner {runner.id} (pid {runner.pid} on {runner.host}) ran it elsewhere"
    if damages:
        message += f"; {damages[0][0]} is damaged, and may have held the end"
    cause = Cause.CANCELED if canceled else Cause.LOST
    evidence: dict[str, Any] = {
        "runner": runner.id,
        "runner_pid": runner.pid,
        "worker": attempt.worker,
        "seen": "its store was copied" if runner.elsewhere else "its worker is gone",
    }
    if damages:
        evidence["damaged"] = [{"journal": path, "byte": byte, "length": size} for path, byte, size in damages]
    return Ended(
        attempt=attempt.id,
        token=attempt.token,
        state=State.CANCELED if canceled else State.FAILED,
        ended=max(now, attempt.started or now),
        started=attempt.started or attempt.queued,
        cause=cause,
        failure=Failure(message=message),
        evidence=json.dumps(evidence),
        host=attempt.host or runner.host,
        signature=None if canceled else failure_signature(cause, Failure(message="lost with its runner")),
        left=left,
    )


class DeclaredOutputs(msgspec.Struct, frozen=True):
    """Where an attempt without processes may have left outputs."""

    paths: dict[str, str]  # absolute, by name
    root: str  # the project's folder
    place: str  # where partial outputs are set aside
    since: float
    until: float  # when the attempt's runner can have died
    aside: bool  # the job has `partial: aside`
    apart: bool  # they are in the attempt's own folder, where no other attempt sees them

    def find_partial(self) -> tuple[PartialOutput, ...]:
        """Return the outputs that the attempt has written, and set them aside if its job asks for that.

        Done before the job runs again, because its next attempt may start right afterwards. A second call finds the
        outputs that a first one has moved. Outputs on another file system stay in place, because nothing is copied
        here."""
        before = changes_between(self.since, self.until)
        moved = tuple(find_moved(self.paths, self.root, self.place)) if self.aside else ()
        known = {one.name for one in moved}
        left = [one for one in partial_outputs(self.paths, before) if one.name not in known]
        if self.aside and not self.apart:
            left = list(move_aside(left, list(self.paths), before, self.root, self.place, copy=False))
        return (*moved, *left)


def declared_outputs(archive: Snapshot, attempt: Attempt, runner: Runner, store_folder: str) -> DeclaredOutputs | None:
    """Return where a lost attempt may have left outputs; None: nowhere."""
    if runner.elsewhere:  # files of a copied store are all newer than the attempt, so they prove nothing
        return None
    template, workflow = archive.workflows.template(attempt.template), archive.workflows.find(attempt.workflow)
    [job] = archive.jobs.get([attempt.job])
    if not template.outputs or workflow is None:
        return None
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
        return None
    return DeclaredOutputs(
        paths,
        workflow.directory,
        partial_outputs_folder(attempt_folder(store_folder, attempt.id)),
        attempt.started or attempt.queued or runner.expires,
        runner.expires,
        template.partial == "aside",
        apart,
    )


def rerun_lost(archive: Transaction, result: IngestResult, now: float, exists: Exists) -> None:
    """Rerun the lost jobs of an ingest; add those that run again to `requeued`."""
    lost = sorted(result.lost)
    if not lost:
        return
    result.recovery, again = _rerun_lost(archive, lost, now)
    archive.queue.move(archive.queue.gave_up([job for job in lost if job not in again]))
    result.requeued |= again
    resolve_canaries(archive, now, exists)


def _rerun_lost(archive: Transaction, jobs: Sequence[int], now: float) -> tuple[int | None, set[int]]:
    """Plan and apply the rerun of jobs whose attempts were lost. Return the rerun and the jobs that run again.

    A job starts from the beginning, or from the fan-out that was running, whose completed subtasks are kept. Held jobs,
    and jobs that were lost too often, do not run again."""
    free = [job.id for job in archive.jobs.get(jobs) if job.held is None]
    chosen = [job for job in free if not _lost_too_often(archive, job)]
    if not chosen:
        return None, set()
    views, graph, earlier = planning_views(archive, _requests(chosen, chosen))
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


_RESUME = How(FROM_FAILED_STEP, keep_modified=True, mode=RequestMode.RESUME)


def _requests(lost: Sequence[int], resumable: Sequence[int]) -> Requests:
    """Return the rerun requests: resume the fan-outs of `resumable` jobs, and start the others again."""
    repeat = How(mode=RequestMode.REPEAT)
    return Requests({job: _RESUME if job in resumable else repeat for job in (*resumable, *lost)})


def _lost_too_often(archive: Snapshot, job: int) -> bool:
    last = archive.attempts.listing([job], None)[-LOST_IN_A_ROW:]
    return len(last) == LOST_IN_A_ROW and all(attempt.cause is Cause.LOST for attempt in last)
