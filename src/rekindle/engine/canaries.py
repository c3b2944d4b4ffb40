"""Groups of failed jobs in a store: their canaries run first, and the waiting jobs once all canaries have passed.

A group is decided in the transaction that ends its last canary, so that a crash loses no decision. Which jobs are
canaries is chosen with the plan of their rerun (rekindle.engine.plan_inputs).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rekindle.domain.batches.canaries import SIGNATURE_DIGITS, CanaryDecision, CanaryGroup, GroupOutcome, decide_group
from rekindle.domain.errors import PlanRefused
from rekindle.domain.rerun.request import Requests, how_to_json
from rekindle.engine.plan_inputs import plan_requests, read_plan_inputs

if TYPE_CHECKING:
    from rekindle.domain.rerun.resolve import Exists
    from rekindle.engine.results import PlannedRerun
    from rekindle.store.archive import Transaction


def begin_groups(archive: Transaction, rerun: int, proposal: PlannedRerun, now: float, exists: Exists) -> None:
    """Begin the groups of a plan that has been applied as `rerun`, and decide groups whose canaries it has retired.
    Raises PlanOutdated as `Canaries.begin` does."""
    if proposal.canaries:
        archive.canaries.begin(rerun, proposal.canaries)
    if any(one.retires for one in proposal.plan.dynamic):
        resolve_canaries(archive, now, exists)


def drop_groups(archive: Transaction, rerun: int, now: float, exists: Exists) -> None:
    """Drop the groups of a rerun that was undone, and decide others, whose canaries may be completed again."""
    archive.canaries.drop(rerun, now)
    resolve_canaries(archive, now, exists)


def leave_groups(archive: Transaction, jobs: Sequence[int]) -> tuple[int, ...]:
    """Take these ended jobs out of the groups that they wait in; return the jobs that waited in an undecided group."""
    groups = archive.canaries.of_jobs(jobs) if jobs else {}
    left = tuple(job for job in jobs if job in groups and groups[job].outcome is None)
    if left:
        archive.canaries.stop_waiting(left)
    return left


def resolve_canaries(archive: Transaction, now: float, exists: Exists) -> set[int]:
    """Release or stop each group of jobs whose canaries have all ended. A waiting job stays failed and blocks nothing;
    any other reset takes it out of its group. Must be called after all other writes of the transaction, retries
    included. `exists`: see `KnownPaths`. Return the jobs that run again."""
    archive.require_alone()
    again: set[int] = set()
    for group in archive.canaries.open():
        decision = decide_group(group)
        if decision is not None:
            again |= _resolve_group(archive, group, decision, now, exists)
    return again


def _resolve_group(
    archive: Transaction, group: CanaryGroup, decision: CanaryDecision, now: float, exists: Exists
) -> set[int]:
    jobs, how = archive.canaries.waiting(group.id)
    rerun, ran = None, set[int]()
    if decision.outcome is GroupOutcome.RELEASED and jobs:
        request = {
            "selection": {"signature": group.signature[:SIGNATURE_DIGITS]},
            "how": how_to_json(how),
            "canaries": group.rerun,
            "jobs": jobs,
        }
        try:
            requests = Requests(dict.fromkeys(jobs, how))
            proposal = plan_requests(read_plan_inputs(archive, requests), requests, request, exists=exists)
        except PlanRefused as refused:
            decision = CanaryDecision(GroupOutcome.STOPPED, f"{decision.why}, and {refused.message}")
        else:
            note = f"{decision.why} (rerun {group.rerun})"
            rerun = archive.reruns.apply(proposal.plan, "canary", request, note, now)
            ran = set(proposal.plan.jobs.ids)
    archive.canaries.decide(group.id, decision.outcome, decision.why, rerun, now)
    detail = {
        "outcome": decision.outcome.value,
        "rerun": group.rerun,
        "signature": group.signature[:SIGNATURE_DIGITS],
        "jobs": len(jobs),
        "why": decision.why,
    }
    archive.events.add(now, "canary", group.workflow, detail)
    return ran
