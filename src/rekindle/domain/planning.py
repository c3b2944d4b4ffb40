"""What a rerun does to each job: one pure decision, the same for a preview, an application and a saved plan.

The plan names every job that the rerun reaches: those selected, and all below them. A descendant that waited anyway,
because what it needs had failed, is named too: nothing of it is archived, but it is what will run in its turn.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rekindle.domain.errors import NotFound
from rekindle.domain.graph import nearest_start
from rekindle.domain.lifecycle import derive_state
from rekindle.domain.manner import Course, Exists, find_course, overwritten, reset_below, with_saves
from rekindle.domain.plan_form import plan_from_json, plan_to_json, seal
from rekindle.domain.rerun import (
    Expected,
    Graph,
    How,
    JobView,
    Manner,
    PlannedJob,
    Pointers,
    Reason,
    ReasonKind,
    RefusedJob,
    RerunPlan,
)
from rekindle.domain.resume import BEGINNING
from rekindle.domain.states import ACTIVE, State
from rekindle.domain.undynamic import take_back

__all__ = ["plan_from_json", "plan_rerun", "plan_to_json", "pointers_after", "pointers_before"]

_NAMED = 5  # how many names a sentence holds before it says "and 7 more"


Requests = Sequence[tuple[Sequence[int], How]]
"""Jobs, and how they shall run again."""

Why = Mapping[int, tuple[Reason, ...]]

_NO_REASONS: Why = {}


def everything(_: str) -> bool:
    """For whoever plans without looking at files: each that is asked for is there."""
    return True


def plan_rerun(
    views: Mapping[int, JobView],
    graph: Graph,
    requests: Requests,
    exists: Exists = everything,
    why: Why = _NO_REASONS,
) -> RerunPlan:
    """The plan for running the jobs of `requests` again, each in its manner, and everything below them.

    `views` and `graph` hold the jobs asked for, all their descendants, and the parents of both. A job that cannot
    be rerun is refused by name and the others are planned; when none can, `jobs` is empty. NotFound when `views`
    lacks a job that is asked for. `exists` tells whether there is a file or folder at an absolute path; `why` are
    the reasons for which jobs that are asked for are stale. The same arguments give the same plan, digest included."""
    courses, refused = _sort_out(views, graph, requests, exists)
    spreading = _spreading(requests)
    refused |= _disturbing(views, graph, {job: course for job, course in courses.items() if job in spreading})
    roots = {job: course for job, course in courses.items() if job not in refused}
    above = nearest_start(graph.children, [job for job in roots if job in spreading])
    saving = any(how.keep_outputs for _, how in requests)
    away = take_back(views, graph, requests, roots)
    reached = set(roots) | above.keys() | away.freed.keys()
    scope = _Scope(away.views, away.graph, roots, above, reached, exists, saving, why)
    jobs = away.explained(scope.planned())
    running = away.running(jobs)
    return seal(
        RerunPlan(
            jobs=jobs,
            refused=tuple(
                RefusedJob(job, views[job].name, refused[job]) for job in sorted(refused) if job not in above
            ),
            warnings=(*scope.warnings(refused), *away.warnings(jobs)),
            expected=_expected(views, running),
            overwrites=scope.overwrites(running),
            reads=scope.reads(),
            dynamic=away.taken,
        )
    )


def _spreading(requests: Requests) -> set[int]:
    """Jobs asked for whose rerun reaches those below them. An attempt that is made over again by itself never
    completed: nothing can have been made of it, so that what completed below has done so for a reason of its own."""
    return {job for jobs, how in requests if not (how.again or how.automatic) for job in jobs}


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
    )


def pointers_after(job: PlannedJob, before: Pointers) -> Pointers:
    """A planned job's pointers once the plan is applied; a hold stays."""
    manner = job.manner
    return Pointers(
        held=before.held,
        resume_attempt=job.resume_attempt,
        resume_step=job.resume_step,
        overrides=manner.overrides,
        keep_recovery=manner.keep_recovery,
        take=manner.take,
        folder=manner.folder,
        subtasks=job.subtasks,
    )


