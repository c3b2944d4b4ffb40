"""Temporary outputs that a plan needs and that are gone: the jobs that wrote them run again too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.errors import RefusedJob
from rekindle.domain.graph import descendants
from rekindle.domain.rerun.plan import Reason, ReasonKind
from rekindle.domain.rerun.planner import plan_rerun
from rekindle.domain.rerun.request import How, Requests
from rekindle.engine.fan_outs import planning_views

if TYPE_CHECKING:
    from collections.abc import Collection

    from rekindle.domain.rerun.plan import RerunPlan
    from rekindle.domain.rerun.resolve import Exists
    from rekindle.domain.rerun.views import JobGraph, JobTable, JobView
    from rekindle.store.archive import Snapshot, Transaction
    from rekindle.store.temporary_outputs import RemovedInput


class Producers(msgspec.Struct, frozen=True):
    """The jobs that run again because a job of a plan needs temporary outputs of theirs that are gone: how, why, and
    which jobs need each."""

    hows: Mapping[int, How] = msgspec.field(default_factory=dict)
    why: Mapping[int, tuple[Reason, ...]] = msgspec.field(default_factory=dict)
    consumers: Mapping[int, frozenset[int]] = msgspec.field(default_factory=dict)

    def added_to(self, requests: Requests) -> Requests:
        """Return the requests with those of these jobs."""
        return Requests({**self.hows, **requests.hows}, requests.conflicts) if self.hows else requests

    def needed_by(self, running: Collection[int], requests: Requests) -> Producers:
        """Return those that a job needs that runs again, one of these jobs or a requested one among them."""
        kept = {job for job, needed_by in self.consumers.items() if job in requests.hows or needed_by & set(running)}
        return Producers(
            {job: how for job, how in self.hows.items() if job in kept},
            {job: why for job, why in self.why.items() if job in kept},
            {job: needed_by for job, needed_by in self.consumers.items() if job in kept},
        )

    def blocked(self, plan: RerunPlan, requests: Requests) -> list[RefusedJob]:
        """Return the requested jobs that a plan must not run, because a producer that they need is refused."""
        found: dict[int, RefusedJob] = {}
        planned = {job.id: job for job in plan.jobs if not job.stays}
        for one in plan.refused:
            for job in self.consumers.get(one.id, ()) if one.id not in requests.hows else ():
                if job in planned and job in requests.hows:
                    why = f"a temporary output of {one.name} is gone, and that cannot run again: {one.why}"
                    found[job] = RefusedJob(job, planned[job].name, why)
        return list(found.values())


PlanningViews = tuple["JobTable", "JobGraph", "Mapping[int, JobView]"]
"""(views, graph, views by earlier definitions), as `planning_views` returns them."""


def views_with_producers(archive: Snapshot, requests: Requests) -> tuple[PlanningViews, Producers]:
    """Return what the planner reads for these requests and for those of the producers, and the producers.

    Nothing upstream of a selection runs again but for them. A producer runs as it ran last, and what is below it only
    where its results differ: with `--downstream none` nothing else is reset."""
    read = planning_views(archive, requests)
    spread = any(how.downstream != "none" for how in requests.hows.values())
    how = How(
        downstream="changed" if spread else "none",
        keep_modified=True,
        cancel_running=any(one.cancel_running for one in requests.hows.values()),
    )
    removed: dict[int, list[RemovedInput]] = {}
    while True:
        views, graph, _ = read
        running = _run_again(views, graph, requests)
        known = {*running, *removed}  # a job that must not run twice is requested, and refused
        found = [one for one in archive.temporary_outputs.removed_for(running) if one.producer not in known]
        if not found:
            break
        for one in found:
            removed.setdefault(one.producer, []).append(one)
        requests = Requests({**dict.fromkeys(removed, how), **requests.hows}, requests.conflicts)
        read = planning_views(archive, requests)
    why = _reasons(archive, removed, read[0])
    consumers = {producer: frozenset(one.job for one in several) for producer, several in removed.items()}
    return read, Producers(dict.fromkeys(removed, how), why, consumers)


def regenerate_for_waiting(archive: Transaction, workflow: int, now: float, exists: Exists) -> tuple[str, ...]:
    """After a revision: let the jobs run again whose temporary outputs are gone and are needed by jobs that have not
    started, and what they need in turn. Return the names of these jobs. `exists`: see `KnownPaths`."""
    if not archive.statistics.has_removed_outputs():
        return ()
    removed: dict[int, list[RemovedInput]] = {}
    for one in archive.temporary_outputs.needed_by_waiting(workflow):
        removed.setdefault(one.producer, []).append(one)
    if not removed:
        return ()
    requests = Requests(dict.fromkeys(removed, How(downstream="changed", keep_modified=True)))
    (views, graph, earlier), more = views_with_producers(archive, requests)
    why = {**more.why, **_reasons(archive, removed, views)}
    plan = plan_rerun(views, graph, more.added_to(requests), exists, why, earlier)
    if plan.jobs:
        archive.reruns.apply(plan, "temporary", {"jobs": sorted(why)}, None, now)
    return tuple(job.name for job in plan.jobs if job.id in why)


def _run_again(views: Mapping[int, JobView], graph: JobGraph, requests: Requests) -> Collection[int]:
    """Return the jobs that may run again if these are requested."""
    spreading = [job for job, how in requests.hows.items() if how.downstream != "none"]
    below = descendants(graph.children, spreading)
    return {job for job in {*requests.hows, *below} if job in views and not views[job].runs_once}


def _reasons(
    archive: Snapshot, removed: Mapping[int, list[RemovedInput]], views: Mapping[int, JobView]
) -> dict[int, tuple[Reason, ...]]:
    """Return why each producer runs again, and whether its outputs are kept, so that they may be put back instead."""
    live = {producer: attempt.id for producer in removed if (attempt := views[producer].attempt) is not None}
    kept = archive.cached_outputs.kept(live.values()) if live else set()
    return {
        producer: (_reason(several, views, cached=live.get(producer) in kept),) for producer, several in removed.items()
    }


def _reason(several: list[RemovedInput], views: Mapping[int, JobView], *, cached: bool) -> Reason:
    first = min(several)
    names = sorted({one.name for one in several})
    needed_by = views[first.job].name if first.job in views else str(first.job)
    return Reason(
        ReasonKind.TEMPORARY,
        {
            "outputs": names,
            "path": first.path,
            "since": first.since,
            "job": first.job,
            "name": needed_by,
            "cached": cached,
        },
    )
