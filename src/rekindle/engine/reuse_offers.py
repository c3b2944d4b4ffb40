"""Offer jobs that are to run to the reuse checks. Short, because each submission imports it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rekindle.store.archive import Transaction


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
