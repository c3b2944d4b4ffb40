"""The jobs that a rerun reaches downstream, and the dynamic actions that it rolls back.

By default the dynamic actions of rerun jobs stay in force until a later success replaces them, and the plan names them.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from rekindle.domain.actions import CANCEL, HOLD, SET, ActionSet, retire_sets
from rekindle.domain.graph import descendants, nearest_start
from rekindle.domain.rerun.plan import PlannedJob, Reason, ReasonKind, RolledBackActions
from rekindle.domain.rerun.request import Downstream, How
from rekindle.domain.rerun.resolve import keep_next_attempt
from rekindle.domain.rerun.views import JobGraph, JobTable, JobView
from rekindle.domain.states import ACTIVE, State


class ReachedJobs(msgspec.Struct, frozen=True):
    """The jobs downstream of the selected ones. If several options reach a job, `all` beats `changed`, and `changed`
    beats `none`."""

    upstream: Mapping[int, int]  # reset job -> the nearest selected job upstream
    reusable: frozenset[int]  # those reset jobs that only `changed` reaches
    # job that only `none` reaches or that must not run twice, so not reset -> the nearest selected job upstream
    unreset: Mapping[int, int]
    forbidden: frozenset[int] = frozenset()  # the unreset jobs that must not run twice


def find_reached_jobs(
    views: JobTable, graph: JobGraph, roots: Mapping[int, Downstream], cut_short: Mapping[int, int]
) -> ReachedJobs:
    """Return the jobs downstream of `roots`. `cut_short`: jobs below a root with `none` that are reset because they are
    running (see `running_children`)."""
    resets = reset_children(views, graph)

    def below(children: Mapping[int, Sequence[int]], *ways: Downstream) -> dict[int, int]:
        return nearest_start(children, [job for job, way in roots.items() if way in ways])

    everything = below(resets, "all")
    reached = below(resets, "all", "changed") if "changed" in roots.values() else everything
    once = views.having(lambda view: view.runs_once)
    forbidden = {job: reached[job] for job in once if job in reached}
    reset = {job: root for job, root in reached.items() if job not in forbidden} if forbidden else reached
    upstream = {**{job: root for job, root in cut_short.items() if job not in roots}, **reset} if cut_short else reset
    beside = below(graph.children, "none").items()
    unreset = {**{job: root for job, root in beside if job not in upstream and job not in roots}, **forbidden}
    reusable = frozenset(reset.keys() - everything.keys() - roots.keys()) if reached is not everything else frozenset()
    return ReachedJobs(upstream, reusable, unreset, frozenset(forbidden))


def reset_children(views: JobTable, graph: JobGraph) -> Mapping[int, Sequence[int]]:
    """Return the children of each job to which a reset spreads: all, but none of a job that must not run twice. That
    job keeps its results, so the jobs below it need no others."""
    once = views.having(lambda view: view.runs_once)
    return {**graph.children, **dict.fromkeys(once, ())} if once else graph.children


def jobs_left_to_check(views: JobTable, graph: JobGraph, asked: Mapping[int, How], stale: Container[int]) -> list[int]:
    """Return the jobs requested only for being stale, below other requested jobs whose rerun may make them current
    again, for instance by restoring a missing file. They run only if they are still stale then."""
    plain = How(downstream="changed", keep_modified=True)
    others = [
        job
        for job, how in asked.items()
        if job in stale
        and replace(how, cancel_running=False) == plain
        and _is_complete(views[job])
        and views[job].next.keep_recovery is None
    ]
    if not others:
        return []
    upstream = nearest_start(reset_children(views, graph), list(asked))
    return [job for job in others if job in upstream]


def _is_complete(view: JobView) -> bool:
    return view.attempt is not None and view.attempt.state is State.COMPLETED


def running_children(views: JobTable, graph: JobGraph, roots: Mapping[int, Downstream]) -> dict[int, int]:
    """Return the running children of jobs requested with `none`, each with the first such parent."""
    found: dict[int, int] = {}
    for job in sorted(job for job, way in roots.items() if way == "none"):
        for child in graph.children.get(job, ()):
            if views.kind(child).state in ACTIVE:
                found.setdefault(child, job)
    return found


def find_disturbing(
    views: JobTable, graph: JobGraph, roots: Mapping[int, Downstream], disturbed: Callable[[JobView], bool]
) -> dict[int, str]:
    """Return the jobs whose rerun would reset a running job, or with `none` remove what a running job uses, each with
    an explanation. Nothing is changed under a running process. `disturbed`: whether a running job counts."""
    running = views.having(lambda view: view.state in ACTIVE and disturbed(view))
    if not running:
        return {}
    starts = [job for job, way in roots.items() if way != "none"]
    below = nearest_start(reset_children(views, graph), starts)
    active = [job for job in below if job in running]
    walked = {job for job in below if not views.kind(job).runs_once} if active else ()
    met = nearest_start(graph.parents, active, within={*starts, *walked}) if active else {}
    found = {job: met[job] for job in starts if job in met}
    for job in roots.keys() - set(starts):
        if uses := running & _dependents(views, graph, job):
            found[job] = min(uses)
    return {job: _explain_disturbing(views[user], views[job]) for job, user in found.items()}


def _dependents(views: JobTable, graph: JobGraph, job: int) -> set[int]:
    """Return the jobs that depend on a job, including those with `when: finished` that started because an unreachable
    job was between."""
    below = nearest_start(graph.children, [job])
    idle = {child for child in below if (kind := views.kind(child)).attempt is None and not kind.when_finished}
    past = {child for one in {job, *idle} for child in graph.children.get(one, ())}
    return {*graph.children.get(job, ()), *(child for child in past if views.kind(child).when_finished)}


def _explain_disturbing(active: JobView, view: JobView) -> str:
    if active.runs_once:
        return (
            f"`{active.name}` is {active.state.label}, needs `{view.name}`, and must not run twice "
            f"({active.rerun_forbidden}); wait for its end"
        )
    return (
        f"`{active.name}` is {active.state.label}, and it needs `{view.name}`; "
        f"cancel it first: --cancel-running, or rekindle cancel {shlex.quote(active.name)}"
    )


_NAMED = 5


class DynamicRollback(msgspec.Struct, frozen=True):
    """The planner's input after the rollback of dynamic actions."""

    views: JobTable
    graph: JobGraph
    taken: tuple[RolledBackActions, ...] = ()
    # jobs outside the plan that become free -> the job whose set had stopped them
    freed: Mapping[int, int] = msgspec.field(default_factory=dict)

    @property
    def retired(self) -> set[int]:
        """The jobs that are retired."""
        return {job for one in self.taken for job in one.retires}

    def warnings(self, jobs: Container[int]) -> Iterable[str]:
        """Describe the action sets of these jobs that stay in force although their job runs again, and those rolled
        back."""
        gone = {one.attempt for one in self.taken}
        acting = sorted(job for job in self.views.having(lambda view: view.action_set is not None) if job in jobs)
        sets = [one for job in acting if (one := self.views[job].action_set) is not None]
        stays = [one for one in sets if one.attempt not in gone]
        for one in stays[:_NAMED]:
            done = _describe_set(one, self.views)
            yield (
                f"`{self.views.name(one.job)}` (attempt {one.attempt}) had {done}: that stays until its next success "
                "replaces it; --undo-dynamic takes it back now"
            )
        if len(stays) > _NAMED:
            more = len(stays) - _NAMED
            yield f"{more} more jobs of this plan had dynamic actions, which stay until their next success"
        for one in [one for one in sets if one.attempt in gone][:_NAMED]:
            done = _describe_set(one, self.views)
            yield f"what `{self.views.name(one.job)}` (attempt {one.attempt}) had done goes: {done}"

    def explained(self, job: PlannedJob) -> PlannedJob:
        """Return a planned job; one that only becomes free with that reason, and with its next attempt unchanged."""
        if job.id not in self.freed:
            return job
        by = self.freed[job.id]
        reason = Reason(ReasonKind.DYNAMIC, {"job": by, "name": self.views.name(by)})
        return keep_next_attempt(replace(job, reasons=(*job.reasons, reason)), self.views[job.id])


