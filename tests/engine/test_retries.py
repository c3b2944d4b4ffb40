"""Retries: failed jobs run again through the rerun path. Processes are scripted."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from rekindle.domain.errors import NotFound
from rekindle.domain.models import Attempt
from rekindle.domain.rerun.plan import Reason, RerunRecord
from rekindle.domain.rerun.request import How
from rekindle.domain.states import Cause, State
from rekindle.engine.queries import job_queries, workflow_queries
from rekindle.engine.rerun import control, rerun
from rekindle.engine.results import WorkOptions, WorkReport
from rekindle.engine.running.work import work
from rekindle.engine.session import Session
from rekindle.engine.staleness import stale_jobs
from rekindle.journal.orders import Assignment
from rekindle.testing import Crash, CrashingStore, FakeClock, ScriptedExecutor, ScriptedOutcome

G = 2**30
FAILS = ScriptedOutcome(fails_at="run", exit_code=75)


class Scripted:
    """A project with scripted processes and a clock that advances instead of waiting."""

    def __init__(self, project) -> None:
        self.project, self.clock = project, FakeClock()
        project.session = Session(project.session.store, self.clock)

    def work(
        self, script: Callable[[Assignment], ScriptedOutcome], slots: int = 1, crash_at: int = 0
    ) -> WorkReport | None:
        """Work to the end; with `crash_at`, the process dies before that transaction is committed."""
        store = self.project.session.store
        executor = ScriptedExecutor(store.folder, script, self.clock)
        session = Session(CrashingStore(store, crash_at, "before"), self.clock) if crash_at else self.project.session
        try:
            return work(session, WorkOptions(slots=slots, memory=64 * G), executor=executor)
        except Crash:
            executor.close(0)
            with store.write() as archive:
                for runner in archive.runners.alive():
                    archive.runners.abandon(runner.id, runner.epoch)
            return None
        finally:
            self.project.check()

    def retries(self) -> list[RerunRecord]:
        found = [record for record, _ in workflow_queries.reruns(self.project.session) if record.kind == "retry"]
        return [workflow_queries.rerun(self.project.session, one.id) for one in reversed(found)]


@pytest.fixture
def scripted(project):
    return Scripted(project)


def fails(times: int, outcome: ScriptedOutcome = FAILS) -> Callable[[Assignment], ScriptedOutcome]:
    """Fail the first attempts of each job, by number."""
    return lambda one: outcome if one.number <= times else ScriptedOutcome()


def one_job(rule: str, more: str = "") -> str:
    return f"{{name: retried, jobs: {{a: {{run: x, retry: {rule}{more}}}}}}}"


def attempts(scripted: Scripted, job: str = "a") -> list[Attempt]:
    return scripted.project.attempts(job)


def waits_for_a_retry(scripted: Scripted) -> int:
    """A job that has failed and will be retried in an hour, with no runner."""
    scripted.project.submit(one_job("{max: 1, delay: 1h}"))
    job = scripted.project.job("a")

    def held_meanwhile(one: Assignment) -> ScriptedOutcome:
        control.hold(scripted.project.session, [job])
        return FAILS

    scripted.work(held_meanwhile)
    control.release(scripted.project.session, [job])
    return job


def test_a_job_that_fails_twice_and_passes_is_retried_twice_each_time_later(scripted):
    scripted.project.submit(one_job("{max: 3, delay: 30s, backoff: 2}"))
    report = scripted.work(fails(2))
    assert (report.exit_code, report.completed, report.failed, report.retried) == (0, 1, 0, 2)
    first, second, third = attempts(scripted)
    assert [one.state for one in (first, second, third)] == [State.FAILED, State.FAILED, State.COMPLETED]
    assert 30 <= second.queued - first.ended < 40
    assert 60 <= third.queued - second.ended < 70
    one, two = scripted.retries()
    assert (first.archived_by, second.archived_by, third.archived_by) == (one.id, two.id, None)
    assert (one.note, two.note) == ("retry 1 of 3: exit", "retry 2 of 3: exit")
    assert [reason.detail for reason in two.plan.jobs[0].reasons if reason.kind == "retry"] == [
        {"retry": 2, "of": 3, "cause": "exit", "delay": 60.0}
    ]
    by_attempt, waiting = job_queries.retries(scripted.project.session, [scripted.project.job("a")])
    assert {number: (why.detail["retry"], why.detail["of"]) for number, why in by_attempt.items()} == {
        second.id: (1, 3),
        third.id: (2, 3),
    }
    assert waiting == {}


def test_it_stops_at_its_maximum_and_begins_anew_once_a_person_has_reset_it(scripted):
    scripted.project.submit(one_job("{max: 2}"))
    report = scripted.work(fails(100))
    assert (report.exit_code, report.failed, report.retried) == (2, 1, 2)
    assert len(attempts(scripted)) == 3
    scripted.project.rerun("a")
    assert scripted.work(fails(100)).exit_code == 2
    assert [one.note for one in scripted.retries()] == ["retry 1 of 2: exit", "retry 2 of 2: exit"] * 2


def test_jobs_that_fail_together_are_retried_by_one_rerun(scripted):
    scripted.project.submit(
        """
        name: many
        jobs:
          a: {matrix: {n: {range: [0, 40]}}, run: x, retry: {max: 1}}
          after: {needs: [a], run: x}
        """
    )
    assert scripted.work(fails(1), slots=8).exit_code == 2, "what has no policy stays failed"
    found = scripted.retries()
    assert sum(len(one.plan.jobs) for one in found) == 40
    assert len(found) <= 10
    assert scripted.project.states()["after"] is State.FAILED


@pytest.mark.parametrize(
    ("outcome", "tries"),
    [
        (FAILS, 3),
        (ScriptedOutcome(fails_at="run", exit_code=1), 1),
        (ScriptedOutcome(fails_at="run", cause=Cause.EXCEPTION, exit_code=None, message="Temporary trouble"), 2),
        (ScriptedOutcome(fails_at="run", cause=Cause.EXCEPTION, exit_code=None, message="trouble"), 1),
        (ScriptedOutcome(fails_at="run", cause=Cause.CANCELED, exit_code=None), 1),
    ],
)
def test_rules_are_taken_in_their_order(scripted, outcome, tries):
    rules = '[{max: 2, exit_codes: [10, 75]}, {max: 1, on: exception, error: "(?i)temporary"}]'
    scripted.project.submit(one_job(rules))
    scripted.work(fails(100, outcome))
    assert len(attempts(scripted)) == tries


def test_memory_grows_from_what_was_used_and_stays_grown(scripted):
    scripted.project.submit(one_job("{max: 3, on: oom, memory: x1.5, max_memory: 6G}", ", resources: {memory: 2G}"))
    script = fails(3, ScriptedOutcome(fails_at="run", cause=Cause.OOM, exit_code=None, max_rss_bytes=3 * G))
    assert scripted.work(script).exit_code == 0
    found = [json.loads(one.overrides or "{}").get("memory") for one in attempts(scripted)]
    assert found == [None, 4.5 * G, 6 * G, 6 * G]
    (row,) = job_queries.jobs(scripted.project.session, [scripted.project.job("a")])
    assert row.resources.memory == 6 * G
    (change,) = scripted.retries()[0].plan.jobs[0].changes
    assert (change.name, change.before, change.after) == ("memory", 2 * G, 4.5 * G)


def test_a_retry_goes_on_at_the_failed_step_when_its_policy_says_so(scripted):
    steps = "steps: [{name: one, run: x}, {name: two, run: x}]"
    a, b = f"a: {{{steps}, retry: {{max: 1, from: failed-step}}}}", f"b: {{{steps}, retry: {{max: 1}}}}"
    scripted.project.submit(f"{{name: s, jobs: {{{a}, {b}}}}}")
    assert scripted.work(fails(1, ScriptedOutcome(fails_at="two"))).exit_code == 0
    assert (attempts(scripted, "a")[1].start_step, attempts(scripted, "b")[1].start_step) == (1, 0)


def test_held_jobs_are_retried_after_their_release(scripted):
    scripted.project.submit(one_job("{max: 1}"))
    job = scripted.project.job("a")

    def held_meanwhile(one: Assignment) -> ScriptedOutcome:
        if one.number == 1:
            control.hold(scripted.project.session, [job])
            return FAILS
        return ScriptedOutcome()

    scripted.work(held_meanwhile)
    assert scripted.project.states() == {"a": State.READY}
    control.release(scripted.project.session, [job])
    assert scripted.work(held_meanwhile).exit_code == 0


def test_jobs_to_be_canceled_are_not_retried(scripted):
    scripted.project.submit(one_job("{max: 1}"))
    job = scripted.project.job("a")

    def canceled_meanwhile(one: Assignment) -> ScriptedOutcome:
        control.cancel(scripted.project.session, [job])
        return FAILS

    assert scripted.work(canceled_meanwhile).exit_code == 2
    assert (scripted.project.states(), scripted.retries()) == ({"a": State.FAILED}, [])


def test_a_retry_that_waits_is_undone_like_any_rerun_and_never_by_a_bare_undo(scripted):
    job = waits_for_a_retry(scripted)
    (status,) = workflow_queries.status(scripted.project.session)
    assert (status.delayed, status.state) == (1, "ready")
    _, waiting = job_queries.retries(scripted.project.session, [job])
    assert waiting[job].detail["retry"] == 1
    with pytest.raises(NotFound):
        rerun.undo(scripted.project.session)
    (retry,) = scripted.retries()
    rerun.undo(scripted.project.session, retry.id)
    assert scripted.project.states() == {"a": State.FAILED}
    (row,) = job_queries.jobs(scripted.project.session, [job])
    assert row.job.next.not_before is None
    control.release(scripted.project.session, [job])  # undo has restored the hold
    scripted.project.rerun("a")
    assert scripted.work(fails(0)).exit_code == 0


def test_a_clock_that_is_set_back_makes_no_retry_wait_longer_than_it_was_to(scripted):
    waits_for_a_retry(scripted)
    scripted.clock.advance(-10 * 86400.0)
    before = scripted.clock()
    assert scripted.work(fails(0)).exit_code == 0
    assert scripted.clock() - before < 3600.0


@pytest.mark.parametrize(("rule", "tries"), [("{max: 1, on: lost}", 2), ("{max: 9}", 3), ("[]", 3)])
def test_only_a_policy_for_lost_bounds_lost_attempts(scripted, rule, tries):
    scripted.project.submit(one_job(rule))
    script = fails(100, ScriptedOutcome(fails_at="run", crash=True))
    for _ in range(6):
        scripted.work(script)
    assert [one.cause for one in attempts(scripted)] == [Cause.LOST] * tries
    kinds = {record.kind for record, _ in workflow_queries.reruns(scripted.project.session)}
    assert kinds == {"retry" if "lost" in rule else "recovery"}


@pytest.mark.parametrize("crash_at", range(1, 12))
def test_no_retry_is_forgotten_or_doubled_whenever_the_runner_dies(scripted, crash_at):
    scripted.project.submit(one_job("{max: 2, delay: 1s}"))
    scripted.work(fails(2), crash_at=crash_at)
    assert scripted.work(fails(2)).exit_code == 0
    found = attempts(scripted)
    assert [one.state for one in found if one.cause is not Cause.LOST][-1] is State.COMPLETED
    assert len(scripted.retries()) == sum(one.cause is Cause.EXIT for one in found) <= 2


def why_of(record: RerunRecord) -> Reason:
    return next(reason for reason in record.plan.jobs[0].reasons if reason.kind == "retry")


def test_the_host_where_it_failed_is_avoided_only_while_another_works(scripted):
    scripted.project.submit(one_job("{max: 2, other_host: true}"))
    assert scripted.work(fails(1)).exit_code == 0, "on one host it runs where it failed"
    first, _ = attempts(scripted)
    detail = why_of(scripted.retries()[0]).detail
    assert (detail["avoids"], detail["alone"]) == (first.host, True)
    (row,) = job_queries.jobs(scripted.project.session, [first.job])
    assert row.job.next.avoids == first.host


def test_a_job_that_avoids_a_host_is_not_offered_there(scripted):
    scripted.project.submit(one_job("{max: 1, other_host: true}"))
    job = scripted.project.job("a")

    def held_meanwhile(one: Assignment) -> ScriptedOutcome:
        control.hold(scripted.project.session, [job])
        return FAILS

    scripted.work(held_meanwhile)
    control.release(scripted.project.session, [job])
    (failed,) = attempts(scripted)
    with scripted.project.session.store.write() as archive:
        offered = {host: archive.queue.ready(None, 9, host) for host in (failed.host, "elsewhere", "")}
    assert {host: len(jobs) for host, jobs in offered.items()} == {failed.host: 0, "elsewhere": 1, "": 1}


def test_another_policy_makes_nothing_stale(scripted):
    scripted.project.submit("{name: r, jobs: {a: {run: x, inputs: {i: spec.yaml}, retry: {max: 1}}}}")
    (scripted.project.folder / "input").touch()
    scripted.project.submit("{name: r, jobs: {a: {run: x, inputs: {i: input}, retry: {max: 1}}}}")
    assert scripted.work(fails(0)).exit_code == 0
    assert scripted.project.submit("{name: r, jobs: {a: {run: x, inputs: {i: input}}}}").changed == ("a",)
    job = scripted.project.job("a")
    _, assessed = stale_jobs.assess(scripted.project.session, [job])
    assert assessed[job].reasons == ()


def test_below_a_retried_job_nothing_is_touched(scripted):
    scripted.project.submit("{name: r, jobs: {a: {run: x, retry: {max: 1}}, b: {run: x, needs: [a]}}}")
    assert scripted.work(fails(1)).exit_code == 2
    scripted.project.rerun("b", how=How())
    (retry,) = scripted.retries()
    assert [job.name for job in retry.plan.jobs] == ["a"]


def test_a_retry_below_a_job_that_failed_frees_those_that_wait_for_its_end(scripted):
    free = "{name: retried, jobs: {a: {run: x}, b: {run: x, retry: {max: 1}}, c: {run: x, needs: [b], when: finished}}}"
    scripted.project.submit(free)

    def script(assignment: Assignment) -> ScriptedOutcome:
        if assignment.job == scripted.project.job("a"):
            return FAILS
        scripted.project.submit(free.replace("retry:", "needs: [a], retry:"))
        return ScriptedOutcome(fails_at="run", waits=3)

    scripted.work(script, slots=2)
    assert scripted.project.states() == {"a": State.FAILED, "b": State.WAITING, "c": State.FAILED}
