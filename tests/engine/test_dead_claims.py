"""Claims of a runner that died before their jobs started."""

from __future__ import annotations

import pytest

from rekindle.domain.models import NewAttempt
from rekindle.domain.states import Cause, State
from rekindle.engine.rerun import control
from rekindle.engine.results import WorkOptions
from rekindle.engine.running.ingest import ingest
from rekindle.engine.running.lost_attempts import rerun_lost
from rekindle.engine.running.work import work
from rekindle.engine.session import Session
from rekindle.journal.records import Ended
from rekindle.testing import Crash, CrashingStore, FakeClock, ScriptedExecutor, ScriptedOutcome

ONE = "{name: claimed, jobs: {a: {run: 'true'}}}"
TWO = "{name: claimed, jobs: {new: {run: 'false'}, a: {run: 'true', needs: [new]}}}"

CLAIMED_BELOW = """
name: claimed
jobs:
  gone: {run: "true"}
  a: {run: "true", needs: [gone]}
  report: {run: "true", needs: [a], when: finished}
"""


def die_with_a_claim(project) -> None:
    """Kill the runner when its first claim, the second transaction of the run, is committed."""
    clock = FakeClock()
    session = Session(CrashingStore(project.session.store, 2, "after"), clock)
    executor = ScriptedExecutor(project.session.store.folder, lambda _: ScriptedOutcome(), clock)
    with pytest.raises(Crash):
        work(session, WorkOptions(slots=1, executor="scripted"), executor=executor)
    with project.session.store.write() as archive:
        for runner in archive.runners.alive():
            archive.runners.abandon(runner.id, runner.epoch)
    assert project.states()["a"] is State.QUEUED


def test_a_claim_of_a_dead_runner_is_free_again(project):
    project.submit(ONE)
    die_with_a_claim(project)
    assert project.work().exit_code == 0
    assert [attempt.number for attempt in project.attempts("a")] == [1]


def test_a_claim_given_back_waits_for_what_a_revision_has_made_its_job_need(project):
    project.submit(ONE)
    die_with_a_claim(project)
    project.submit(TWO)
    assert project.work().exit_code == 2
    assert project.states() == {"new": State.FAILED, "a": State.WAITING}


def test_a_claim_given_back_to_a_job_that_can_no_longer_run_frees_those_that_wait_for_its_end(project):
    project.submit(ONE)
    die_with_a_claim(project)
    project.submit(CLAIMED_BELOW)
    control.cancel(project.session, [project.job("gone")])
    project.work()
    assert project.states() == {"gone": State.CANCELED, "a": State.WAITING, "report": State.COMPLETED}
    with project.session.store.read() as archive:
        assert archive.check() == []


def test_a_job_canceled_after_its_runner_died_stays_canceled(project):
    project.submit(ONE)
    die_with_a_claim(project)
    assert control.cancel(project.session, [project.job("a")]).asked == (project.job("a"),)
    project.work()
    assert project.states() == {"a": State.CANCELED}
    assert project.attempts("a") == []


def test_a_lost_job_that_runs_again_is_waited_for_though_another_ended_with_it(project):
    below = "c: {run: x, needs: [a]}, report: {run: x, needs: [a, b, c], when: finished}"
    project.submit(f"{{name: claimed, jobs: {{a: {{run: x}}, b: {{run: x}}, {below}}}}}")
    with project.session.store.write() as archive:
        jobs = archive.queue.ready(1, 2)
        claims = [NewAttempt(one, f"token{one}", job, f"/a/{one}") for one, job in zip((1, 2), jobs, strict=True)]
        archive.queue.claim(claims, 1, 2.0)
        lost = '{"runner": 1}'
        ends = [
            Ended(attempt=1, token="token1", state=State.CANCELED, ended=9.0, cause=Cause.CANCELED),
            Ended(attempt=2, token="token2", state=State.FAILED, ended=9.0, cause=Cause.LOST, evidence=lost),
        ]
        result = ingest(archive, [], 9.0, lambda _: True, unreported=ends)
        rerun_lost(archive, result, 9.0, lambda _: True)
        assert archive.check() == []
    assert project.states() == {"a": State.CANCELED, "b": State.READY, "c": State.WAITING, "report": State.WAITING}
