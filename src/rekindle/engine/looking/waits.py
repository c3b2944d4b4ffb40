"""Why jobs do not run now: what each waits for, or who has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rekindle.domain.definition import Resources
from rekindle.domain.models import Attempt, Job, Runner, Workflow
from rekindle.domain.packing import Lack, Room, lacking, room_of
from rekindle.domain.states import ACTIVE, ENDED, State
from rekindle.engine.machine import machine_room
from rekindle.engine.presence import roll_call, works_elsewhere
from rekindle.engine.results import Unfit
from rekindle.engine.session import Session
from rekindle.store.port import Archive

MOST = 20
"""Needs of one job, and jobs that take what another waits for, that are named."""

_MOST_ROOTS = 3
_MOST_EVENTS = 1000


@dataclass(frozen=True, slots=True)
class Wait:
    """One reason why a job does not run, or how it does. The kinds and their details; times are seconds since the
    epoch:

    - needs: a job that is needed and not done: job, name, state, held, cause, exit_code; when (completed, finished);
      unmet, how many such needs there are; roots, the nearest jobs above that stop it
    - held: reason, since · archived: workflow, since · folder, which is missing: directory
    - resources: never (true: more than there is; false: more than is free), runner (None: this machine), lacks, text,
      taken_by
    - delay: until, retry (which, of how many, after what); for a retry also attempt, id, cause, exit_code
    - attempts, which have to end first: attempts (each: attempt, id, job, name) · check: reserve, id · host: avoids
    - runner: problem (none, limited, chosen, busy), runners, slots, running · turn: runners
    - queued, running: attempt (its number), id, runner, host, pid, since, runner_alive
    - failed, canceled: cause, exit_code
    """

    kind: str
    detail: Mapping[str, Any] = field(default_factory=dict)


def waits(session: Session, ids: Sequence[int]) -> dict[int, tuple[Wait, ...]]:
    """Return, by job, why it does not run now or who has it; nothing for one that has completed or is retired."""
    with session.store.read() as archive:
        return _Look(archive, session.clock(), archive.jobs.get(ids)).found()


def unfit(archive: Archive, runners: Sequence[Runner], room: Room | None = None) -> list[Unfit]:
    """Return what has not started and asks more than there is: than `room` has, than the living runners that could
    run it have, or, where there is none, than this machine has."""
    found = []
    for one in archive.measures.pending():
        lacks, runner = _never_fits(one.resources, _able(runners, one.workflow), room)
        if lacks:
            found.append(Unfit(one.workflow, one.ready, lacks, runner))
    return found


def unfit_of(session: Session, workflow: int, room: Room | None = None) -> list[Unfit]:
    """Return the same of one workflow."""
    with session.store.read() as archive:
        runners = roll_call(archive, session.clock())[0]
        return [one for one in unfit(archive, runners, room) if one.workflow == workflow]


def _able(runners: Iterable[Runner], workflow: int) -> list[Runner]:
    """The runners that run jobs of the workflow, as far as is recorded."""
    return [one for one in runners if one.offer is None or one.offer.workflow in (None, workflow)]


def _never_fits(
    asked: Resources, able: Sequence[Runner], room: Room | None = None
) -> tuple[tuple[Lack, ...], int | None]:
    """What is lacking everywhere, and whose room that is."""
    if room is not None or not able:
        return lacking(room or machine_room(), asked), None
    found = [((lacking(room_of(one.offer), asked) if one.offer is not None else ()), one.id) for one in able]
    return found[0] if all(lacks for lacks, _ in found) else ((), None)


class _Look:
    """What one look at some jobs needs, read in one snapshot."""

    def __init__(self, archive: Archive, now: float, jobs: Sequence[Job]) -> None:
        self._archive, self._now = archive, now
        self._jobs = [job for job in jobs if not job.retired]
        ids = [job.id for job in self._jobs]
        self._flows: dict[int, Workflow] = {}
        for number in sorted({job.workflow for job in self._jobs}):
            flow = archive.workflows.find(number)
            if flow is not None:
                self._flows[number] = flow
        self._live = archive.jobs.live(ids)
        self._awaited = archive.queue.awaited(ids)
        awaited = {one for attempts in self._awaited.values() for one in attempts}
        reserves = {job.reserve for job in self._jobs if job.reserve is not None}
        self._attempts = {one.id: one for one in archive.attempts.some(awaited | reserves)}
        self._runners = roll_call(archive, now)[0]
        self._running = archive.attempts.active()
        owners = {one.job for one in (*self._running, *self._attempts.values())}
        known = {job.id: job for job in archive.jobs.get(sorted(owners))}
        self._owners = known
        classes = {job.resource_class for job in (*self._jobs, *known.values())}
        self._resources = archive.jobs.resources(classes)
        self._missing = {number for number, one in self._flows.items() if not Path(one.directory).is_dir()}
        delayed = [job.id for job in self._jobs if job.not_before is not None]
        retried = archive.reruns.retried(delayed) if delayed else ()
        self._retries = {job: dict(reason.detail) for job, attempt, reason in retried if attempt is None}
        failed = archive.attempts.some(archive.reruns.by_itself(delayed)) if delayed else ()
        self._failed = {one.job: one for one in failed}
        self._held_at: dict[int, dict[int, float]] = {}
        self._above = _Above(archive, [job for job in self._jobs if job.state is State.WAITING])

    def found(self) -> dict[int, tuple[Wait, ...]]:
        """By job."""
        return {job.id: tuple(self._of(job)) for job in self._jobs}

    def _of(self, job: Job) -> Iterable[Wait]:
        if job.state in ACTIVE:
            return self._active(job)
        if job.state in (State.FAILED, State.CANCELED):
            return [Wait(job.state.label, _cause(self._live.get(job.id)))]
        if job.state in ENDED:
            return []
        found = [*self._above.of(job), *self._kept_back(job)]
        stopped = any(one.kind in ("held", "archived", "folder") or _is_stopped(one) for one in found)
        able = _able(self._runners, job.workflow)
        asked = self._resources[job.resource_class]
        lacks, runner = _never_fits(asked, able)
        if lacks:
            found.append(_resources(lacks, runner, never=True))
        if not able and not stopped:
            others = [{"id": one.id, "workflow": one.offer.workflow} for one in self._runners if one.offer is not None]
            found.append(Wait("runner", {"problem": "limited" if others else "none", "runners": others}))
        elif able and not found:
            found.append(self._now_or_later(asked, able))
        return found

    def _kept_back(self, job: Job) -> Iterable[Wait]:
        flow = self._flows.get(job.workflow)
        if flow is not None and flow.archived is not None:
            yield Wait("archived", {"workflow": flow.id, "since": flow.archived})
        if job.workflow in self._missing and flow is not None:
            yield Wait("folder", {"directory": flow.directory})
        if job.held is not None:
            yield Wait("held", {"reason": job.held, "since": self._held_since(job)})
        if job.not_before is not None and job.not_before > self._now:
            yield self._delay(job, job.not_before)
        if job.id in self._awaited:
            attempts = [self._attempts[one] for one in self._awaited[job.id] if one in self._attempts]
            told = [
                {"attempt": one.number, "id": one.id, "job": one.job, "name": self._owners[one.job].name}
                for one in attempts
            ]
            yield Wait("attempts", {"attempts": told})
        if job.state is State.READY and job.reserve is not None and self._runners:
            reserve = self._attempts.get(job.reserve)
            yield Wait("check", {"reserve": reserve.number if reserve else None, "id": job.reserve})
        if job.avoids is not None and works_elsewhere(self._archive, job.avoids, self._now):
            able = _able(self._runners, job.workflow)
            if able and all(one.host == job.avoids for one in able):
                yield Wait("host", {"avoids": job.avoids})

    def _delay(self, job: Job, until: float) -> Wait:
        """Of a job that starts later; of a retry also the attempt that failed."""
        retry, failed = self._retries.get(job.id), self._failed.get(job.id)
        detail: dict[str, Any] = {"until": until, "retry": retry}
        if retry is not None and failed is not None:
            detail |= {"attempt": failed.number, "id": failed.id, **_cause(failed)}
        return Wait("delay", detail)

    def _held_since(self, job: Job) -> float | None:
        """When it was held, where the newest events name it."""
        if job.workflow not in self._held_at:
            events = self._archive.events.listing(job.workflow, limit=_MOST_EVENTS)
            since = {one: event.at for event in events if event.kind == "held" for one in event.detail.get("first", ())}
            self._held_at[job.workflow] = since
        return self._held_at[job.workflow].get(job.id)

    def _now_or_later(self, asked: Resources, able: Sequence[Runner]) -> Wait:
        """Of a job that could start: what the runners lack now, or that its turn comes."""
        lacks: list[tuple[tuple[Lack, ...], Runner]] = []
        busy = []
        for one in able:
            active = [attempt for attempt in self._running if attempt.runner == one.id]
            taking = [attempt for attempt in active if attempt.state is State.RUNNING]
            if one.offer is not None:
                missing = lacking(self._free(room_of(one.offer), taking), asked)
                if missing:
                    lacks.append((missing, one))
                    continue
            if len(taking) >= one.slots:
                busy.append(one)
                continue
            if one.offer is not None and one.offer.chosen:
                continue
            return Wait("turn", {"runners": [each.id for each in able]})
        if lacks:
            missing, one = lacks[0]
            return _resources(missing, one.id, never=False, taken_by=self._taking(one))
        if busy:
            slots = sum(one.slots for one in busy)
            taken = [each for one in busy for each in self._taking(one)]
            runners = [{"id": one.id, "workflow": one.offer.workflow if one.offer else None} for one in busy]
            return Wait("runner", {"problem": "busy", "runners": runners, "slots": slots, "running": taken[:MOST]})
        runners = [{"id": one.id, "workflow": one.offer.workflow if one.offer else None} for one in able]
        return Wait("runner", {"problem": "chosen", "runners": runners})

    def _free(self, room: Room, taking: Sequence[Attempt]) -> Room:
        for attempt in taking:
            owner = self._owners.get(attempt.job)
            if owner is not None:
                room = room.take(self._resources[owner.resource_class])
        return room

    def _taking(self, runner: Runner) -> list[dict[str, Any]]:
        """The jobs that a runner runs."""
        jobs = [one.job for one in self._running if one.runner == runner.id and one.state is State.RUNNING]
        return [{"job": job, "name": self._owners[job].name} for job in jobs if job in self._owners][:MOST]

    def _active(self, job: Job) -> Iterable[Wait]:
        live = self._live.get(job.id)
        if live is None:
            return
        runner = None if live.runner is None else self._archive.runners.find(live.runner)
        running = live.state is State.RUNNING
        yield Wait(
            "running" if running else "queued",
            {
                "attempt": live.number,
                "id": live.id,
                "runner": live.runner,
                "host": live.host if running and live.host else (runner.host if runner else None),
                "pid": self._worker(live) if running else (runner.pid if runner else None),
                "since": live.started if running else live.queued,
                "runner_alive": any(one.id == live.runner for one in self._runners),
            },
        )

    def _worker(self, live: Attempt) -> int | None:
        """The process of a running attempt, or else of its worker."""
        if live.pid is not None or live.runner is None:
            return live.pid
        journals = self._archive.runners.journals(live.runner)
        return next((pid for worker, _, pid, *_ in journals if worker == live.worker), None)


def _cause(live: Attempt | None) -> dict[str, Any]:
    cause = live.cause.value if live is not None and live.cause else None
    return {"cause": cause, "exit_code": live.exit_code if live else None}


def _is_stopped(one: Wait) -> bool:
    """Return whether a job waits for one that does not run by itself."""
    if one.kind != "needs":
        return False
    standing = [one.detail, *one.detail["roots"]]
    return any(each["state"] in ("failed", "canceled") or each["held"] is not None for each in standing)


def _resources(
    lacks: Sequence[Lack], runner: int | None, *, never: bool, taken_by: Sequence[Mapping[str, Any]] = ()
) -> Wait:
    told = [{"what": one.what, "asked": one.asked, "there": one.there, "licence": one.licence} for one in lacks]
    text = ", ".join(map(str, lacks))
    return Wait(
        "resources", {"never": never, "runner": runner, "lacks": told, "text": text, "taken_by": list(taken_by)}
    )


class _Above:
    """What waiting jobs need that is not done, and what that waits for itself."""

    def __init__(self, archive: Archive, waiting: Sequence[Job]) -> None:
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
            for number, one in archive.measures.bodies({job.template for job in waiting}).items()
            if one.when == "finished"
        }
        ended = [job.id for job in self._known.values() if job.state in (State.FAILED, State.CANCELED)]
        self._ended = archive.jobs.live(ended)

    def of(self, job: Job) -> Iterable[Wait]:
        """Each need that is not done, the first of many."""
        if job.state is not State.WAITING:
            return
        finished = job.template in self._finished
        done = ENDED if finished else (State.COMPLETED,)
        unmet = [self._known[one] for one in self._needs.get(job.id, ()) if self._known[one].state not in done]
        for need in sorted(unmet, key=lambda one: (-one.state, one.id))[:MOST]:
            yield Wait(
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
            **_cause(self._ended.get(job.id)),
        }

    def _roots_of(self, job: int) -> tuple[int, ...]:
        """The nearest jobs above a waiting one that are not done and do not wait: the failed ones first."""
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
