"""An in-memory model of the store, in which the domain rules make all decisions.

The model keeps states, unmet counts and versions incrementally, writes a plan's numbers unchanged, and increments a
version only when a state changes or a pointer is written. Errors of the planner therefore show in `check`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from rekindle.domain.definition import Resources
from rekindle.domain.errors import PlanOutdated
from rekindle.domain.rerun.plan import ReasonKind, RerunPlan
from rekindle.domain.rerun.undo import JobPointers, UndoConflicts, pointers_after, pointers_before, refuse_undo
from rekindle.domain.rerun.views import AttemptView, JobGraph, JobView, StepView
from rekindle.domain.states import ACTIVE, ENDED, JobEvent, State, derive_state, transition

STEPS = ("fetch", "fit", "score")

BASE = Resources(cpus=1.0, memory=1000)
PARAMS = {"alpha": 1, "beta": 2}

AGGREGATE = 5
"""A job that runs whenever anything that it needs has run."""


@dataclass
class LiveAttempt:
    id: int
    job: int
    state: State
    steps: list[StepView]
    archived_by: int | None = None
    notes: int = 0  # outcomes recorded after it was archived
    folder: str = ""
    builds_on: int | None = None
    overrides: str | None = None
    started: bool = False


@dataclass
class LiveJob:
    id: int
    state: State
    unmet: int
    version: int = 0
    pointers: JobPointers = field(default_factory=JobPointers)

    @property
    def name(self) -> str:
        return f"j{self.id}"


@dataclass
class Applied:
    plan: RerunPlan
    before: dict[int, JobPointers]
    states: dict[int, State]
    undone: bool = False


class World:
    """Jobs 0 … n-1, their edges, attempts and reruns."""

    def __init__(self, n: int, edges: Sequence[tuple[int, int]], forbidden: Collection[int] = ()) -> None:
        self.forbidden = forbidden  # jobs that must not run twice
        self.graph = JobGraph({job: [child for parent, child in edges if parent == job] for job in range(n)})
        self.attempts: dict[int, LiveAttempt] = {}
        self.reruns: dict[int, Applied] = {}
        self.folders: set[str] = set()  # existing folders
        self.jobs: dict[int, LiveJob] = {}
        for job in range(n):
            unmet = len(self.graph.parents.get(job, ()))
            self.jobs[job] = LiveJob(job, derive_state(None, False, unmet), unmet)

    # Actions of runners and users

    def claim(self, job: int) -> None:
        """Start an attempt from the job's resume point."""
        standing = self.jobs[job]
        assert standing.pointers.held is None
        assert standing.pointers.next.reuse_candidate is None, "claimed before its reserve was looked at"
        assert not [a for a in self.attempts.values() if a.job == job and a.state in ACTIVE], "claimed twice"
        assert job not in self.awaiting(), "claimed while something ran that it would disturb"
        assert all(self.jobs[parent].state is State.COMPLETED for parent in self.graph.parents.get(job, ()))
        assert not self.has_started(job) or job not in self.forbidden, "ran twice what must not"
        number = len(self.attempts) + 1
        pointers = standing.pointers
        kept = [
            StepView(position, STEPS[position], State.COMPLETED, kept_from=pointers.next.resume_attempt)
            for position in range(pointers.next.resume_step)
        ]
        if kept:
            earlier = self.attempts[pointers.next.resume_attempt or 0].steps
            assert all(step.state is State.COMPLETED for step in earlier[: len(kept)]), "kept what never completed"
        folder = f"/a/{number}"
        if pointers.next.take is not None:
            assert pointers.next.folder
            assert job % 2 == 0, "the project's folder is not an attempt's"
            folder = pointers.next.folder if pointers.next.take == "same" else folder
        self.attempts[number] = LiveAttempt(
            number,
            job,
            State.QUEUED,
            kept,
            folder=folder,
            builds_on=pointers.next.resume_attempt,
        )
        standing.pointers = replace(pointers, attempt=number)
        self._move(standing, JobEvent.CLAIM)

    def check_reserve(self, job: int, holds: bool) -> None:
        """Check the attempt that a ready job may reuse: reuse it, or let the job run."""
        standing = self.jobs[job]
        assert standing.state is State.READY
        reserve = standing.pointers.next.reuse_candidate
        assert reserve is not None
        if not holds:
            standing.pointers = replace(standing.pointers, next=replace(standing.pointers.next, reuse_candidate=None))
            standing.version += 1
            return
        standing.pointers = replace(
            standing.pointers, attempt=reserve, next=replace(standing.pointers.next, reuse_candidate=None)
        )
        self.attempts[reserve].archived_by = None
        self._move(standing, JobEvent.REINSTATE)
        self._release_children(job)

    def has_started(self, job: int) -> bool:
        """Return whether an attempt of the job has started."""
        return any(one.job == job and one.started for one in self.attempts.values())

    def reset_children(self) -> dict[int, Sequence[int]]:
        """Return the children of each job to which a reset spreads: none of a job that must not run twice."""
        views = self.views()
        return {job: () if views[job].runs_once else found for job, found in self.graph.children.items()}

    def start(self, job: int) -> None:
        self._move_both(job, JobEvent.START)
        self._live(job).started = True
        self.folders.add(self._live(job).folder)

    def end(self, job: int, event: JobEvent, completed: int) -> None:
        """End an attempt after some more steps have completed (all of them on COMPLETE)."""
        attempt = self._live(job)
        missing = len(STEPS) - len(attempt.steps)
        more = missing if event is JobEvent.COMPLETE else min(completed, missing)
        for _ in range(more if attempt.state is State.RUNNING else 0):
            attempt.steps.append(StepView(len(attempt.steps), STEPS[len(attempt.steps)], State.COMPLETED))
        if event is not JobEvent.COMPLETE and len(attempt.steps) < len(STEPS) and attempt.state is State.RUNNING:
            attempt.steps.append(StepView(len(attempt.steps), STEPS[len(attempt.steps)], State.FAILED))
        self._move_both(job, event)
        if event is JobEvent.COMPLETE:
            self._release_children(job)

    def late_outcome(self, attempt: int, state: State) -> None:
        """Record the outcome of an archived attempt. It changes nothing else, and ends the attempt if it is running."""
        one = self.attempts[attempt]
        one.notes += 1
        one.state = state if one.state in ACTIVE else one.state

    def leaving(self) -> list[LiveAttempt]:
        """Return the attempts that were archived while running and have not ended."""
        return [one for one in self.attempts.values() if one.archived_by and one.state in ACTIVE]

    def awaiting(self) -> set[int]:
        """Return the jobs that must wait for such attempts: their own jobs, and the rerun jobs upstream of them."""
        found = {one.job for one in self.leaving()}
        level = list(found)
        while level:
            above = {parent for job in level for parent in self.graph.parents.get(job, ())} - found
            level = [job for job in above if self.jobs[job].state is not State.COMPLETED]
            found.update(level)
        return found

    def cancel_idle(self, job: int) -> None:
        standing = self.jobs[job]
        standing.pointers = replace(standing.pointers, canceled=True)
        self._move(standing, JobEvent.CANCEL)

    def hold(self, job: int, reason: str | None) -> None:
        standing = self.jobs[job]
        standing.pointers = replace(standing.pointers, held=reason)

    # Reruns

    def views(self) -> dict[int, JobView]:
        return {job: self._view(standing) for job, standing in self.jobs.items()}

    def apply(self, plan: RerunPlan) -> int:
        """Apply a plan if every job has the version in the plan."""
        guards = [(job.id, job.version) for job in plan.jobs] + list(plan.reads)
        moved = [job for job, version in guards if self.jobs[job].version != version]
        if moved:
            raise PlanOutdated(f"moved: {moved}")
        number = len(self.reruns) + 1
        before = {job.id: pointers_before(self._view(self.jobs[job.id])) for job in plan.jobs}
        self.reruns[number] = Applied(plan, before, {job.id: job.before for job in plan.jobs})
        for planned in plan.jobs:
            standing = self.jobs[planned.id]
            assert standing.state is planned.before
            if planned.stays:
                assert not planned.archives
            else:
                cancels = any(reason.kind is ReasonKind.CANCELS for reason in planned.reasons)
                event = JobEvent.CANCEL_AND_RESET if cancels else JobEvent.RESET
                transition(standing.state, event, standing.name)  # raises if the transition is illegal
            for attempt in planned.archives:
                self.attempts[attempt].archived_by = number
            after = pointers_after(planned, standing.pointers)
            standing.pointers = (
                replace(after, next=replace(after.next, keep_recovery=number))
                if after.next.keep_recovery == 0
                else after
            )
            standing.state, standing.unmet = planned.after, planned.unmet
            standing.version += 1
        return number

    def undo(self, number: int) -> None:
        rerun = self.reruns[number]
        refuse_undo(self.undo_conflicts(number))
        for planned in rerun.plan.jobs:
            standing = self.jobs[planned.id]
            standing.pointers = rerun.before[planned.id]
            standing.version += 1
            for attempt in planned.archives:
                self.attempts[attempt].archived_by = None
        rerun.undone = True
        for standing in self.jobs.values():
            self._derive(standing)
        for standing in self.jobs.values():
            standing.unmet = self._unmet(standing.id)
            self._derive(standing)

    def undo_conflicts(self, number: int) -> UndoConflicts:
        rerun = self.reruns[number]
        touched: dict[str, list[int]] = {}
        for other, applied in self.reruns.items():
            for job in rerun.before.keys() & applied.before.keys() if other > number and not applied.undone else ():
                touched.setdefault(self.jobs[job].name, []).append(other)
        started = [
            self.jobs[job].name
            for job, restore in sorted(rerun.before.items())
            if self.jobs[job].pointers.attempt not in (None, restore.attempt)
        ]
        return UndoConflicts(started, touched)

    # Invariants

    def check(self) -> None:
        """Check DESIGN's invariants 3, 8 and 11, and that pointers and archived marks agree."""
        for job, standing in self.jobs.items():
            unmet = self._unmet(job)
            assert standing.unmet == unmet, f"{standing.name}: unmet {standing.unmet}, derived {unmet}"
            assert standing.state is self._derived(standing), f"{standing.name}: {standing.state.label}"
            if standing.state in ACTIVE or standing.state is State.READY:
                assert unmet == 0
            reserve = standing.pointers.next.reuse_candidate
            if reserve is not None:
                assert standing.pointers.attempt is None
                kept = self.attempts[reserve]
                assert (kept.job, kept.state) == (job, State.COMPLETED)
                assert kept.archived_by is not None
            pinned_to = standing.pointers.next.pinned_to
            assert pinned_to is None or self.attempts[pinned_to].job == job
            mine = [attempt for attempt in self.attempts.values() if attempt.job == job]
            assert sum(attempt.state in ACTIVE for attempt in mine) <= 1
            live = [attempt.id for attempt in mine if attempt.archived_by is None]
            assert live == ([standing.pointers.attempt] if standing.pointers.attempt else [])

    # Helpers

    def _view(self, standing: LiveJob) -> JobView:
        pointers = standing.pointers
        attempt = self.attempts[pointers.attempt] if pointers.attempt else None
        cause = {State.FAILED: "exit", State.CANCELED: "canceled"}
        return JobView(
            id=standing.id,
            name=standing.name,
            state=standing.state,
            version=standing.version,
            steps=STEPS,
            held=pointers.held,
            canceled=pointers.canceled,
            unmet=standing.unmet,
            attempt=attempt
            and AttemptView(
                attempt.id,
                attempt.state,
                cause.get(attempt.state),
                tuple(attempt.steps),
                self._folders(attempt),
                attempt.started or attempt.state in ACTIVE,
            ),
            last=max((one.id for one in self.attempts.values() if one.job == standing.id), default=None),
            aggregate=standing.id == AGGREGATE,
            outputs=("out",),
            workdir="project" if standing.id % 2 else "attempt",
            next=pointers.next,
            directory="/p",
            resources=BASE,
            params=PARAMS,
            declared=("out",),
            rerun_forbidden="it pays" if standing.id in self.forbidden else "",
        )

    def _folders(self, attempt: LiveAttempt) -> tuple[str, ...]:
        folders = [attempt.folder]
        while attempt.builds_on and not any(step.kept_from is None for step in attempt.steps):
            attempt = self.attempts[attempt.builds_on]
            folders.append(attempt.folder)
        return tuple(folders)

    def _live(self, job: int) -> LiveAttempt:
        attempt = self.jobs[job].pointers.attempt
        assert attempt is not None
        return self.attempts[attempt]

    def _move(self, standing: LiveJob, event: JobEvent) -> None:
        standing.state = transition(standing.state, event, standing.name)
        standing.version += 1

    def _move_both(self, job: int, event: JobEvent) -> None:
        self._move(self.jobs[job], event)
        self._live(job).state = self.jobs[job].state

    def _release_children(self, job: int) -> None:
        for child in self.graph.children[job]:
            standing = self.jobs[child]
            standing.unmet -= 1
            if standing.unmet == 0 and standing.state is State.WAITING:
                self._move(standing, JobEvent.NEEDS_MET)

    def _unmet(self, job: int) -> int:
        return sum(self.jobs[parent].state is not State.COMPLETED for parent in self.graph.parents.get(job, ()))

    def _derived(self, standing: LiveJob) -> State:
        attempt = standing.pointers.attempt
        state = self.attempts[attempt].state if attempt else None
        return derive_state(state, standing.pointers.canceled, self._unmet(standing.id))

    def _derive(self, standing: LiveJob) -> None:
        state = self._derived(standing)
        standing.version += state is not standing.state
        standing.state = state


def ended(attempt: LiveAttempt) -> bool:
    return attempt.state in ENDED
