"""What a rerun does to each job: one pure decision, the same for a preview, an application and a saved plan.

The plan names every job that the rerun reaches: those selected, and all below them. A descendant that waited anyway,
because what it needs had failed, is named too: nothing of it is archived, but it is what will run in its turn.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from rekindle.domain.errors import NotFound
from rekindle.domain.rerunning.costs import NOTHING_KNOWN, Past, expected_cost
from rekindle.domain.rerunning.manner import Course, Exists, find_course
from rekindle.domain.rerunning.naming import named
from rekindle.domain.rerunning.pinning import as_defined, pin
from rekindle.domain.rerunning.plan_form import plan_from_json, plan_to_json, seal
from rekindle.domain.rerunning.reach import (
    Requests,
    canceling,
    disturbing,
    find_reach,
    left_to_the_check,
    running_beside,
    spreading,
)
from rekindle.domain.rerunning.rerun import RESET_HOLD, Graph, How, JobView, PlannedJob, Pointers, RefusedJob, RerunPlan
from rekindle.domain.rerunning.scope import Root, Scope, Why, is_done
from rekindle.domain.rerunning.undynamic import take_back
from rekindle.domain.states import ACTIVE, State

__all__ = ["plan_from_json", "plan_rerun", "plan_to_json", "pointers_after", "pointers_before"]


NO_REASONS: Why = {}
NOT_PINNED: Mapping[int, JobView] = {}


def everything(_: str) -> bool:
    """For whoever plans without looking at files: each that is asked for is there."""
    return True


def plan_rerun(
    views: Mapping[int, JobView],
    graph: Graph,
    requests: Requests,
    exists: Exists = everything,
    why: Why = NO_REASONS,
    earlier: Mapping[int, JobView] = NOT_PINNED,
    past: Past = NOTHING_KNOWN,
) -> RerunPlan:
    """The plan for running the jobs of `requests` again, each in its manner, and what is below them.

    `views` and `graph` hold the jobs asked for, all their descendants, and the parents of both. A job that cannot
    be rerun is refused by name and the others are planned; when none can, `jobs` is empty. NotFound when `views`
    lacks a job that is asked for. `exists` tells whether there is a file or folder at an absolute path. `why` are
    the reasons for which jobs that are asked for are stale: under `changed` those of them that are below others may
    be spared too, should they be as they were once these have run. `earlier` has the views of jobs that may be
    pinned, with the definition to which (see domain.pinning); `past` tells what earlier attempts took. The same
    arguments give the same plan, digest included."""
    asked, refused = _sort_out(views, graph, requests, earlier, exists)
    ways = {job: way for job, way in spreading(requests).items() if job in asked}
    canceled = canceling(requests)
    refused |= disturbing(views, graph, {job: way for job, way in ways.items() if job not in canceled})
    roots = {job: root for job, root in asked.items() if job not in refused}
    for job in left_to_the_check(views, graph, {job: root.how for job, root in roots.items()}, why):
        del roots[job]
    ways = {job: way for job, way in ways.items() if job in roots}
    reach = find_reach(graph, ways, running_beside(views, graph, ways))
    saving = any(how.keep_outputs for _, how in requests)
    away = take_back(views, graph, requests, roots)
    scope = Scope(away, earlier, roots, reach, exists, saving, why)
    jobs = away.explained(scope.planned())
    running = away.running(jobs)
    return seal(
        RerunPlan(
            jobs=jobs,
            refused=tuple(
                RefusedJob(job, views[job].name, refused[job]) for job in sorted(refused) if job not in reach.above
            ),
            warnings=(*scope.warnings(refused), *away.warnings(jobs)),
            expected=expected_cost(running, away.views, away.graph, past),
            overwrites=scope.overwrites(running),
            reads=scope.reads(),
            dynamic=away.taken,
        )
    )


def pointers_before(view: JobView) -> Pointers:
    """What undo puts back: the job's pointers as they stand before a plan is applied."""
    return Pointers(
        attempt=view.attempt.id if view.attempt else None,
        reserve=view.reserve,
        held=view.held,
        canceled=view.canceled,
        not_before=view.not_before,
        resume_attempt=view.resume_attempt,
        resume_step=view.resume_step,
        overrides=view.overrides,
        keep_recovery=view.keep_recovery,
        take=view.take,
        folder=view.folder,
        subtasks=view.subtasks,
        pinned_to=view.pinned_to,
        avoids=view.avoids,
        repeats=view.repeats,
    )


