"""Compare what is found block by block, and remembered, with what a check of all jobs finds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rekindle.domain.selection import Selection
from rekindle.engine.queries import job_queries, selections, workflow_queries
from rekindle.engine.session import Session
from rekindle.engine.staleness import assessments, stale_jobs
from rekindle.store import assessments as stored


@contextmanager
def small_blocks(size: int = 2) -> Iterator[None]:
    """Give blocks so few jobs that jobs need jobs of other blocks."""
    with pytest.MonkeyPatch.context() as patching:
        patching.setattr(stored, "BLOCK", size)
        patching.setattr(assessments, "BLOCK", size)
        yield


def check_assessments(session: Session) -> None:
    """Assert that workflows are assessed as all of their jobs are, also a second time, from what was remembered."""
    for one in workflow_queries.workflows(session):
        ids = selections.select(session, Selection(workflow=str(one.id)))
        found = stale_jobs.find_stale_jobs(session, ids)
        for _ in range(2):
            seen = assessments.assess_workflow(session, one.id)
            assert (seen.stale, tuple(seen.unknown)) == (found.stale, found.unknown)
            rows = job_queries.jobs(session, sorted(seen.stale))
            assert seen.versions == {row.job.id: row.job.version for row in rows}
