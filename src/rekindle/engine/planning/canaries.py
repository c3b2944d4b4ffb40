"""Canaries: the rest of a group runs again, or is left, in the transaction in which the last of its canaries ends.

So nothing is forgotten whatever dies, and whoever ingests decides. What waits is as it was: it has failed, and holds
nobody up. Whatever else resets it meanwhile takes it out.
"""

from __future__ import annotations

from rekindle.domain.batches.canaries import SHOWN, Group, Outcome, Ruling, judge
from rekindle.domain.errors import PlanRefused
from rekindle.domain.rerunning.asking import how_to_json
from rekindle.engine.planning.prospects import decide, survey
from rekindle.store.port import Archive


def settle(archive: Archive, now: float) -> set[int]:
    """Decide what can be decided of the groups that wait for their canaries; all else of the transaction is written,
    retries too. Returns the jobs that run again."""
    again: set[int] = set()
    for group in archive.canaries.open():
        ruling = judge(group)
        if ruling is not None:
            again |= _carry_out(archive, group, ruling, now)
    return again


def _carry_out(archive: Archive, group: Group, ruling: Ruling, now: float) -> set[int]:
    jobs, how = archive.canaries.waiting(group.id)
    rerun, ran = None, set[int]()
    if ruling.outcome is Outcome.RELEASED and jobs:
        request = {
            "selection": {"signature": group.signature[:SHOWN]},
            "how": how_to_json(how),
            "canaries": group.rerun,
            "jobs": jobs,
        }
        try:
            proposal = decide(survey(archive, [(jobs, how)]), [(jobs, how)], request)
        except PlanRefused as refused:
            ruling = Ruling(Outcome.STOPPED, f"{ruling.why}, and {refused.message}")
        else:
            note = f"{ruling.why} (rerun {group.rerun})"
            rerun = archive.reruns.apply(proposal.plan, "canary", request, note, now)
            ran = {job.id for job in proposal.plan.jobs}
    archive.canaries.decide(group.id, ruling.outcome, ruling.why, rerun, now)
    detail = {
        "outcome": ruling.outcome.value,
        "rerun": group.rerun,
        "signature": group.signature[:SHOWN],
        "jobs": len(jobs),
        "why": ruling.why,
    }
    archive.events.add(now, "canary", group.workflow, detail)
    return ran
