"""Check that no two conflicting attempts run at once."""

from __future__ import annotations

from collections import Counter

from rekindle.domain.selection import Selection
from rekindle.domain.states import ACTIVE, State
from rekindle.engine.session import Session


def nothing_is_disturbed(session: Session) -> None:
    """Assert that no job has two attempts that have not ended, and that no job was claimed above a job whose archived
    attempt has not ended."""
    with session.store.read() as archive:
        active = archive.attempts.active()
        ids = archive.jobs.select(Selection().where, None, retired=True)
        jobs = {job.id: job for job in archive.jobs.get(ids)}
        parents = archive.jobs.parents(ids)
    twice = [job for job, n in Counter(one.job for one in active).items() if n > 1]
    assert not twice, f"jobs {twice} run twice at once"
    live = {one.job: one for one in active if one.archived_by is None}
    for leaving in active:
        if leaving.archived_by is None:
            continue
        assert jobs[leaving.job].state not in ACTIVE
        seen, level = {leaving.job}, [leaving.job]
        while level:
            above = {parent for job in level for parent in parents.get(job, ())} - seen
            seen |= above
            level = [job for job in above if jobs[job].state is not State.COMPLETED]
            for job in level:
                claimed_since = job in live and live[job].id > leaving.id
                assert not claimed_since, f"{jobs[job].name} runs, and attempt {leaving.id} below it has not ended"
