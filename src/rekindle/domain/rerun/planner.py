"""Plan a rerun: one pure decision, shared by preview, apply and saved plans.

The plan names every job that the rerun reaches: the selected jobs and all their descendants. A descendant that is
already waiting is named too; nothing of it is archived."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cached_property

import msgspec
from msgspec.structs import replace

from rekindle.domain.errors import RefusedJob
from rekindle.domain.graph import unreachable_jobs
from rekindle.domain.next_attempt import NextAttempt
from rekindle.domain.rerun.costs import NO_HISTORY, DurationHistory, expected_cost
from rekindle.domain.rerun.downstream import (
    DynamicRollback,
    ReachedJobs,
    find_reached_jobs,
    jobs_left_to_check,
    roll_back_actions,
    running_children,
)
from rekindle.domain.rerun.plan import (
    Columns,
    JobSets,
    PlannedJob,
    PlannedJobs,
    Reason,
    ReasonKind,
    RerunPlan,
    seal_plan,
)
from rekindle.domain.rerun.request import (
    RequestMode,
    Requests,
    mode_of,
)
from rekindle.domain.rerun.resolve import (
    Exists,
    ResolvedRequest,
    keep_next_attempt,
    overwritten,
    pinned_attempt,
    with_definition,
)
from rekindle.domain.rerun.selected import (
    FORBIDDEN,
    NO_PINNED_VIEWS,
    NO_STALE_REASONS,
    SelectedJob,
    StaleReasons,
    always_exists,
    downstream_options,
    find_roots,
    is_done,
    resolve_one,
)
from rekindle.domain.rerun.start import BEGINNING
from rekindle.domain.rerun.views import OWN, JobGraph, JobTable, JobView
from rekindle.domain.states import ACTIVE, ENDED, ENDED_BADLY, State, derive_state
from rekindle.domain.texts.display import list_names


def plan_rerun(
    views: Mapping[int, JobView],
    graph: JobGraph,
    requests: Requests,
    exists: Exists = always_exists,
    why: StaleReasons = NO_STALE_REASONS,
    earlier: Mapping[int, JobView] = NO_PINNED_VIEWS,
    past: DurationHistory = NO_HISTORY,
) -> RerunPlan:
    """Plan a rerun of the jobs of `requests`, each with its options, and of their descendants.

    `views` and `graph` hold the requested jobs, all their descendants, and the parents of both. A job that cannot be
    rerun is refused by name and the others are planned; if none can, `jobs` is empty. Raise NotFound if `views` lacks a
    requested job.

    `exists` tells whether a path exists. `why` has the reasons for which requested jobs are stale: with `changed`, such
    a job below another requested job may be reused. `earlier` has the views of jobs with the definition they may be
    pinned to. `past` has the durations of earlier attempts. Equal arguments give equal plans, digest included."""
    table = JobTable.of(views)
    roots, refused = find_roots(table, graph, requests, earlier, exists)
    stale = {job for job in why if not _is_regenerated(job, why)}
    for job in jobs_left_to_check(table, graph, {job: root.how for job, root in roots.items()}, stale):
        del roots[job]
    downstream = downstream_options(roots)
    reached = find_reached_jobs(table, graph, downstream, running_children(table, graph, downstream))
    saving = any(how.keep_outputs for how, _ in requests.by_how())
    rollback = roll_back_actions(table, graph, {job: root.how for job, root in roots.items()})
    builder = PlanBuilder(rollback, earlier, roots, reached, exists, saving, why)
    jobs = builder.planned()
    return seal_plan(
        RerunPlan(
            jobs=jobs,
            refused=tuple(
                RefusedJob(job, table.name(job), refused[job], FORBIDDEN if table.kind(job).runs_once else "")
                for job in sorted(refused)
                if job not in reached.upstream
            ),
            warnings=(*builder.warnings(refused), *rollback.warnings(builder.changed)),
            expected=expected_cost(jobs, rollback.retired, rollback.views, rollback.graph, past),
            overwrites=builder.overwrites(jobs),
            reads=builder.reads(),
            dynamic=rollback.taken,
        )
    )


class PlanBuilder(msgspec.Struct, frozen=True, dict=True):
    """Derive a plan from the resolved requests and the jobs they reach.

    Jobs that are alike (of one kind, requested alike, reached alike, with as many unmet needs) are planned once."""

    rollback: DynamicRollback
    earlier: Mapping[int, JobView]  # views with the definition that a job may be pinned to
    asked: Mapping[int, SelectedJob]
    reached: ReachedJobs
    exists: Exists
    saving: bool  # save outputs before they are overwritten
    why: StaleReasons

    @property
    def views(self) -> JobTable:
        """The jobs after the rollback of dynamic actions."""
        return self.rollback.views

    @property
    def graph(self) -> JobGraph:
        """The edges after the rollback of dynamic actions."""
        return self.rollback.graph

    @cached_property
    def roots(self) -> dict[int, SelectedJob]:
        """The requested jobs that are reset."""
        return {job: root for job, root in self.asked.items() if mode_of(root.how) is not RequestMode.RELEASE}

    @cached_property
    def reset(self) -> set[int]:
        """The jobs that have no live attempt afterwards."""
        return {*self.roots, *self.reached.upstream, *self.rollback.freed}

    @cached_property
    def unreset_jobs(self) -> set[int]:
        """The jobs that are written but not reset: released jobs, and jobs with more unmet needs than before."""
        unreset = self.reached.unreset
        above = self.reset if unreset else ()
        moved = {child for job in above for child in self.graph.children.get(job, ()) if child in unreset}
        moved |= {job for job in unreset if self.views.kind(job).when_finished}
        moved = {job for job in moved if self._unmet.get(job, 0) != self.views[job].unmet}
        return (moved | self.asked.keys()) - self.reset

    @cached_property
    def changed(self) -> set[int]:
        """The jobs of the plan."""
        return self.reset | self.unreset_jobs

    @cached_property
    def _rolled_back(self) -> set[int]:
        """The jobs whose actions are rolled back, and the jobs retired with them."""
        return {one.job for one in self.rollback.taken} | self.rollback.retired

    def planned(self) -> PlannedJobs:
        """Return the planned jobs, by id."""
        sets = JobSets()
        for jobs in self._alike():
            columns = self._columns(jobs)
            planned = sets.add(self._plan(jobs[0]), columns)
            if not planned:
                for job in jobs:
                    sets.add(self._plan(job), self._columns([job]))
        return sets.collected()

    def _alike(self) -> Iterable[list[int]]:
        """Return the jobs that are alike, each list by id."""
        rows, unmet, upstream = self.views.rows, self._unmet, self.reached.upstream
        alone, below = self._alone, upstream.keys() - self.asked.keys()
        ways = {near: id(self.asked[near].how) if near in self.asked else None for near in set(upstream.values())}
        alike: dict[object, list[int]] = {}
        for job in sorted(below - alone):
            key = rows[job][0], unmet.get(job, 0), ways[upstream[job]], job in self.reached.reusable
            if key in alike:
                alike[key].append(job)
            else:
                alike[key] = [job]
        for job in sorted(self.changed - below - alone):
            near = upstream.get(job, self.reached.unreset.get(job))
            above = None if near is None else self.asked.get(near)
            asked = id(self.asked.get(job)), id(above and above.how)
            found = near is None, job in upstream, job in self.unreset_jobs, job in self.reached.reusable
            alike.setdefault((rows[job][0], unmet.get(job, 0), asked, found), []).append(job)
        return [*alike.values(), *([job] for job in sorted(alone & self.changed))]

    def _columns(self, jobs: list[int]) -> Columns:
        """Return the columns of planned jobs."""
        rows, upstream, unreset = self.views.rows, self.reached.upstream, self.reached.unreset
        near = [upstream.get(job, unreset.get(job, OWN)) for job in jobs]
        names = {job: rows[job][1] for job in set(near) if job != OWN}
        found = [rows[job] for job in jobs]
        return Columns(
            jobs, [row[1] for row in found], [row[2] for row in found], [row[3] for row in found], near, names
        )

    @cached_property
    def _alone(self) -> set[int]:
        """The jobs with reasons, or saved outputs, of their own."""
        alone = {*self.why, *self.rollback.freed, *self._rolled_back}
        if self.saving:
            alone |= self.views.having(lambda view: bool(view.declared or view.outputs)) | self.earlier.keys()
        return alone

    def _plan(self, job: int) -> PlannedJob:
        """Plan one job."""
        view = self.views[job]
        return self.rollback.explained(self._plan_unreset(view) if job in self.unreset_jobs else self._plan_reset(view))

    def _resolved(self, view: JobView) -> ResolvedRequest | None:
        """Return the options of a requested job, as resolved for it; None for another job."""
        root = self.roots.get(view.id)
        if root is None:
            return None
        if root.job == view.id:
            return root.resolved
        resolved = resolve_one(view, root.how, self.earlier, self.exists)
        assert not isinstance(resolved, str), f"{view.name} is not like job {root.job}: {resolved}"
        return resolved

    def _plan_reset(self, view: JobView) -> PlannedJob:
        root, resolved = self.roots.get(view.id), self._resolved(view)
        start = resolved.start if resolved else BEGINNING
        unmet = self._unmet.get(view.id, 0)
        next_attempt = self._next_attempt(view, resolved)
        return PlannedJob(
            id=view.id,
            name=view.name,
            version=view.version,
            before=view.state,
            after=derive_state(None, False, unmet),
            start=start.label,
            reasons=self._reasons(view, resolved),
            archives=(view.attempt.id,) if view.attempt else (),
            keeps=start.keeps,
            unmet=unmet,
            next=next_attempt,
            changes=resolved.changes if resolved else (),
            saves=self._saves(view, next_attempt),
            holds=root.how.hold if root else None,
            releases=self._is_released(view),
        )

    def _plan_unreset(self, view: JobView) -> PlannedJob:
        """Plan a job whose attempt, or next attempt, stays unchanged."""
        unmet = self._unmet.get(view.id, 0)
        job = PlannedJob(
            id=view.id,
            name=view.name,
            version=view.version,
            before=view.state,
            after=derive_state(view.attempt.state if view.attempt else None, view.canceled, unmet),
            start=BEGINNING.label,
            reasons=self._reasons(view, None),
            unmet=unmet,
            stays=True,
            releases=self._is_released(view),
        )
        return keep_next_attempt(job, view)

    @cached_property
    def _unmet(self) -> dict[int, int]:
        """The number of needs that are not met after the rerun, by job; jobs without any are left out."""
        found: dict[int, int] = {}
        undone = self.reset | self.views.having(lambda view: not is_done(view))
        for parent, below in self.graph.children.items():
            if parent in undone:
                for child in below:
                    found[child] = found.get(child, 0) + 1
        for job in self._lenient:
            parents = self.graph.parents.get(job, ())
            found[job] = sum(parent in undone and parent not in self._given_up for parent in parents)
        return found

    @cached_property
    def _lenient(self) -> set[int]:
        return self.views.having(lambda view: view.when_finished)

    @cached_property
    def _given_up(self) -> set[int]:
        """The jobs that will not complete after the rerun."""
        views, reset = self.views, self.reset
        badly = views.having(lambda view: view.given_up or (view.state in ENDED_BADLY and not view.undecided)) - reset
        idle = views.having(lambda view: view.attempt is None and view.state is State.WAITING) | reset
        return unreachable_jobs(badly, idle - self._lenient, self.graph.children)

    def _is_released(self, view: JobView) -> bool:
        return view.id in self.asked and mode_of(self.asked[view.id].how) is RequestMode.RELEASE

    def _pinned_to(self, view: JobView) -> int | None:
        root = self.roots.get(view.id) or self.asked.get(self.reached.upstream.get(view.id, view.id))
        return view.next.pinned_to if root is None else pinned_attempt(view, root.how)

    def _reuse_candidate(self, view: JobView) -> int | None:
        """Return the attempt that may be reused instead of running. Jobs that always run, and jobs whose actions are
        rolled back, have none."""
        if view.id in self.rollback.freed:
            return view.next.reuse_candidate or None
        reusable = view.id in self.reached.reusable or _is_put_back(view.id, self.why)
        if not reusable or view.runs_whenever or view.id in self._rolled_back:
            return None
        if view.attempt is None:
            return view.next.reuse_candidate or None
        return view.attempt.id if view.attempt.state is State.COMPLETED else None

    def _next_attempt(self, view: JobView, resolved: ResolvedRequest | None) -> NextAttempt:
        """Return the next attempt of a reset job. A descendant starts at the beginning, in a new folder, with its
        overrides kept."""
        pinned_to, candidate = self._pinned_to(view), self._reuse_candidate(view)
        if resolved is None:
            return NextAttempt(overrides=view.next.overrides, pinned_to=pinned_to, reuse_candidate=candidate)
        return replace(resolved.next, pinned_to=pinned_to, reuse_candidate=candidate)

    def _saves(self, view: JobView, next_attempt: NextAttempt) -> tuple[str, ...]:
        """Return the existing outputs that the next attempt overwrites, if outputs are to be saved."""
        made = view.attempt is not None and view.state not in ACTIVE  # a running job is still writing its outputs
        if not self.saving or not made:
            return ()
        view = with_definition(view, next_attempt.pinned_to, self.earlier)
        return tuple(path for _, path in overwritten(next_attempt, view, self.exists))

    def overwrites(self, jobs: PlannedJobs) -> tuple[str, ...]:
        """Return the existing outputs of earlier attempts that will be overwritten, saved or not."""
        writing = self.views.having(lambda view: bool(view.declared or view.outputs)) | self.earlier.keys()
        writing -= self.rollback.retired
        changes = {job: one.change for one in jobs.sets if one.change.archives for job in one.ids if job in writing}
        paths = (path for job in sorted(changes) for path in self._overwritten(job, changes[job].next))
        return tuple(dict.fromkeys(paths))

    def _overwritten(self, job: int, following: NextAttempt) -> Iterable[str]:
        view = with_definition(self.views[job], following.pinned_to, self.earlier)
        return (path for path, _ in overwritten(following, view, self.exists))

    def _reasons(self, view: JobView, resolved: ResolvedRequest | None) -> tuple[Reason, ...]:
        reasons = []
        if resolved is not None and not _is_regenerated(view.id, self.why):
            cause = view.attempt.cause if view.attempt else None
            reasons.append(Reason(ReasonKind.SELECTED, {"state": view.state.label, "cause": cause}))
        if view.id in self.reset and view.state in ACTIVE and view.attempt is not None:
            reasons.append(Reason(ReasonKind.CANCELS, {"attempt": view.attempt.id, "state": view.state.label}))
        reasons += self.why.get(view.id, ())
        if resolved is not None and (more := resolved.start.reason) is not None:
            reasons.append(more)
        if self._is_released(view):
            reasons.append(Reason(ReasonKind.RELEASED, {"held": view.held}))
        upstream = self.reached.upstream.get(view.id)
        if upstream is not None:
            reasons.append(Reason(ReasonKind.UPSTREAM, {"job": upstream, "name": self.views.name(upstream)}))
        elif view.id in self.reached.unreset and not self._is_released(view):
            if view.id in self.reached.forbidden:
                reasons.append(Reason(ReasonKind.FORBIDDEN, {"reason": view.rerun_forbidden}))
            parent = self.reached.unreset[view.id]
            kind = ReasonKind.STAYS if view.state in ENDED else ReasonKind.UPSTREAM
            reasons.append(Reason(kind, {"job": parent, "name": self.views.name(parent)}))
        if (candidate := self._reuse_candidate(view)) is not None and view.id in self.reached.reusable:
            reasons.append(Reason(ReasonKind.REUSE, {"attempt": candidate}))
        if resolved is not None and resolved.kept_by is not None:
            reasons.append(Reason(ReasonKind.RECOVERY, {"rerun": resolved.kept_by}))
        return tuple(reasons)

    def reads(self) -> tuple[tuple[int, int], ...]:
        """Return the unchanged parents that the plan depends on, with their versions."""
        every = self.changed
        outside = (
            job for job, below in self.graph.children.items() if job not in every and not every.isdisjoint(below)
        )
        return tuple((job, self.views.version(job)) for job in sorted(outside))

    def _named(self, among: Collection[int], holds: Callable[[JobView], bool]) -> list[str]:
        """Return the names of the jobs among these whose kind is so, by id."""
        return [self.views.name(job) for job in sorted(self.views.having(holds).intersection(among))]

    def warnings(self, refused: Mapping[int, str]) -> Iterable[str]:
        """Yield the warnings to show before the plan is applied. `refused` are selected jobs; those that run again
        anyway because an upstream job does are named here."""
        upstream, views = self.reached.upstream, self.views
        below = upstream.keys() - self.roots.keys()
        released = self.asked.keys() - self.roots.keys()
        if held := self._named(upstream.keys() - released, lambda view: view.held is not None):
            yield f"{list_names(held)} stay{'' if len(held) > 1 else 's'} held: release with rekindle release"
        if revived := self._named(below, lambda view: view.state is State.CANCELED):
            were = "were" if len(revived) > 1 else "was"
            yield f"{list_names(revived)} {were} canceled and will run again"
        if lost := self._named(below, lambda view: view.next.keep_recovery is not None):
            loses = "loses" if len(lost) == 1 else "lose"
            yield f"{list_names(lost)} {loses} the resume point that was kept: a job upstream runs again"
        if canceled := self._named(self.reset, lambda view: view.state in ACTIVE):
            run, are = ("run", "are") if len(canceled) > 1 else ("runs", "is")
            names = list_names(canceled)
            yield f"{names} {run} now and {are} canceled first: nothing that would disturb it starts before"
        if gone := [views.name(job) for job in sorted(self.roots) if _is_regenerated(job, self.why)]:
            yield f"{list_names(gone)} run{'' if len(gone) > 1 else 's'} again: its temporary output is gone"
        yield from self._stale_warnings()
        for job, root in self.roots.items():
            start = root.resolved.start
            if root.resolved.warning:
                yield root.resolved.warning
            if start.position and job in upstream:
                yield (
                    f"`{views.name(job)}` starts at `{start.label}` and keeps {list_names(start.keeps)}, "
                    f"though `{views.name(upstream[job])}`, which it needs, runs again"
                )
        for view in (views[job] for job in sorted(refused.keys() & upstream.keys())):
            if view.attempt is not None and view.held is None:
                root_name = views.name(upstream[view.id])
                yield f"`{view.name}` runs from the beginning, because `{root_name}` runs again: {refused[view.id]}"

    def _stale_warnings(self) -> Iterable[str]:
        """Warn about jobs that are kept although a job upstream runs again."""
        for view in (self.views[job] for job in sorted(self.reached.forbidden)):
            becomes = ", and becomes stale if a job upstream changes" if is_done(view) else ""
            yield (
                f"`{view.name}` must not run twice ({view.rerun_forbidden}): its {view.state.label} attempt stays"
                f"{becomes}. Jobs that depend on this plan only by it stay too"
            )
        below = self.reached.unreset.keys() - self.reached.forbidden
        if stale := self._named(below, is_done):
            stay = "stays as it is, and becomes" if len(stale) == 1 else "stay as they are, and become"
            yield (
                f"{list_names(stale)} {stay} stale if a job upstream changes: rekindle rerun --changed runs stale jobs"
            )


def _is_put_back(job: int, why: StaleReasons) -> bool:
    """Return whether the temporary outputs of a job are gone and kept, so that they may be put back."""
    return any(one.kind is ReasonKind.TEMPORARY and one.detail.get("cached", False) for one in why.get(job, ()))


def _is_regenerated(job: int, why: StaleReasons) -> bool:
    """Return whether a job runs again because a temporary output of it is gone, and not because it was selected."""
    return any(one.kind is ReasonKind.TEMPORARY for one in why.get(job, ()))
