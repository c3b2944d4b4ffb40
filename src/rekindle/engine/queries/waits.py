"""Explain why jobs are not running now: what each waits for, or which runner has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.packing import Capacity, Shortage, capacity_of, find_shortages
from rekindle.domain.states import ACTIVE, ENDED, State
from rekindle.engine.machine import machine_capacity
from rekindle.engine.presence import live_and_dead_runners, works_elsewhere
from rekindle.engine.results import UnfitJobs
from rekindle.journal.batches import read_attempt_waits

if TYPE_CHECKING:
    from rekindle.domain.definition import Resources
    from rekindle.domain.models import Attempt, Job, Runner, Workflow
    from rekindle.engine.session import Session
    from rekindle.journal.batches import ElementWait
    from rekindle.store.archive import Snapshot

MOST_NAMED = 20
"""The most needs of a job, and jobs that take resources from another, that are named."""

_MOST_ROOTS = 3

_MOST_EVENTS = 1000


class WaitReason(msgspec.Struct, frozen=True):
    """One reason why a job does not run, or how it runs. The kinds and their details; times are seconds since the
    epoch:

    - needs: a needed job that is not done: job, name, state, held, cause, exit_code; when (completed, finished); unmet,
      the number of such needs; roots, the nearest ancestors that block it
    - held: reason, since · archived: workflow, since · folder, which is missing: directory
    - resources: never (true: more than there is; false: more than is free), runner (None: this machine), lacks, text,
      taken_by
    - delay: until, retry (which, of how many, after what); for a retry also attempt, id, cause, exit_code
    - attempts, which must end first: attempts (each: attempt, id, job, name) · check: reserve, id · host: avoids
    - runner: problem (none, limited, chosen, busy), runners, slots, running · turn: runners
    - queued, running: attempt (its number), id, runner, host, pid, since, runner_alive; queued in another engine: also
      engine, reason (the engine's word), never (true: it cannot start)
    - failed, canceled: cause, exit_code; of a failure that waits for a decision also undecided, what it waits for

    A failed or canceled job that must not run twice, also one that is needed, has `forbidden`, the reason, and `spec`,
    the path of the spec file (None: the workflow was built in Python).
    """

    kind: str
    detail: Mapping[str, Any] = msgspec.field(default_factory=dict)


def wait_reasons(session: Session, ids: Sequence[int]) -> dict[int, tuple[WaitReason, ...]]:
    """Return, by job, why it is not running now or which runner has it. Completed and retired jobs have no reason."""
    with session.store.read() as archive:
        return _WaitQuery(archive, session.clock(), archive.jobs.get(ids), session.store.folder).found()


def unfit(archive: Snapshot, runners: Sequence[Runner], room: Capacity | None = None) -> list[UnfitJobs]:
    """Return the unstarted jobs that ask for more than `room`, than every eligible living runner, or, without such a
    runner, than this machine has."""
    found = []
    for one in archive.overviews.pending():
        lacks, runner = _never_fits(one.resources, _eligible_runners(runners, one.workflow), room)
        if lacks:
            found.append(UnfitJobs(one.workflow, one.ready, lacks, runner))
    return found


def unfit_in_workflow(session: Session, workflow: int, room: Capacity | None = None) -> list[UnfitJobs]:
    """Return the unstarted jobs of one workflow that ask for more than there is; see `unfit`."""
    with session.store.read() as archive:
        runners = live_and_dead_runners(archive, session.clock())[0]
        return [one for one in unfit(archive, runners, room) if one.workflow == workflow]


def _eligible_runners(runners: Iterable[Runner], workflow: int) -> list[Runner]:
    """Return the runners that run jobs of the workflow, as far as is recorded."""
    return [one for one in runners if one.offer is None or one.offer.workflow in (None, workflow)]


def _never_fits(
    asked: Resources, eligible: Sequence[Runner], room: Capacity | None = None
) -> tuple[tuple[Shortage, ...], int | None]:
    """Return what is lacking on every runner, and the runner that was compared."""
    if room is not None or not eligible:
        return find_shortages(room or machine_capacity(), asked), None
    found = [
        ((find_shortages(capacity_of(one.offer), asked) if one.offer is not None else ()), one.id) for one in eligible
    ]
    return found[0] if all(lacks for lacks, _ in found) else ((), None)


class _WaitQuery:
    """The data behind the wait reasons of some jobs, read in one snapshot."""

    def __init__(self, archive: Snapshot, now: float, jobs: Sequence[Job], spool: str) -> None:
        self._archive, self._now, self._spool = archive, now, spool
        self._jobs = [job for job in jobs if not job.retired]
        ids = [job.id for job in self._jobs]
        self._flows: dict[int, Workflow] = {}
        for number in sorted({job.workflow for job in self._jobs}):
            flow = archive.workflows.find(number)
            if flow is not None:
                self._flows[number] = flow
        self._live = archive.jobs.live(ids)
        self._awaited = archive.attempts.blocking(ids)
        awaited = {one for attempts in self._awaited.values() for one in attempts}
        candidates = {job.next.reuse_candidate for job in self._jobs if job.next.reuse_candidate is not None}
        self._attempts = {one.id: one for one in archive.attempts.by_id(awaited | candidates)}
        self._runners = live_and_dead_runners(archive, now)[0]
        self._running = archive.attempts.active()
        owners = {one.job for one in (*self._running, *self._attempts.values())}
        known = {job.id: job for job in archive.jobs.get(sorted(owners))}
        self._owners = known
        classes = {job.resource_class for job in (*self._jobs, *known.values())}
        self._resources = archive.jobs.resources(classes)
        self._missing = {number for number, one in self._flows.items() if not Path(one.directory).is_dir()}
        delayed = [job.id for job in self._jobs if job.next.not_before is not None]
        retried = archive.reruns.retried(delayed) if delayed else ()
        self._retries = {job: dict(reason.detail) for job, attempt, reason in retried if attempt is None}
        failed = archive.attempts.by_id(archive.reruns.automatic(delayed)) if delayed else ()
        self._failed = {one.job: one for one in failed}
        self._held_at: dict[int, dict[int, float]] = {}
        self._above = _UnmetNeeds(archive, self._jobs, {one.id: one.source for one in self._flows.values()})

    def found(self) -> dict[int, tuple[WaitReason, ...]]:
        """Return the wait reasons by job."""
        return {job.id: tuple(self._of(job)) for job in self._jobs}

    def _of(self, job: Job) -> Iterable[WaitReason]:
        if job.state in ACTIVE:
            return self._active(job)
        if job.state in (State.FAILED, State.CANCELED):
            live = self._live.get(job.id)
            waits = {} if live is None or live.undecided is None else {"undecided": live.undecided}
            return [WaitReason(job.state.label, _cause_detail(live) | waits | self._above.forbidden(job))]
        if job.state in ENDED:
            return []
        found = [*self._above.of(job), *self._kept_back(job)]
        stopped = any(one.kind in ("held", "archived", "folder") or _is_blocked(one) for one in found)
        eligible = _eligible_runners(self._runners, job.workflow)
        asked = self._resources[job.resource_class]
        lacks, runner = _never_fits(asked, eligible)
        if lacks:
            found.append(_resource_wait(lacks, runner, never=True))
        if not eligible and not stopped:
            others = [{"id": one.id, "workflow": one.offer.workflow} for one in self._runners if one.offer is not None]
            found.append(WaitReason("runner", {"problem": "limited" if others else "none", "runners": others}))
        elif eligible and not found:
            found.append(self._now_or_later(asked, eligible))
        return found

    def _kept_back(self, job: Job) -> Iterable[WaitReason]:
        flow = self._flows.get(job.workflow)
        if flow is not None and flow.archived is not None:
            yield WaitReason("archived", {"workflow": flow.id, "since": flow.archived})
        if job.workflow in self._missing and flow is not None:
            yield WaitReason("folder", {"directory": flow.directory})
        if job.held is not None:
            yield WaitReason("held", {"reason": job.held, "since": self._held_since(job)})
        if job.next.not_before is not None and job.next.not_before > self._now:
            yield self._delay(job, job.next.not_before)
        if job.id in self._awaited:
            attempts = [self._attempts[one] for one in self._awaited[job.id] if one in self._attempts]
            named = [
                {"attempt": one.number, "id": one.id, "job": one.job, "name": self._owners[one.job].name}
                for one in attempts
            ]
            yield WaitReason("attempts", {"attempts": named})
        if job.state is State.READY and job.next.reuse_candidate is not None and self._runners:
            candidate = self._attempts.get(job.next.reuse_candidate)
            yield WaitReason(
                "check", {"reserve": candidate.number if candidate else None, "id": job.next.reuse_candidate}
            )
        if job.next.avoids is not None and works_elsewhere(self._archive, job.next.avoids, self._now):
            eligible = _eligible_runners(self._runners, job.workflow)
            if eligible and all(one.host == job.next.avoids for one in eligible):
                yield WaitReason("host", {"avoids": job.next.avoids})

    def _delay(self, job: Job, until: float) -> WaitReason:
        """Return the wait of a delayed job; for a retry, with the attempt that failed."""
        retry, failed = self._retries.get(job.id), self._failed.get(job.id)
        detail: dict[str, Any] = {"until": until, "retry": retry}
        if retry is not None and failed is not None:
            detail |= {"attempt": failed.number, "id": failed.id, **_cause_detail(failed)}
        return WaitReason("delay", detail)

    def _held_since(self, job: Job) -> float | None:
        """Return when the job was held, if recent events say so."""
        if job.workflow not in self._held_at:
            events = self._archive.events.listing(job.workflow, limit=_MOST_EVENTS)
            since = {one: event.at for event in events if event.kind == "held" for one in event.detail.get("first", ())}
            self._held_at[job.workflow] = since
        return self._held_at[job.workflow].get(job.id)

    def _now_or_later(self, asked: Resources, eligible: Sequence[Runner]) -> WaitReason:
        """Return the wait of a job that could start: what the runners lack now, or that it is next."""
        lacks: list[tuple[tuple[Shortage, ...], Runner]] = []
        busy = []
        for one in eligible:
            active = [attempt for attempt in self._running if attempt.runner == one.id]
            taking = [attempt for attempt in active if attempt.state is State.RUNNING]
            if one.offer is not None:
                missing = find_shortages(self._free(capacity_of(one.offer), taking), asked)
                if missing:
                    lacks.append((missing, one))
                    continue
            if len(taking) >= one.slots:
                busy.append(one)
                continue
            if one.offer is not None and one.offer.chosen:
                continue
            return WaitReason("turn", {"runners": [each.id for each in eligible]})
        if lacks:
            missing, one = lacks[0]
            return _resource_wait(missing, one.id, never=False, taken_by=self._taking(one))
        if busy:
            slots = sum(one.slots for one in busy)
            taken = [each for one in busy for each in self._taking(one)]
            runners = [{"id": one.id, "workflow": one.offer.workflow if one.offer else None} for one in busy]
            return WaitReason(
                "runner", {"problem": "busy", "runners": runners, "slots": slots, "running": taken[:MOST_NAMED]}
            )
        runners = [{"id": one.id, "workflow": one.offer.workflow if one.offer else None} for one in eligible]
        return WaitReason("runner", {"problem": "chosen", "runners": runners})

    def _free(self, room: Capacity, taking: Sequence[Attempt]) -> Capacity:
        for attempt in taking:
            owner = self._owners.get(attempt.job)
            if owner is not None:
                room = room.take(self._resources[owner.resource_class])
        return room

    def _taking(self, runner: Runner) -> list[dict[str, Any]]:
        """Return the jobs that a runner is running."""
        jobs = [one.job for one in self._running if one.runner == runner.id and one.state is State.RUNNING]
        return [{"job": job, "name": self._owners[job].name} for job in jobs if job in self._owners][:MOST_NAMED]

    def _active(self, job: Job) -> Iterable[WaitReason]:
        live = self._live.get(job.id)
        if live is None:
            return
        runner = None if live.runner is None else self._archive.runners.find(live.runner)
        running = live.state is State.RUNNING
        yield WaitReason(
            "running" if running else "queued",
            {
                "attempt": live.number,
                "id": live.id,
                "runner": live.runner,
                "host": live.host if running and live.host else (runner.host if runner else None),
                "pid": self._worker(live) if running else (runner.pid if runner else None),
                "since": live.started if running else live.queued,
                "runner_alive": any(one.id == live.runner for one in self._runners),
                **(self._engine_wait(live, runner) if not running and runner is not None else {}),
            },
        )

    def _engine_wait(self, live: Attempt, runner: Runner) -> dict[str, Any]:
        """Return why an attempt that was handed to another engine has not started, if that is known."""
        if runner.offer is None or runner.offer.placement is None:
            return {}
        wait = self._engine_waits.get(live.token)
        reason = {} if wait is None else {"reason": wait.reason, "never": wait.never}
        return {"engine": runner.executor, **reason}

    @cached_property
    def _engine_waits(self) -> Mapping[str, ElementWait]:
        return read_attempt_waits(self._spool)

    def _worker(self, live: Attempt) -> int | None:
        """Return the process of a running attempt, or of its worker."""
        if live.pid is not None or live.runner is None:
            return live.pid
        journals = self._archive.runners.journals(live.runner)
        return next((pid or None for worker, _, pid, *_ in journals if worker == live.worker), None)


def _cause_detail(live: Attempt | None) -> dict[str, Any]:
    cause = live.cause.value if live is not None and live.cause else None
    return {"cause": cause, "exit_code": live.exit_code if live else None}


def _is_blocked(one: WaitReason) -> bool:
    """Return whether a job waits for one that will not run without a user's action."""
    if one.kind != "needs":
        return False
    standing = [one.detail, *one.detail["roots"]]
    return any(each["state"] in ("failed", "canceled") or each["held"] is not None for each in standing)


def _resource_wait(
    lacks: Sequence[Shortage], runner: int | None, *, never: bool, taken_by: Sequence[Mapping[str, Any]] = ()
) -> WaitReason:
    named = [{"what": one.what, "asked": one.asked, "there": one.there, "licence": one.licence} for one in lacks]
    text = ", ".join(map(str, lacks))
    return WaitReason(
        "resources", {"never": never, "runner": runner, "lacks": named, "text": text, "taken_by": list(taken_by)}
    )


class _UnmetNeeds:
    """The unfinished needs of waiting jobs, and what these wait for. `sources`: the spec files of the workflows."""

    def __init__(self, archive: Snapshot, jobs: Sequence[Job], sources: Mapping[int, str | None]) -> None:
        from rekindle.engine.staleness.stale_jobs import forbidden_reruns  # `status` does not need it

        waiting = [job for job in jobs if job.state is State.WAITING]
        self._known: dict[int, Job] = {job.id: job for job in waiting}
        self._needs: dict[int, list[int]] = {}
        self._roots: dict[int, tuple[int, ...]] = {}
        frontier = [job.id for job in waiting]
        while frontier:
            needs = archive.jobs.parents(frontier)
            fresh = sorted({one for ids in needs.values() for one in ids} - self._known.keys())
            self._known |= {job.id: job for job in archive.jobs.get(fresh)}
            self._needs |= needs
            above = {one for ids in needs.values() for one in ids} - self._needs.keys()
            frontier = sorted(one for one in above if self._known[one].state is State.WAITING)
        self._finished = {
            number
            for number, one in archive.staleness.templates({job.template for job in waiting}).items()
            if one.when == "finished"
        }
        ended = [job for job in self._known.values() if job.state in (State.FAILED, State.CANCELED)]
        self._ended = archive.jobs.live([job.id for job in ended])
        stopped = [job for job in jobs if job.state in (State.FAILED, State.CANCELED)]
        self._forbidden, self._sources = forbidden_reruns(archive, [*stopped, *ended]), sources

    def forbidden(self, job: Job) -> dict[str, Any]:
        """Return the details of a failed or canceled job that must not run twice."""
        reason = self._forbidden.get(job.id)
        return {} if reason is None else {"forbidden": reason, "spec": self._sources.get(job.workflow)}

    def of(self, job: Job) -> Iterable[WaitReason]:
        """Yield the unfinished needs of a job, up to MOST_NAMED."""
        if job.state is not State.WAITING:
            return
        finished = job.template in self._finished
        done = ENDED if finished else (State.COMPLETED,)
        unmet = [self._known[one] for one in self._needs.get(job.id, ()) if self._known[one].state not in done]
        for need in sorted(unmet, key=lambda one: (-one.state, one.id))[:MOST_NAMED]:
            yield WaitReason(
                "needs",
                {
                    **self._standing(need),
                    "when": "finished" if finished else "completed",
                    "unmet": len(unmet),
                    "roots": [self._standing(self._known[one]) for one in self._roots_of(need.id)],
                },
            )

    def _standing(self, job: Job) -> dict[str, Any]:
        return {
            "job": job.id,
            "name": job.name,
            "state": job.state.label,
            "held": job.held,
            **_cause_detail(self._ended.get(job.id)),
            **self.forbidden(job),
        }

    def _roots_of(self, job: int) -> tuple[int, ...]:
        """Return the nearest unfinished ancestors that are not waiting themselves, failed ones first."""
        todo = [job]
        while todo:
            one = todo[-1]
            if one in self._roots:
                todo.pop()
                continue
            needs = [need for need in self._needs.get(one, ()) if self._known[need].state is not State.COMPLETED]
            missing = [need for need in needs if self._known[need].state is State.WAITING and need not in self._roots]
            if missing:
                todo += missing
                continue
            found: dict[int, None] = {}
            for need in needs:
                waits_too = self._known[need].state is State.WAITING
                found.update(dict.fromkeys(self._roots[need] if waits_too else (need,)))
            nearest = sorted(found, key=lambda each: (-self._known[each].state, each))
            self._roots[one] = tuple(nearest[:_MOST_ROOTS])
            todo.pop()
        return self._roots[job]
