"""What a rerun would do: what planning reads, in one transaction, and what it makes of that."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rekindle.domain.batches.canaries import Choice, Struck, check_canary, choose
from rekindle.domain.errors import PlanRefused
from rekindle.domain.rerunning.asking import check_how
from rekindle.domain.rerunning.costs import Past
from rekindle.domain.rerunning.planning import plan_rerun
from rekindle.domain.rerunning.rerun import Graph, How, JobView, Reason, RerunPlan
from rekindle.engine.fan_outs import planning_views, resuming
from rekindle.engine.machine import processors
from rekindle.engine.results import Proposal
from rekindle.store.port import Archive

Requests = Sequence[tuple[Sequence[int], How]]


@dataclass(frozen=True, slots=True)
class Prospect:
    """What a plan rests on, as one transaction found it."""

    views: Mapping[int, JobView]
    graph: Graph
    earlier: Mapping[int, JobView]
    past: Past
    struck: tuple[Struck, ...] = ()  # the jobs asked for that have failed, where canaries are wanted …
    canary: int | None = None  # … so many of each signature


def survey(archive: Archive, requests: Requests, slots: int | None = None, canary: int | None = None) -> Prospect:
    """Everything that planning these requests reads from the store. With `canary`, of the jobs that have failed and
    share a signature so many run first: the others are left as they are, and run again in the same manner once these
    have all passed."""
    for _, how in requests:
        check_how(how)
        if canary is not None:
            check_canary(canary, how)
    views, graph, earlier = planning_views(archive, requests)
    selected = {job for jobs, _ in requests for job in jobs}
    kept = {job for job in selected if job in views and views[job].keep_recovery is not None}
    cores = float(slots or processors())
    past = archive.attempts.past(views, resuming(requests) | kept, cores)
    struck = archive.canaries.struck(selected) if canary is not None else ()
    return Prospect(views, graph, earlier, past, tuple(struck), canary)


def decide(
    prospect: Prospect,
    requests: Requests,
    request: Mapping[str, Any],
    note: str | None = None,
    why: Mapping[int, tuple[Reason, ...]] | None = None,
) -> Proposal:
    """The plan for requests; looks at which outputs and folders are there. PlanRefused, with every job's reason,
    when nothing of it can be done."""
    decided = _plan(prospect, requests, why or {})
    if not decided.jobs:
        raise _all_refused(decided)
    canaries = _canaries(prospect, requests, decided)
    if canaries:
        away = {job for one in canaries for job, _ in one.waits}
        requests = [([job for job in jobs if job not in away], how) for jobs, how in requests]
        decided = _plan(prospect, [one for one in requests if one[0]], why or {})
        reset = [job.id for job in decided.jobs if not job.stays]
        canaries = [one.without(reset) for one in canaries]
    return Proposal(decided, request, note, children=prospect.graph.children, canaries=tuple(canaries))


def _plan(found: Prospect, requests: Requests, why: Mapping[int, tuple[Reason, ...]]) -> RerunPlan:
    return plan_rerun(found.views, found.graph, requests, os.path.exists, why, found.earlier, found.past)


def _canaries(found: Prospect, requests: Requests, whole: RerunPlan) -> list[Choice]:
    """Which jobs run first, and which wait for them, of all that can be rerun."""
    if found.canary is None:
        return []
    refused = {job.id for job in whole.refused}
    struck = {one.job: one for one in found.struck if one.job not in refused}
    chosen = []
    for jobs, how in requests:
        chosen += choose([struck[job] for job in dict.fromkeys(jobs) if job in struck], found.canary, how)
    return chosen


def _all_refused(decided: RerunPlan) -> PlanRefused:
    first = "; ".join(f"{job.name}: {job.why}" for job in decided.refused[:5])
    more = f"; and {len(decided.refused) - 5} more" if len(decided.refused) > 5 else ""
    return PlanRefused(f"nothing can be rerun: {first}{more}", refused=decided.refused)
