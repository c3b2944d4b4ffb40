"""What must hold of a store at any moment, and at the end of a simulation."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.selection import Selection
from rekindle.domain.states import ACTIVE, ENDED, State, derive_state
from rekindle.store.inspection import inspect
from rekindle.testing.simulation.history import all_attempts, all_jobs, record_of

if TYPE_CHECKING:
    from rekindle.domain.models import Attempt
    from rekindle.engine.session import Session
    from rekindle.testing.simulation.workers import Execution, SimulatedExecutor


class Known(msgspec.Struct):
    """The records of attempts that had ended at the last check."""

    ended: dict[int, tuple[object, ...]] = msgspec.field(default_factory=dict)


def check_now(session: Session, known: Known, executors: Sequence[SimulatedExecutor]) -> None:
    """Assert what holds at any moment between two transactions."""
    with session.store.read() as archive:
        found = archive.check()
    assert not found, f"the store contradicts itself: {found}"
    jobs, attempts = all_jobs(session), all_attempts(session)
    for number, before in known.ended.items():
        assert number in attempts, f"attempt {number} is gone"
        assert record_of(attempts[number]) == before, f"the record of attempt {number} was changed"
    known.ended = {number: record_of(one) for number, one in attempts.items() if one.state in ENDED}
    for one in attempts.values():
        bad = one.state in (State.FAILED, State.CANCELED)
        assert (one.cause is not None) == bad, f"attempt {one.id}, {one.state}, has the cause {one.cause}"
    twice = [
        job for job, n in Counter(one.job for one in attempts.values() if one.archived_by is None).items() if n > 1
    ]
    assert not twice, f"jobs {twice} have two live attempts"
    for job in jobs.values():
        live = None if job.attempt is None else attempts[job.attempt].state
        assert job.retired or job.state is derive_state(live, job.canceled, job.unmet), f"{job.name} is {job.state}"
    nothing_is_disturbed(session)
    _nothing_runs_twice(executors, attempts)


def nothing_is_disturbed(session: Session) -> None:
    """Assert that no job has two attempts that have not ended, and that no job was claimed above a job whose archived
    attempt has not ended."""
    with session.store.read() as archive:
        active = archive.attempts.active()
        ids = archive.jobs.select(Selection().where, None, retired=True)
        jobs = {job.id: job for job in archive.jobs.get(ids)}
        parents = archive.jobs.parents(ids)
        workflows = {one.id: one.revision for one in archive.workflows.listing()}
    twice = [job for job, n in Counter(one.job for one in active).items() if n > 1]
    assert not twice, f"jobs {twice} run twice at once"
    live = {one.job: one for one in active if one.archived_by is None}
    for leaving in active:
        if leaving.archived_by is None or leaving.revision < workflows[leaving.workflow]:
            continue  # a later revision may have put it below a job that was running already
        assert jobs[leaving.job].state not in ACTIVE
        seen, level = {leaving.job}, [leaving.job]
        while level:
            above = {parent for job in level for parent in parents.get(job, ())} - seen
            seen |= above
            level = [job for job in above if jobs[job].state is not State.COMPLETED]
            for job in level:
                claimed_since = job in live and live[job].id > leaving.id
                assert not claimed_since, f"{jobs[job].name} runs, and attempt {leaving.id} below it has not ended"


def _executions(executors: Sequence[SimulatedExecutor]) -> list[Execution]:
    return [one for executor in executors for one in executor.executions.values()]


def _nothing_runs_twice(executors: Sequence[SimulatedExecutor], attempts: dict[int, Attempt]) -> None:
    """Assert that no two workers run the same job at once, whatever the store says."""
    running = Counter(one.job for one in _executions(executors) if one.end is None and one.process.alive)
    twice = [job for job, n in running.items() if n > 1]
    assert not twice, f"workers run jobs {twice} twice at once"
    tokens = Counter(one.token for one in _executions(executors))
    assert max(tokens.values(), default=0) <= 1, "an attempt was started twice"
    known = {one.token for one in attempts.values()}
    for one in _executions(executors):
        assert one.token in known, f"a worker has started an attempt of job {one.job} that the store does not know"


def forget_undone(session: Session, executors: Sequence[SimulatedExecutor]) -> None:
    """Forget what workers did for attempts that a power cut has undone: that work runs again."""
    known = {one.token for one in all_attempts(session).values()}
    for executor in executors:
        executor.executions = {token: one for token, one in executor.executions.items() if token in known}


def check_end(session: Session, executors: Sequence[SimulatedExecutor], before: Collection[int]) -> None:
    """Assert what holds once all runners have ended: every outcome is recorded once, all jobs are completed, the last
    run has added no attempt to those of `before`, and the files agree with the rows."""
    attempts, jobs = all_attempts(session), all_jobs(session)
    assert attempts.keys() == before, "a second run made attempts, though nothing was left to do"
    left = {job.name: job.state.label for job in jobs.values() if not job.retired and job.state is not State.COMPLETED}
    assert not left, f"not completed after a run without faults: {left}"
    unfinished = [one.id for one in attempts.values() if one.state not in ENDED]
    assert not unfinished, f"attempts {unfinished} have no end"
    rows = Counter(one.token for one in attempts.values())
    assert max(rows.values()) == 1, "two attempts have the same token"
    by_token = {one.token: one for one in attempts.values()}
    for one in _executions(executors):
        _check_outcome(by_token[one.token], one)
    found = inspect(Path(session.store.folder), deep=True, progress=lambda _: None).problems
    assert not found, f"store check --deep: {found}"


def _check_outcome(row: Attempt, one: Execution) -> None:
    """Assert that the outcome of an attempt is recorded as its worker has journaled it."""
    if one.end is None:
        assert row.state is not State.COMPLETED, f"attempt {row.id} is recorded as completed, and was cut off"
        return
    if row.failure is not None and row.failure.type == "BadAction":
        return  # a dynamic action, which a kept step may have left, was refused, so that the attempt is a failed one
    recorded, journaled = (row.state, row.cause), (one.end.state, one.end.cause)
    assert recorded == journaled, f"attempt {row.id} has ended as {journaled}, and is recorded as {recorded}"


def digest_of_store(folder: str) -> str:
    """Return a digest of all rows. Left out is what the file system decides: digests of plans, which name the folder,
    and the inodes and times of files."""
    from rekindle.store.sqlite_connection import FILE, connect

    connection = connect(Path(folder) / FILE)
    try:
        lines = [line for line in connection.iterdump() if not line.startswith('INSERT INTO "file"')]
    finally:
        connection.close()
    text = re.sub("'[0-9a-f]{32}'", "'digest'", "\n".join(lines).replace(str(Path(folder).parent), "FOLDER"))
    text = re.sub("[0-9]{19}", "time", text)
    return blake2b(text.encode(), digest_size=16).hexdigest()
