"""Taking dynamic actions out of force with a rerun: the graph as it will be, what is retired, what is set free.

By default the sets of the jobs that run again stay, until a later success replaces them; the plan says which they are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from rekindle.domain.acting import CANCEL, HOLD, SET, ActingSet, retired_with
from rekindle.domain.graph import descendants
from rekindle.domain.rerunning.manner import as_it_stands
from rekindle.domain.rerunning.rerun import Graph, How, JobView, PlannedJob, Reason, ReasonKind, TakenOut

_NAMED = 5


@dataclass(frozen=True, slots=True)
class Away:
    """The world of a plan, with the sets that it takes out of force taken out."""

    views: Mapping[int, JobView]
    graph: Graph
    taken: tuple[TakenOut, ...] = ()
    freed: Mapping[int, int] = field(default_factory=dict)  # jobs outside that are set free -> whose set stopped them

    @property
    def retired(self) -> set[int]:
        """The jobs that go."""
        return {job for one in self.taken for job in one.retires}

    def explained(self, jobs: Iterable[PlannedJob]) -> tuple[PlannedJob, ...]:
        """The planned jobs, with the reason of those that are only set free: they keep what was planned for them."""
        return tuple(self._freed(job) if job.id in self.freed else job for job in jobs)

    def running(self, jobs: Iterable[PlannedJob]) -> tuple[PlannedJob, ...]:
        """Those that will run again."""
        retired = self.retired
        return tuple(job for job in jobs if job.id not in retired)

    def warnings(self, jobs: Iterable[PlannedJob]) -> Iterable[str]:
        """What stays in force although its job runs again, and what goes."""
        gone = {one.attempt for one in self.taken}
        sets = [view.acting for job in jobs if (view := self.views[job.id]).acting is not None]
        stays = [one for one in sets if one.attempt not in gone]
        for one in stays[:_NAMED]:
            yield (
                f"`{self.views[one.job].name}` (attempt {one.attempt}) had {_deeds(one, self.views)}: that stays until "
                f"its next success replaces it; --undo-dynamic takes it back now"
            )
        if len(stays) > _NAMED:
            yield f"{len(stays) - _NAMED} more jobs of this plan had acted: that stays until their next success"
        for one in [one for one in sets if one.attempt in gone][:_NAMED]:
            yield f"what `{self.views[one.job].name}` (attempt {one.attempt}) had done goes: {_deeds(one, self.views)}"

    def _freed(self, job: PlannedJob) -> PlannedJob:
        view, by = self.views[job.id], self.freed[job.id]
        reason = Reason(ReasonKind.DYNAMIC, {"job": by, "name": self.views[by].name})
        return as_it_stands(replace(job, reasons=(*job.reasons, reason)), view)


def take_back(
    views: Mapping[int, JobView], graph: Graph, requests: Sequence[tuple[Sequence[int], How]], roots: Collection[int]
) -> Away:
    """What `undo_dynamic` of some requests takes out of force: the sets of their jobs that are `roots`, of all below
    these, and of whatever is retired thereby."""
    undone = {job for jobs, how in requests if how.undo_dynamic for job in jobs if job in roots}
    scope = undone | descendants(graph.children, undone)
    sets = {job: view.acting for job in scope if (view := views[job]).acting is not None}
    if not sets:
        return Away(views, graph)
    retired, _ = retired_with(sets.values(), sets)
    away = set(retired)
    taken = tuple(
        TakenOut(one.attempt, job, views[job].name, tuple(sorted(one.added)), len(one.patches))
        for job, one in sorted(sets.items())
    )
    released = {patch.job for one in sets.values() for patch in one.patches if _holds(views, patch.job, patch.content)}
    now = {**views, **{job: replace(views[job], held=None) for job in released}}
    return Away(now, _without(graph, sets.values(), away), taken, _freed(views, sets, scope | set(roots)))


def _holds(views: Mapping[int, JobView], job: int, reason: object) -> bool:
    return job in views and views[job].held is not None and views[job].held == reason


def _freed(views: Mapping[int, JobView], sets: Mapping[int, ActingSet], below: Collection[int]) -> dict[int, int]:
    """Jobs that do not run again and that a set had held or canceled before they had an attempt."""
    found: dict[int, int] = {}
    for job, one in sorted(sets.items()):
        for patch in one.patches:
            view = views.get(patch.job)
            if view is None or patch.job in below or view.attempt is not None or view.retired:
                continue
            if (patch.kind == CANCEL and view.canceled) or (patch.kind == HOLD and view.held == patch.content):
                found[patch.job] = job
    return found


def _without(graph: Graph, sets: Iterable[ActingSet], retired: Collection[int]) -> Graph:
    """The graph without the edges that the sets brought, and without those of retired jobs."""
    gone = {edge for one in sets for edge in one.edges}

    def stays(parent: int, child: int) -> bool:
        return (parent, child) not in gone and parent not in retired and child not in retired

    return Graph(
        {parent: [child for child in found if stays(parent, child)] for parent, found in graph.children.items()},
        {child: [parent for parent in found if stays(parent, child)] for child, found in graph.parents.items()},
    )


def _deeds(one: ActingSet, views: Mapping[int, JobView]) -> str:
    """`added `x`, `y`; changed the parameters of 3 jobs`."""
    parts = []
    if one.added:
        named = ", ".join(f"`{name}`" for name in one.names[:20])
        parts.append(f"added {named}" + (f" and {len(one.added) - 20} more" if len(one.added) > 20 else ""))
    for kind, deed in ((SET, "changed the parameters of"), (HOLD, "held"), (CANCEL, "canceled")):
        jobs = sorted({patch.job for patch in one.patches if patch.kind == kind})
        if jobs:
            names = ", ".join(f"`{views[job].name}`" if job in views else f"job {job}" for job in jobs[:_NAMED])
            parts.append(f"{deed} {names}" + (f" and {len(jobs) - _NAMED} more" if len(jobs) > _NAMED else ""))
    return "; ".join(parts)
