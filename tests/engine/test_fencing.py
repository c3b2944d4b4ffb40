"""An outcome for an archived attempt is recorded on that attempt and changes nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from rekindle.domain.errors import UndoRefused
from rekindle.domain.models import NewAttempt, StepOutcome
from rekindle.domain.rerun.request import How
from rekindle.domain.states import ACTIVE, Cause, State
from rekindle.domain.subtasks import SubtaskEnd
from rekindle.engine.queries import job_queries, workflow_queries
from rekindle.engine.rerun import rerun
from rekindle.engine.rerun.restart import plan_reset
from rekindle.engine.running.claims import give_back
from rekindle.engine.running.ingest import JournalBatch, ingest
from rekindle.journal.records import Ended, FannedOut, Record, Returned, Started, StepEnded, Subtasks

SPEC = """
name: fenced
defaults: {retry: {max: 3}}
jobs:
  above: {run: "true"}
  job:
    needs: [above]
    steps:
      - {name: first, run: "true"}
      - {name: each, each: [1, 2], run: "true ${item}"}
      - {name: last, run: "true"}
  below: {needs: [job], run: "true"}
"""

ACTION = '{"add": [{"name": "more", "run": "true"}], "hold_children": true}'
DONE = StepOutcome(0, "first", State.COMPLETED, exit_code=0, started=5.0, ended=6.0, action=ACTION)
LAST = StepOutcome(2, "last", State.COMPLETED, exit_code=0, started=7.0, ended=8.0)
BAD = StepOutcome(0, "first", State.FAILED, Cause.EXIT, 1, started=5.0, ended=6.0)

Tell = Callable[[NewAttempt], list[Record]]


def completed(one: NewAttempt) -> list[Record]:
    ended = Ended(one.id, State.COMPLETED, 9.0, 5.0, token=one.token, result="1", steps=(DONE, LAST))
    return [Started(one.id, one.token, 5.0), ended]


def failed(one: NewAttempt) -> list[Record]:
    return [Ended(one.id, State.FAILED, 9.0, 5.0, Cause.EXIT, 1, token=one.token, steps=(BAD,))]


def canceled(one: NewAttempt) -> list[Record]:
    return [Ended(one.id, State.CANCELED, 9.0, token=one.token, cause=Cause.CANCELED)]


def started(one: NewAttempt) -> list[Record]:
    return [Started(one.id, one.token, 5.0), StepEnded(one.id, one.token, DONE)]


def fanned_out(one: NewAttempt) -> list[Record]:
    return [
        *started(one),
        FannedOut(one.id, one.token, 1, 2, run=((0, "1", 0), (1, "2", 0))),
        Subtasks(one.id, one.token, 1, started=((0, 1),)),
        Subtasks(one.id, one.token, 1, ended=(SubtaskEnd(0, State.COMPLETED, 5.0, 6.0, exit_code=0),)),
    ]


ENDS: dict[str, tuple[Tell, State]] = {
    "completed": (completed, State.COMPLETED),
    "failed": (failed, State.FAILED),
    "canceled": (canceled, State.CANCELED),
    "started": (started, State.RUNNING),
    "fan-out": (fanned_out, State.RUNNING),
}


def by_rerun(project) -> None:
    rerun.plan_and_apply(project.session, [([project.job("job")], How(cancel_running=True))], {})


def by_rerun_above(project) -> None:
    rerun.plan_and_apply(project.session, [([project.job("above")], How(cancel_running=True))], {})


def by_reset(project) -> None:
    rerun.apply(project.session, plan_reset(project.session, [project.job("job")], {}, cancel_running=True))


WAYS = [by_rerun, by_rerun_above, by_reset]


@pytest.fixture
def one(project) -> NewAttempt:
    """Return the queued attempt of `job`; its ancestors are done."""
    project.submit(SPEC)
    above = claimed(project)
    tell(project, [Ended(above.id, State.COMPLETED, 4.0, 3.0, token=above.token)])
    return claimed(project)


def claimed(project) -> NewAttempt:
    with project.session.store.write() as archive:
        (job,) = archive.queue.ready(None, 9)
        number = archive.queue.next_attempt()
        attempt = NewAttempt(number, f"token{number}", job, f"/nowhere/{number}")
        archive.queue.claim([attempt], 1, 2.0)
    return attempt


def tell(project, records: list[Record], now: float = 10.0):
    with project.session.store.write() as archive:
        told = ingest(archive, [JournalBatch("w1", records, 0)], now, os.path.exists)
        assert archive.check() == []
    return told


def jobs(project) -> dict[str, tuple[object, ...]]:
    rows = job_queries.jobs(project.session, [project.job(name) for name in project.states()])
    return {row.job.name: (row.job, row.resources) for row in rows}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ENDS)
def test_an_outcome_for_an_archived_attempt_changes_nothing_else(project, one, way, kind) -> None:
    way(project)
    before, reruns = jobs(project), workflow_queries.reruns(project.session)
    records, state = ENDS[kind]
    told = tell(project, records(one))
    assert jobs(project) == before
    assert workflow_queries.reruns(project.session) == reruns  # it is not retried
    known = next(attempt for attempt in project.attempts("job") if attempt.id == one.id)
    assert known.state is state
    assert (told.archived == {one.id}) == (state not in ACTIVE)
    if kind == "completed":
        assert known.result == "1"
        assert [step.action for step in known.steps] == [ACTION, None]
    number = project.job("job")
    with project.session.store.read() as archive:
        assert archive.dynamic_actions.in_force([number]) == {}
        assert archive.queue.count_archived_active(None) == (state in ACTIVE)
        if kind == "fan-out":
            assert archive.subtasks.counts([one.id]) == {(one.id, 1): {State.COMPLETED: 1, State.WAITING: 1}}


@pytest.mark.parametrize("way", WAYS)
def test_an_archived_attempt_that_is_recalled_ends_canceled(project, one, way) -> None:
    way(project)
    before = jobs(project)
    assert tell(project, [Returned((one.token,), (one.id,))]).returned == [one.token]
    with project.session.store.write() as archive:
        give_back(archive, [one.id], 10.0)
        assert archive.check() == []
    assert jobs(project) == before
    (known,) = (attempt for attempt in project.attempts("job") if attempt.id == one.id)
    assert (known.state, known.cause, known.ended) == (State.CANCELED, Cause.CANCELED, 10.0)


def plainly_completed(one: NewAttempt) -> list[Record]:
    return [Ended(one.id, State.COMPLETED, 9.0, 5.0, token=one.token, result="1", steps=(LAST,))]


@pytest.mark.parametrize("records", [plainly_completed, failed, canceled])
def test_an_undo_restores_the_outcome_of_the_attempt(project, one, records) -> None:
    before = project.states()
    by_rerun_above(project)
    tell(project, records(one))
    state = next(attempt.state for attempt in project.attempts("job"))
    rerun.undo(project.session)
    project.check()
    below = State.READY if state is State.COMPLETED else State.WAITING
    assert project.states() == {**before, "job": state, "below": below}


def test_an_undo_is_refused_if_actions_were_not_applied(project, one) -> None:
    by_rerun_above(project)
    tell(project, completed(one))
    before = project.states()
    with pytest.raises(UndoRefused, match=f"attempt {one.id} of `job` completed after it was to be canceled"):
        rerun.undo(project.session)
    assert project.states() == before


def test_an_undo_before_it_has_ended_lets_it_end_as_asked_for(project, one) -> None:
    tell(project, [Started(one.id, one.token, 5.0)])
    before = project.states()
    by_rerun_above(project)
    rerun.undo(project.session)
    assert project.states() == before
    tell(project, failed(one))  # not retried: it was canceled
    assert project.states() == {**before, "job": State.FAILED}


def test_nothing_that_would_disturb_it_can_be_claimed_before_it_has_ended(project, one) -> None:
    tell(project, [Started(one.id, one.token, 5.0)])
    by_rerun_above(project)
    above, job = project.job("above"), project.job("job")
    assert project.states() == {"above": State.READY, "job": State.WAITING, "below": State.WAITING}
    with project.session.store.read() as archive:
        assert archive.queue.ready(None, 9) == []
        assert archive.attempts.blocking([above, job]) == {above: [one.id]}
    assert workflow_queries.status(project.session)[0].leaving == 1
    assert next(row.awaits for row in job_queries.jobs(project.session, [above])) == (one.id,)
    tell(project, canceled(one))
    assert claimed(project).job.id == above


def test_unrelated_jobs_are_not_delayed(project) -> None:
    project.submit("{name: two, jobs: {a: {run: 'true'}, b: {run: 'true', priority: -1}}}")
    with project.session.store.write() as archive:
        first, _ = archive.queue.ready(None, 9)
        archive.queue.claim([NewAttempt(1, "token1", first, "/nowhere/1")], 1, 2.0)
    rerun.plan_and_apply(project.session, [([first.id], How(cancel_running=True))], {})
    with project.session.store.read() as archive:
        assert [job.name for job in archive.queue.ready(None, 9)] == ["b"]