def pointers_after(job: PlannedJob, before: Pointers) -> Pointers:
    """A planned job's pointers once the plan is applied; a hold stays, unless the plan says otherwise."""
    held = None if job.releases else job.holds or before.held
    if job.stays:
        return replace(before, held=held)
    manner = job.manner
    return Pointers(
        reserve=job.reserve,
        held=held,
        not_before=manner.not_before,
        resume_attempt=job.resume_attempt,
        resume_step=job.resume_step,
        overrides=manner.overrides,
        keep_recovery=manner.keep_recovery,
        take=manner.take,
        folder=manner.folder,
        subtasks=job.subtasks,
        pinned_to=job.pinned_to,
        avoids=manner.avoids,
        repeats=manner.repeats,
    )


def _sort_out(
    views: Mapping[int, JobView],
    graph: Graph,
    requests: Requests,
    earlier: Mapping[int, JobView],
    exists: Exists,
) -> tuple[dict[int, Root], dict[int, str]]:
    """The jobs asked for, in order: those that could run again, with their course, and those refused for what
    they are."""
    asked: dict[int, list[How]] = {}
    for jobs, how in requests:
        for job in jobs:
            hows = asked.setdefault(job, [])
            if how not in hows:
                hows.append(how)
    roots: dict[int, Root] = {}
    refused: dict[int, str] = {}
    for job in sorted(asked):
        view, hows = views.get(job), asked[job]
        if view is None:
            raise NotFound(f"no such job: {job}", hint="`rekindle jobs list` names them")
        course = _own_refusal(views, graph, view, hows) or _one_course(view, hows, earlier, exists)
        if isinstance(course, str):
            refused[job] = course
        else:
            roots[job] = Root(hows[0], course)
    return roots, refused


def _own_refusal(views: Mapping[int, JobView], graph: Graph, view: JobView, hows: Collection[How]) -> str:
    if view.archived_workflow:
        return "its workflow is archived"
    if view.retired:
        if view.added:
            return "it is retired: the job that added it does not add it any more"
        return "it is retired: the latest revision of its workflow does not have it any more"
    if any(how.release for how in hows):
        return "" if view.held == RESET_HOLD else _not_reset(view)
    if view.state in ACTIVE and not all(how.cancel_running for how in hows):
        cancel = f"rekindle cancel {shlex.quote(view.name)}"
        return f"it is {view.state.label}; cancel it first: --cancel-running, or {cancel}"
    by_itself = all(how.again or how.automatic for how in hows)
    if view.held is not None and not by_itself:  # what runs again by itself is held still
        reason = "" if view.held == "held" else f" ({view.held})"
        return f"it is held{reason}; release it first: rekindle release {shlex.quote(view.name)}"
    if any(how.hold for how in hows):
        return ""
    if view.state is State.READY and not view.recovered and not _drops_resume_point(view, hows):
        return f"it {_still_to_run(view)}: it is ready"
    if view.state is State.WAITING:
        undone = [parent for parent in sorted(graph.parents.get(view.id, ())) if not is_done(views[parent])]
        needs = named(views[parent].name for parent in undone)
        return f"it {_still_to_run(view)}: it is waiting" + (f" for {needs}" if needs else "")
    return ""


def _drops_resume_point(view: JobView, hows: Collection[How]) -> bool:
    """It is to start where an attempt stopped, and that is what is taken back."""
    return view.resume_attempt is not None and all(how.recovery == "clear" for how in hows)


def _not_reset(view: JobView) -> str:
    if view.held is None:
        return "it is not held: there is nothing to let go"
    return f"it is held for another reason ({view.held}); release it with rekindle release {shlex.quote(view.name)}"


def _still_to_run(view: JobView) -> str:
    never = view.resume_attempt is None and view.reserve is None
    return "has not run yet" if never else "has not run yet since it was reset"


def _one_course(view: JobView, hows: Sequence[How], earlier: Mapping[int, JobView], exists: Exists) -> Course | str:
    if len(hows) > 1:
        starts = sorted({f"from {how.start}" for how in hows})
        ways = f", {' and '.join(starts)}" if len(starts) > 1 else ""
        return f"it is asked for in different ways{ways}: name one"
    how = hows[0]
    view = as_defined(view, pin(view, how), earlier)
    if how.attempt is not None:
        if view.source is None:
            return f"it has no attempt {how.attempt} to go on from"
        view = replace(view, attempt=view.source, keep_recovery=None, fan_outs=())
    return find_course(view, how, exists)
