"""Helpers: one-line definitions, and short ways to use a store as the engine does."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rekindle.domain.definition import Definition, JobNode, JobTemplate, Resources, Step
from rekindle.domain.models import AttemptEnd, Failure, NewAttempt, Signature, StateChange, StepOutcome
from rekindle.domain.rerun.plan import RerunPlan
from rekindle.domain.rerun.planner import plan_rerun
from rekindle.domain.rerun.request import How, Requests
from rekindle.domain.rerun.undo import refuse_undo
from rekindle.domain.selection import AllOf
from rekindle.domain.states import Cause, JobEvent, State, transition
from rekindle.store.archive import Snapshot, Store
from rekindle.store.schema import migrate, migrations
from rekindle.store.sqlite_connection import FILE, connect
from rekindle.store.stored_paths import StoredPaths

EVENTS = {State.COMPLETED: JobEvent.COMPLETE, State.FAILED: JobEvent.FAIL, State.CANCELED: JobEvent.CANCEL}


def definition(
    jobs: Mapping[str, Sequence[str]],
    *,
    name: str = "flow",
    bindings: Mapping[str, Mapping[str, Any]] | None = None,
    template: Mapping[str, JobTemplate] | None = None,
    params: Mapping[str, Any] | None = None,
) -> Definition:
    """Return a workflow of these jobs, each with its needs. Jobs share one template, unless `template` has theirs."""
    shared = JobTemplate("work", (Step("one", run="true"), Step("two", run="true")))
    templates = [shared]
    nodes = []
    for job in jobs:
        own = (template or {}).get(job, shared)
        if own not in templates:
            templates.append(own)
        nodes.append(JobNode(job, templates.index(own), (bindings or {}).get(job, {})))
    at = {job: position for position, job in enumerate(jobs)}
    edges = [(at[parent], at[job]) for job, needs in jobs.items() for parent in needs]
    return Definition(name, "/project", templates, nodes, edges, params=params or {})


DIAMOND = {"top": [], "left": ["top"], "right": ["top"], "bottom": ["left", "right"]}


def older_store(folder: Path, version: int) -> sqlite3.Connection:
    """Make an empty store of an earlier version of the schema and return a connection to it."""
    folder.mkdir()
    connection = connect(folder / FILE)
    connection.execute("PRAGMA journal_mode = WAL")
    migrate(connection, migrations()[:version], StoredPaths(str(folder)))
    connection.execute("INSERT INTO meta VALUES ('identity', 'x')")
    return connection


def submit(store: Store, jobs: Mapping[str, Sequence[str]], **more: Any) -> int:
    with store.write() as archive:
        return archive.workflows.add(definition(jobs, **more), 1.0)


def revise(store, workflow, jobs, **more):
    with store.write() as archive:
        return archive.workflows.revise(workflow, definition(jobs, **more), 9.0)


def ids(store: Store, workflow: int, retired: bool = False) -> dict[str, int]:
    """Return the jobs of a workflow by name."""
    with store.read() as archive:
        jobs = archive.jobs.get(archive.jobs.select(AllOf(), workflow, retired))
        return {job.name: job.id for job in jobs}


def states(store: Store, workflow: int) -> dict[str, State]:
    with store.read() as archive:
        jobs = archive.jobs.get(archive.jobs.select(AllOf(), workflow))
        return {job.name: job.state for job in jobs}


def claim_in(
    archive: Snapshot, workflow: int, limit: int = 1000, now: float = 2.0, runner: int = 1
) -> list[NewAttempt]:
    """Claim ready jobs inside a transaction."""
    archive.queue.clear_due_delays(now)
    jobs = archive.queue.ready(workflow, limit)[:limit]
    ids = archive.queue.attempt_ids(len(jobs))
    attempts = [NewAttempt(one, f"token{one}", job, f"/a/{one}") for one, job in zip(ids, jobs, strict=True)]
    if attempts:
        archive.queue.claim(attempts, runner, now)
    return attempts


def claim(store: Store, workflow: int, limit: int = 1000, now: float = 2.0) -> list[NewAttempt]:
    with store.write() as archive:
        return claim_in(archive, workflow, limit, now)


def start(store: Store, attempts: Iterable[NewAttempt]) -> None:
    with store.write() as archive:
        standing = archive.queue.status([attempt.id for attempt in attempts])
        archive.queue.start([(one, 3.0, "w1", "here", 10 + one, 99) for one in standing], standing)
        archive.queue.move(
            [
                StateChange(
                    at.job, at.workflow, at.resource_class, at.job_state, transition(at.job_state, JobEvent.START, "")
                )
                for at in standing.values()
            ]
        )


def failure_ending(attempt: int, message: str = "no such file", stderr: str = "it broke\n") -> AttemptEnd:
    return AttemptEnd(
        attempt,
        State.FAILED,
        ended=5.0,
        started=3.0,
        cause=Cause.EXIT,
        exit_code=2,
        failure=Failure("", message, "", stderr),
        signature=Signature(f"sig-{message}", "", message),
        steps=(
            StepOutcome(0, "one", State.COMPLETED, result="1"),
            StepOutcome(1, "two", State.FAILED, Cause.EXIT, 2),
        ),
    )


def completed_ending(attempt: int, result: str | None = None) -> AttemptEnd:
    steps = (StepOutcome(0, "one", State.COMPLETED), StepOutcome(1, "two", State.COMPLETED, result=result))
    return AttemptEnd(attempt, State.COMPLETED, ended=4.0, started=3.0, exit_code=0, result=result, steps=steps)


def end_in(archive: Snapshot, endings: Sequence[AttemptEnd]) -> None:
    """Write ends, move the jobs and their children inside a transaction."""
    standing = archive.queue.status([ending.attempt for ending in endings])
    moves = []
    for ending in endings:
        at = standing[ending.attempt]
        before = at.job_state
        if before is State.QUEUED:
            before = transition(before, JobEvent.START, "")
        after = transition(before, EVENTS[ending.state], "")
        if at.job_attempt == ending.attempt:
            moves.append(StateChange(at.job, at.workflow, at.resource_class, at.job_state, after))
    archive.queue.end(endings, standing)
    archive.queue.move(moves)
    archive.queue.completed([move.job for move in moves if move.after is State.COMPLETED])


def end(store: Store, endings: Sequence[AttemptEnd]) -> None:
    with store.write() as archive:
        end_in(archive, endings)


def run(store: Store, workflow: int, failing: Iterable[str] = ()) -> None:
    """Run every job that becomes ready; jobs with these names fail."""
    failing = set(failing)
    while attempts := claim(store, workflow):
        end(
            store,
            [
                failure_ending(one.id) if one.job.name in failing else completed_ending(one.id, f'"{one.job.name}"')
                for one in attempts
            ],
        )


def plan(store: Store, jobs: Sequence[int], how: How | None = None) -> RerunPlan:
    with store.read() as archive:
        views, graph = archive.plan_views.of(jobs)
    requests = Requests(dict.fromkeys(jobs, how or How()))
    decided = plan_rerun(views, graph, requests)
    assert decided == plan_rerun(dict(views), graph, requests)  # sets of jobs that are alike are planned as each job is
    return decided


def apply(store: Store, decided: RerunPlan) -> int:
    with store.write() as archive:
        return archive.reruns.apply(decided, "manual", {"jobs": [job.id for job in decided.jobs]}, "again", 6.0)


def undo(store: Store, rerun: int) -> None:
    with store.write() as archive:
        refuse_undo(archive.reruns.undo_conflicts(rerun))
        archive.reruns.undo(rerun, 7.0)


def faults(store: Store) -> list[str]:
    with store.read() as archive:
        return archive.check()


def template(name: str, *steps: str, priority: int = 0, **more: Any) -> JobTemplate:
    return JobTemplate(name, tuple(Step(step, run="true") for step in steps), priority=priority, **more)


SMALL = Resources(cpus=0.5)
