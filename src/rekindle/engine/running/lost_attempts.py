"""Lost attempts: they end with the cause `lost`, and their jobs run again unless that happens too often. The jobs of
attempts that were ended because their allocation ends run again too, each from the step that ran."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from rekindle.domain.errors import RekindleError
from rekindle.domain.models import Attempt, Failure, PartialOutput, Runner
from rekindle.domain.overrides import decode_overrides
from rekindle.domain.rerun.planner import plan_rerun
from rekindle.domain.rerun.request import FROM_FAILED_STEP, InternalHow, RequestMode, Requests
from rekindle.domain.signatures import failure_signature
from rekindle.domain.states import Cause, State
from rekindle.domain.texts.substitution import render_text
from rekindle.engine.canaries import resolve_canaries
from rekindle.engine.fan_outs import planning_views, stopped_in_fan_out
from rekindle.engine.machine import processors
from rekindle.executors.dead_workers import SILENT_SECONDS, AttemptsEnd
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
    silent: bool = False,
    known: AttemptsEnd | None = None,
    left: tuple[PartialOutput, ...] = (),
) -> Ended:
    """Return the end of an attempt whose runner and processes are gone: canceled if that was requested, else lost.
    `silent`: only the silence of its worker's journal shows it. `known`: why its worker's engine ended it. `left`: its
    partial outputs."""
    cause, message, evidence = _what_ended(attempt, runner, silent=silent) if known is None else known.as_tuple()
    if damages:
        message += f"; {damages[0][0]} is damaged, and may have held the end"
        found = [{"journal": path, "byte": byte, "length": size} for path, byte, size in damages]
        evidence = {**evidence, "damaged": found}
    if canceled:
        cause = Cause.CANCELED
    by_engine = known is not None
    return Ended(
        attempt=attempt.id,
        token=attempt.token,
        state=State.CANCELED if cause is Cause.CANCELED else State.FAILED,
        ended=max(now, attempt.started or now),
        started=attempt.started or attempt.queued,
        cause=cause,
        failure=Failure(message=message),
        evidence=json.dumps(evidence),
        host=attempt.host or runner.host,
        signature=None
        if cause is Cause.CANCELED
        else failure_signature(cause, Failure(message=message if by_engine else "lost with its runner")),
        left=left,
    )


def _what_ended(attempt: Attempt, runner: Runner, *, silent: bool) -> tuple[Cause, str, Mapping[str, Any]]:
    """Return the cause, the message and the evidence of an attempt that died with its runner."""
    died, seen = f"runner {runner.id} (pid {runner.pid} on {runner.host})", "its worker is gone"
    message = f"{died} and the worker died under it"
    if silent:
        seen = f"its worker's journal has not changed for {SILENT_SECONDS:.0f} s"
        message = f"{died} died, and {seen}"
    if runner.elsewhere:
        seen = "its store was copied"
        message = f"the store was copied while runner {runner.id} (pid {runner.pid} on {runner.host}) ran it elsewhere"
    evidence = {"runner": runner.id, "runner_pid": runner.pid, "worker": attempt.worker, "seen": seen}
    return Cause.LOST, message, evidence


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
    until = runner.expires - runner.skew
    return DeclaredOutputs(
        paths,
        workflow.directory,
        partial_outputs_folder(attempt_folder(store_folder, attempt.id)),
        attempt.started or attempt.queued or until,
        until,
        template.partial == "aside",
        apart,
    )


def rerun_lost(archive: Transaction, result: IngestResult, now: float, exists: Exists) -> None:
    """Rerun the jobs of an ingest that were lost or cut off; add those that run again to `requeued`."""
    jobs = sorted(result.lost | result.cut_off)
    if not jobs:
        return
    result.recovery, again = _rerun_lost(archive, jobs, result.cut_off, now)
    archive.queue.gave_up([job for job in jobs if job not in again])
    result.requeued |= again
    resolve_canaries(archive, now, exists)


def _rerun_lost(
    archive: Transaction, jobs: Sequence[int], cut_off: Container[int], now: float
) -> tuple[int | None, set[int]]:
    """Plan and apply the rerun of jobs whose attempts were lost or cut off. Return the rerun and the jobs that run
    again.

    A lost job starts from the beginning, or from the fan-out that was running, whose completed subtasks are kept. A job
    that was cut off ended in order: it starts from the step that ran, in the same folder. Held jobs, and jobs that were
    lost too often, do not run again."""
    free = [job.id for job in archive.jobs.get(jobs) if job.held is None]
    chosen = [job for job in free if job in cut_off or not _lost_too_often(archive, job)]
    if not chosen:
        return None, set()
    views, graph, earlier = planning_views(archive, Requests(dict.fromkeys(chosen, _RESUME)))
    hows = {
        job: _CONTINUE if job in cut_off and views[job].workdir == "attempt" else _RESUME
        for job in chosen
        if job in cut_off or stopped_in_fan_out(earlier.get(job, views[job]))
    }
    past = archive.statistics.durations(views, hows, float(processors()))
    again = dict.fromkeys(chosen, InternalHow(mode=RequestMode.REPEAT))
    plan = plan_rerun(views, graph, Requests({**again, **hows}), earlier=earlier, past=past)
    if plan.refused:  # jobs that cannot resume start from the beginning
        hows = {job: how for job, how in hows.items() if job not in {one.id for one in plan.refused}}
        plan = plan_rerun(views, graph, Requests({**again, **hows}), earlier=earlier, past=past)
    if not plan.jobs:
        return None, set()
    kinds = (("lost with their runner", False), ("their allocation ended", True))
    note = "; ".join(text for text, kind in kinds if any((job in cut_off) is kind for job in chosen))
    rerun = archive.reruns.apply(plan, "recovery", {"jobs": chosen}, note, now)
    return rerun, set(plan.jobs.ids)


_RESUME = InternalHow(FROM_FAILED_STEP, keep_modified=True, mode=RequestMode.RESUME)
_CONTINUE = replace(_RESUME, workdir="same")


def _lost_too_often(archive: Snapshot, job: int) -> bool:
    last = archive.attempts.listing([job], None)[-LOST_IN_A_ROW:]
    return len(last) == LOST_IN_A_ROW and all(attempt.cause is Cause.LOST for attempt in last)