def _sort_out(
    views: Mapping[int, JobView], graph: Graph, requests: Requests, exists: Exists
) -> tuple[dict[int, Course], dict[int, str]]:
    """The jobs asked for, in order: those that could run again, with their course, and those refused for what
    they are."""
    asked: dict[int, list[How]] = {}
    for jobs, how in requests:
        for job in jobs:
            hows = asked.setdefault(job, [])
            if how not in hows:
                hows.append(how)
    courses: dict[int, Course] = {}
    refused: dict[int, str] = {}
    for job in sorted(asked):
        view = views.get(job)
        if view is None:
            raise NotFound(f"no such job: {job}", hint="`rekindle jobs list` names them")
        course = _own_refusal(views, graph, view) or _one_course(view, asked[job], exists)
        if isinstance(course, str):
            refused[job] = course
        else:
            courses[job] = course
    return courses, refused


def _own_refusal(views: Mapping[int, JobView], graph: Graph, view: JobView) -> str:
    if view.archived_workflow:
        return "its workflow is archived"
    if view.retired:
        if view.added:
            return "it is retired: the job that added it does not add it any more"
        return "it is retired: the latest revision of its workflow does not have it any more"
    if view.state in ACTIVE:
        return f"it is {view.state.label}; cancel it first: rekindle cancel {shlex.quote(view.name)}"
    if view.held is not None:
        reason = "" if view.held == "held" else f" ({view.held})"
        return f"it is held{reason}; release it first: rekindle release {shlex.quote(view.name)}"
    if view.state is State.READY:
        return f"it {_still_to_run(view)}: it is ready"
    if view.state is State.WAITING:
        undone = [parent for parent in sorted(graph.parents.get(view.id, ())) if not _is_done(views[parent])]
        needs = _names(views[parent].name for parent in undone)
        return f"it {_still_to_run(view)}: it is waiting" + (f" for {needs}" if needs else "")
    return ""


def _still_to_run(view: JobView) -> str:
    return "has not run yet" if view.resume_attempt is None else "has not run yet since it was reset"


def _one_course(view: JobView, hows: Sequence[How], exists: Exists) -> Course | str:
    if len(hows) > 1:
        starts = sorted({f"from {how.start}" for how in hows})
        ways = f", {' and '.join(starts)}" if len(starts) > 1 else ""
        return f"it is asked for in different ways{ways}: name one"
    return find_course(view, hows[0], exists)


def _disturbing(views: Mapping[int, JobView], graph: Graph, starts: Collection[int]) -> dict[int, str]:
    """Jobs whose rerun would reset a job that runs now, and in words which: nothing is reset under its process."""
    below = nearest_start(graph.children, starts)
    active = [job for job in below if views[job].state in ACTIVE]
    if not active:
        return {}
    met = nearest_start(graph.parents, active, within=set(starts) | below.keys())
    return {job: _disturbed(views[met[job]], views[job]) for job in starts if job in met}


def _disturbed(active: JobView, view: JobView) -> str:
    return (
        f"`{active.name}` is {active.state.label}, and it needs `{view.name}`; "
        f"cancel it first: rekindle cancel {shlex.quote(active.name)}"
    )


