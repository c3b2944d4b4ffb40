"""Offer jobs that are to run to the reuse checks. Short, because each submission imports it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rekindle.domain.models import ReuseSource
    from rekindle.domain.rerun.plan import RerunPlan
    from rekindle.store.archive import Snapshot, Transaction


def offer_reuse(archive: Transaction, workflows: Iterable[int]) -> None:
    """Let the jobs of workflows that are to run be completed by an earlier attempt, if the store has one that may. Jobs
    that a person asked to run, and those that are retried, run."""
    if not archive.reuse_candidates.has_reusable():
        return
    from rekindle.domain.changes.identities import may_be_reused
    from rekindle.engine.staleness.earlier_attempts import find_earlier

    for workflow in workflows:
        templates = [number for number, template in archive.workflows.templates(workflow) if may_be_reused(template)]
        unstarted = archive.reuse_candidates.unstarted(workflow, templates) if templates else {}
        found = find_earlier(archive, unstarted.keys(), 1)
        archive.reuse_candidates.offer({job: unstarted[job] for job in found})


def find_sources(archive: Snapshot, jobs: Collection[int]) -> dict[int, ReuseSource]:
    """Return, by job, the newest attempt that may complete it: one that has its definition and values. Whether its
    inputs and outputs are equal too is found when the job is ready."""
    if not archive.reuse_candidates.has_reusable():
        return {}
    from rekindle.engine.staleness.earlier_attempts import find_earlier

    found = {job: some[0].id for job, some in find_earlier(archive, jobs, 1).items()}
    sources = archive.reuse_candidates.sources(set(found.values()))
    return {job: sources[attempt] for job, attempt in found.items() if attempt in sources}


def among_planned(plan: RerunPlan, sources: Mapping[int, ReuseSource]) -> dict[int, ReuseSource]:
    """Return those that may complete jobs that a plan resets, but for attempts that the plan archives: they complete
    their own jobs only if the jobs above make the same again."""
    if not sources:
        return {}
    planned = {job.id: job.archives for job in plan.jobs if not job.stays and job.id in sources}
    return {job: source for job, source in sources.items() if job in planned and source.id not in planned[job]}
