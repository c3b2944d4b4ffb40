"""Claims of runners for jobs of many workflows and resource classes."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from rekindle.domain.packing import Capacity
from rekindle.domain.selection import Compare, Op
from rekindle.domain.states import State
from rekindle.engine.queries import workflow_queries
from rekindle.engine.running.assignments import TaskTemplates
from rekindle.engine.running.claims import Claims, ClaimScope, claim, without_patterns
from rekindle.engine.running.dispatch import NEEDED_MOST, Dispatcher, DurationAverages, WorkerHandle
from rekindle.engine.running.ingest import JournalReader
from rekindle.executors.pool import WorkerInfo
from rekindle.testing.fakes import FakeClock
from rekindle.testing.scripted import ScriptedExecutor, ScriptedOutcome
from stores import statements_of

ROOM = Capacity(cpus=2.0, memory=1 << 33)


class Claimer:
    """Claims for two workers, as a runner does, without running anything."""

    def __init__(self, project) -> None:
        self.store = project.session.store
        self.session = project.session
        self.tasks, self.durations = TaskTemplates("store"), DurationAverages()
        self.workers = [
            WorkerHandle(WorkerInfo(name, f"/{name}", 1, 1), JournalReader(name, Path(f"/{name}")))
            for name in ("w1", "w2")
        ]
        self.scope = ClaimScope(None, ROOM, 1, self.store.folder)

    def claim(self, most: int | None = None, absent: int = 0) -> Claims:
        free = ROOM
        for worker in self.workers:
            free = free if worker.idle else free.take(worker.resources)
        with self.store.write() as archive:
            claims = claim(archive, self.scope, self.workers, self.durations, self.tasks, 1.0, free, most, absent)
        for worker in self.workers:
            for one in claims.work.get(worker.info.name, ()):
                worker.in_flight[one.assignment.attempt] = one
                worker.resource_class, worker.resources = one.resource_class, one.resources
        return claims

    def names(self, most: int | None = None) -> list[str]:
        return sorted(one.assignment.name for jobs in self.claim(most).work.values() for one in jobs)

    def end_all(self, seconds: float) -> None:
        """Empty the workers, as if each of their attempts had taken so long."""
        for worker in self.workers:
            for one in worker.in_flight.values():
                self.durations.add(one.template, seconds)
            worker.in_flight.clear()

    def statements(self) -> int:
        """Return the number of SQL statements of one claim."""
        with statements_of(self.store) as seen:
            self.claim()
        return len(seen)


@pytest.fixture
def claimer(project) -> Claimer:
    return Claimer(project)


def submit_many(project, count: int, job: str = "{run: 'true'}", prefix: str = "w") -> None:
    for number in range(count):
        project.submit(f"{{name: {prefix}{number}, jobs: {{{prefix}{number}: {job}}}}}")


@pytest.mark.parametrize("resources", ["", ", resources: {cpus: 0.%s}"])
def test_a_claim_of_many_workflows_runs_no_more_statements_than_of_few(project, claimer, resources) -> None:
    for number in range(1, 5):
        submit_many(project, 2, "{run: 'true'" + (resources and resources % number) + "}", f"few{number}x")
    few = claimer.statements()
    claimer.end_all(10.0)
    for number in range(1, 5):
        submit_many(project, 10, "{run: 'true'" + (resources and resources % number) + "}", f"many{number}x")
    assert claimer.statements() <= few


def test_short_jobs_of_equal_workflows_are_claimed_several_at_a_time(project, claimer) -> None:
    for number in range(20):
        project.submit(f"{{name: w{number}, jobs: {{only: {{run: 'true'}}}}}}")
    assert len(claimer.names()) == 2
    claimer.end_all(0.025)
    assert len(claimer.names()) == 16  # 200 ms for each of two workers


def test_equal_jobs_with_different_names_share_their_durations(project, claimer) -> None:
    jobs = "".join(f"  a{number}: {{run: 'true'}}\n" for number in range(20))
    project.submit(f"name: named\njobs:\n{jobs}  b: {{run: 'false', priority: 9}}\n")
    assert claimer.names() == ["a0", "b"]
    for worker in claimer.workers:
        for one in worker.in_flight.values():
            claimer.durations.add(one.template, 10.0 if one.assignment.name == "a0" else 0.01)
        worker.in_flight.clear()
    assert claimer.names() == ["a1", "a2"]


def test_different_jobs_are_claimed_several_at_a_time_while_others_are_short(project, claimer) -> None:
    jobs = "".join(f"  a{number}: {{run: 'true {number}'}}\n" for number in range(40))
    project.submit(f"name: different\njobs:\n{jobs}")
    assert len(claimer.names()) == 2
    claimer.end_all(0.025)
    assert len(claimer.names()) == 16
    assert claimer.names() == []  # nothing is queued behind a running job of unknown duration
    claimer.end_all(10.0)
    assert len(claimer.names()) == 2


def test_jobs_of_all_workflows_are_claimed_by_priority_then_id(project, claimer) -> None:
    submit_many(project, 3, prefix="low")
    submit_many(project, 1, "{run: 'true', priority: 5, resources: {cpus: 0.5}}", "high")
    assert claimer.names() == ["high0", "low0"]
    claimer.end_all(10.0)
    assert claimer.names() == ["low1", "low2"]


def test_more_is_left_until_the_last_job_is_claimed(project, claimer) -> None:
    submit_many(project, 4)
    assert claimer.claim(most=1).left
    assert claimer.claim().left
    claimer.end_all(10.0)
    assert not claimer.claim().left
    assert not claimer.claim().left


def test_short_jobs_do_not_delay_jobs_of_another_class_with_a_higher_priority(project, claimer) -> None:
    project.submit("{name: short, jobs: {a: {matrix: {n: {range: [0, 200]}}, run: 'true'}}}")
    claimer.claim()
    claimer.end_all(0.025)
    assert len(claimer.names()) == 16
    for worker in claimer.workers:
        worker.in_flight.popitem()
    project.submit("{name: urgent, jobs: {urgent: {run: 'true', priority: 9, resources: {cpus: 2}}}}")
    assert claimer.names() == []  # the workers run dry, and the urgent job gets both cpus
    claimer.end_all(0.025)
    assert claimer.names() == ["urgent"]


def test_jobs_that_never_fit_are_named_and_do_not_hold_up_others(project, claimer) -> None:
    submit_many(project, 30, "{run: 'true', resources: {cpus: 64}, priority: 9}", "big")
    submit_many(project, 2)
    claims = claimer.claim()
    assert sorted(one.assignment.name for jobs in claims.work.values() for one in jobs) == ["w0", "w1"]
    assert list(claims.never_fit.values()) == [("big0", "it asks more than this runner has: 64 cpus of 2")]
    assert claims.left


def test_jobs_of_stopped_workflows_do_not_hold_up_others_and_are_named_at_the_end(project, claimer) -> None:
    submit_many(project, 30, "{run: 'true', priority: 9}", "stopped")
    submit_many(project, 2)
    stopped = [one.workflow.id for one in workflow_queries.status(project.session)][:30]
    claimer.scope = replace(claimer.scope, stopped=dict.fromkeys(stopped, "gone"))
    assert claimer.names() == ["w0", "w1"]
    claimer.end_all(10.0)
    claims = claimer.claim()
    assert claims.work == {}
    assert [why for _, why in claims.never_fit.values()] == ["gone"]


def test_a_condition_selects_among_the_jobs_of_all_workflows(project, claimer) -> None:
    submit_many(project, 6)
    claimer.scope = replace(claimer.scope, only=Compare("name", Op.REGEX, "w[35]"))
    claimer.scope = without_patterns(claimer.session, claimer.scope, len(claimer.workers))
    assert claimer.names() == ["w3", "w5"]


def test_a_runner_gathers_outcomes_only_while_every_worker_has_queued_attempts(project, claimer) -> None:
    submit_many(project, 6)
    executor = ScriptedExecutor(claimer.store.folder, lambda _: ScriptedOutcome(), FakeClock())
    dispatcher = Dispatcher(executor, claimer.tasks, ROOM, slots=2)
    dispatcher.workers = {worker.info.name: worker for worker in claimer.workers}
    dispatcher.durations = claimer.durations
    claimer.claim()
    assert not dispatcher.well_supplied  # each runs a job that has never run, and none is queued
    for worker in claimer.workers:
        for one in worker.in_flight.values():
            claimer.durations.add(one.template, 0.06)
        number, one = next(iter(worker.in_flight.items()))
        worker.in_flight[number + 100] = one
    assert dispatcher.well_supplied


def test_a_worker_gets_less_work_while_jobs_need_those_that_end(claimer) -> None:
    durations = DurationAverages()
    durations.add(1, 1e-4)
    found = []
    for needed in (False, True, False):
        durations.adapt(needed=needed)
        found.append((durations.room(claimer.workers[0]), durations.batch_seconds))
    assert found[0] == found[2]
    assert found[1][0] == NEEDED_MOST < found[0][0]
    assert found[1][1] < found[0][1]


def test_jobs_that_fit_wait_for_workers_that_may_be_started(project, claimer) -> None:
    submit_many(project, 8, "{run: 'true', resources: {cpus: 0.25}}")
    found = []
    for absent, most in ((1, None), (9, None), (9, 3), (0, None)):
        claims = claimer.claim(most, absent)
        found.append((len(claims.work), claims.waiting, claims.left))
        claimer.end_all(10.0)
    assert found == [(2, 1, True), (2, 4, False), (2, 1, True), (2, 0, False)]


def test_jobs_that_do_not_fit_or_are_queued_behind_short_ones_wait_for_no_worker(project, claimer) -> None:
    submit_many(project, 10)
    claims = claimer.claim(absent=9)
    assert (len(claims.work), claims.waiting, claims.left) == (2, 0, True)  # each takes one of two cpus
    claimer.end_all(0.001)
    project.submit("{name: little, jobs: {a: {matrix: {n: {range: [0, 4]}}, run: 'true'}}}")
    assert claimer.claim(absent=9).waiting == 0


def test_a_run_of_many_workflows_completes_each_job(project) -> None:
    submit_many(project, 25)
    report = project.work()
    assert (report.exit_code, report.completed, report.counts) == (0, 25, {State.COMPLETED: 25})