@dataclass(frozen=True, slots=True)
class _Scope:
    """Everything that a rerun reaches: its roots, the course of each, and the jobs below them."""

    views: Mapping[int, JobView]
    graph: Graph
    roots: Mapping[int, Course]
    above: Mapping[int, int]  # job -> its nearest root, for every job below a root
    reached: set[int]
    exists: Exists
    saving: bool  # outputs that are written over are saved first
    why: Why

    def planned(self) -> tuple[PlannedJob, ...]:
        """What happens to each, by id."""
        return tuple(self._decide(self.views[job]) for job in sorted(self.reached))

    def _decide(self, view: JobView) -> PlannedJob:
        course = self.roots.get(view.id)
        start = course.start if course else BEGINNING
        parents = self.graph.parents.get(view.id, ())
        unmet = sum(1 for parent in parents if parent in self.reached or not _is_done(self.views[parent]))
        after = derive_state(None, False, unmet)
        return PlannedJob(
            id=view.id,
            name=view.name,
            version=view.version,
            before=view.state,
            after=after,
            start=start.label,
            reasons=self._reasons(view),
            archives=(view.attempt.id,) if view.attempt else (),
            keeps=start.keeps,
            resume_attempt=course.attempt if course else None,
            resume_step=start.position,
            unmet=unmet,
            manner=self._manner(view, course),
            subtasks=start.subtasks,
        )

    def _manner(self, view: JobView, course: Course | None) -> Manner:
        manner = course.manner if course else reset_below(view)
        return with_saves(manner, view, self.exists) if self.saving and view.attempt else manner

    def overwrites(self, jobs: Iterable[PlannedJob]) -> tuple[str, ...]:
        """The outputs of earlier attempts that are there and will be written again, saved before or not."""
        named = (overwritten(job.manner, self.views[job.id], self.exists) for job in jobs if job.archives)
        return tuple(dict.fromkeys(path for paths in named for path, _ in paths))

    def _reasons(self, view: JobView) -> tuple[Reason, ...]:
        reasons = []
        if view.id in self.roots:
            cause = view.attempt.cause if view.attempt else None
            reasons.append(Reason(ReasonKind.SELECTED, {"state": view.state.label, "cause": cause}))
            if (more := self.roots[view.id].start.reason) is not None:
                reasons.append(more)
            reasons += self.why.get(view.id, ())
        if view.id in self.above:
            root = self.above[view.id]
            reasons.append(Reason(ReasonKind.UPSTREAM, {"job": root, "name": self.views[root].name}))
        course = self.roots.get(view.id)
        if course is not None and course.kept_by is not None:
            reasons.append(Reason(ReasonKind.RECOVERY, {"rerun": course.kept_by}))
        return tuple(reasons)

    def reads(self) -> tuple[tuple[int, int], ...]:
        """Parents from outside, done or not: the plan rests on them and leaves them as they are."""
        outside = {parent for job in self.reached for parent in self.graph.parents.get(job, ())}
        return tuple((job, self.views[job].version) for job in sorted(outside - self.reached))

    def warnings(self, refused: Mapping[int, str]) -> Iterable[str]:
        """What a user should know before saying yes. `refused` are selected jobs; those among them that run again
        all the same, because something above them does, are told here."""
        below = [self.views[job] for job in sorted(self.above)]
        if held := [view.name for view in below if view.held is not None]:
            yield f"{_names(held)} stay{'' if len(held) > 1 else 's'} held: release with rekindle release"
        if revived := [view.name for view in below if view.state is State.CANCELED and view.id not in self.roots]:
            were = "were" if len(revived) > 1 else "was"
            yield f"{_names(revived)} {were} canceled and will run again"
        if lost := [view.name for view in below if view.keep_recovery is not None and view.id not in self.roots]:
            loses = "loses" if len(lost) == 1 else "lose"
            yield f"{_names(lost)} {loses} the resume point that was kept: what it rests on runs again"
        for job, course in self.roots.items():
            start = course.start
            if course.warning:
                yield course.warning
            if start.position and job in self.above:
                yield (
                    f"`{self.views[job].name}` starts at `{start.label}` and keeps {_names(start.keeps)}, "
                    f"though `{self.views[self.above[job]].name}`, which it needs, runs again"
                )
        for view in below:
            if view.id in refused and view.attempt is not None and view.held is None:
                root = self.views[self.above[view.id]].name
                yield f"`{view.name}` runs from the beginning, because `{root}` runs again: {refused[view.id]}"


def _is_done(view: JobView) -> bool:
    return view.state is State.COMPLETED


def _expected(views: Mapping[int, JobView], jobs: Sequence[PlannedJob]) -> Expected:
    """From the attempts that are archived: an upper bound where steps are kept."""
    attempts = [views[job.id].attempt for job in jobs]
    known = [attempt.seconds for attempt in attempts if attempt is not None and attempt.seconds is not None]
    return Expected(attempts=len(jobs), seconds=math.fsum(known), unknown=len(jobs) - len(known))


def _names(names: Iterable[str]) -> str:
    every = list(names)
    shown = ", ".join(f"`{name}`" for name in every[:_NAMED])
    return shown if len(every) <= _NAMED else f"{shown} and {len(every) - _NAMED} more"