def roll_back_actions(views: JobTable, graph: JobGraph, roots: Mapping[int, How]) -> DynamicRollback:
    """Roll back the action sets of the jobs requested with `undo_dynamic`, of all their
    descendants, and of every job that is retired with them."""
    undone = {job for job, how in roots.items() if how.undo_dynamic}
    below = descendants(reset_children(views, graph), undone)
    scope = undone | {job for job in below if not views.kind(job).runs_once}
    sets = {job: one for job in scope if (one := views.kind(job).action_set) is not None}
    if not sets:
        return DynamicRollback(views, graph)
    retired, _ = retire_sets(sets.values(), sets)
    removed = set(retired)
    taken = tuple(
        RolledBackActions(one.attempt, job, views.name(job), tuple(sorted(one.added)), len(one.patches))
        for job, one in sorted(sets.items())
    )
    released = {
        patch.job
        for one in sets.values()
        for patch in one.patches
        if _holds_for_reason(views, patch.job, patch.content)
    }
    now = views.with_views({job: replace(views[job], held=None) for job in released})
    return DynamicRollback(
        now, _remove_edges(graph, sets.values(), removed), taken, _freed(views, sets, scope | set(roots))
    )


def _holds_for_reason(views: Mapping[int, JobView], job: int, reason: object) -> bool:
    return job in views and views[job].held is not None and views[job].held == reason


def _freed(views: Mapping[int, JobView], sets: Mapping[int, ActionSet], below: Collection[int]) -> dict[int, int]:
    """Return the jobs that do not run again and that a set had held, or canceled before their first attempt."""
    found: dict[int, int] = {}
    for job, one in sorted(sets.items()):
        for patch in one.patches:
            view = views.get(patch.job)
            if view is None or patch.job in below or view.attempt is not None or view.retired:
                continue
            if (patch.kind == CANCEL and view.canceled) or (patch.kind == HOLD and view.held == patch.content):
                found[patch.job] = job
    return found


def _remove_edges(graph: JobGraph, sets: Iterable[ActionSet], retired: Collection[int]) -> JobGraph:
    """Return the graph without the edges that the sets added and without the edges of retired jobs."""
    gone = {edge for one in sets for edge in one.edges}

    def stays(parent: int, child: int) -> bool:
        return (parent, child) not in gone and parent not in retired and child not in retired

    return JobGraph(
        {parent: [child for child in found if stays(parent, child)] for parent, found in graph.children.items()}
    )


def _describe_set(one: ActionSet, views: Mapping[int, JobView]) -> str:
    """Describe what a set did: `added `x`, `y`; changed the parameters of 3 jobs`."""
    parts = []
    if one.added:
        named = ", ".join(f"`{name}`" for name in one.names[:20])
        parts.append(f"added {named}" + (f" and {len(one.added) - 20} more" if len(one.added) > 20 else ""))
    for kind, verb in ((SET, "changed the parameters of"), (HOLD, "held"), (CANCEL, "canceled")):
        jobs = sorted({patch.job for patch in one.patches if patch.kind == kind})
        if jobs:
            names = ", ".join(f"`{views[job].name}`" if job in views else f"job {job}" for job in jobs[:_NAMED])
            parts.append(f"{verb} {names}" + (f" and {len(jobs) - _NAMED} more" if len(jobs) > _NAMED else ""))
    return "; ".join(parts)
