"""How many workers a run starts, and when."""

from __future__ import annotations

import time

import pytest

from rekindle.engine.results import WorkOptions, WorkReport
from rekindle.engine.running import runner_loop
from rekindle.engine.running.work import work
from rekindle.executors.pool import WorkerInfo
from rekindle.testing import ScriptedExecutor, ScriptedOutcome

pytestmark = pytest.mark.new_interpreters

MANY = "{name: many, jobs: {j: {matrix: {n: {range: [0, %d]}}, run: 'true', resources: {cpus: 0.1}}}}"


class CountingExecutor(ScriptedExecutor):
    """Counts its workers, and how many of them there were at the start of each attempt."""

    opened = 0

    def __init__(self, project, seconds: float = 0.0, waits: int = 0) -> None:
        super().__init__(project.session.store.folder, self.outcome, project.session.clock)
        self._seconds, self._waits = seconds, waits
        self.workers_at_start: list[int] = []

    def open(self) -> WorkerInfo:
        self.opened += 1
        return super().open()

    def outcome(self, _: object) -> ScriptedOutcome:
        self.workers_at_start.append(self.opened)
        time.sleep(self._seconds)
        return ScriptedOutcome(waits=self._waits)


def run(project, executor: ScriptedExecutor, slots: int) -> WorkReport:
    report = work(project.session, WorkOptions(slots=slots, executor="scripted"), executor=executor)
    project.check()
    return report


@pytest.mark.parametrize("slots", [3, 600])
def test_short_jobs_that_slots_suffice_for_run_on_one_worker(project, monkeypatch, slots: int) -> None:
    monkeypatch.setattr(runner_loop, "START_SECONDS", 60.0)
    project.submit(MANY % 3)
    executor = CountingExecutor(project)
    assert (run(project, executor, slots).completed, executor.opened) == (3, 1)


def test_jobs_that_wait_for_long_get_a_worker_each_and_no_more(project, monkeypatch) -> None:
    monkeypatch.setattr(runner_loop, "START_SECONDS", 0.01)
    project.submit(MANY % 4)
    executor = CountingExecutor(project, seconds=0.02, waits=50)
    assert (run(project, executor, 600).completed, executor.opened) == (4, 4)


def test_more_jobs_than_slots_start_all_workers_before_an_attempt_has_ended(project, monkeypatch) -> None:
    monkeypatch.setattr(runner_loop, "START_SECONDS", 60.0)
    project.submit(MANY % 20)
    executor = CountingExecutor(project, waits=3)
    assert (run(project, executor, 8).completed, executor.opened) == (20, 8)
    assert executor.workers_at_start[:3] == [8, 8, 8]


def test_a_run_without_a_job_that_may_start_opens_one_worker(project) -> None:
    project.submit("{name: held, jobs: {a: {run: 'true', resources: {gpus: 1}}}}")
    executor = CountingExecutor(project)
    run(project, executor, 8)
    assert executor.opened == 1


def test_jobs_queued_behind_a_long_one_get_a_worker_of_their_own(project, monkeypatch) -> None:
    monkeypatch.setattr(runner_loop, "START_SECONDS", 60.0)
    spec = """
        name: queued
        jobs:
          first: {run: "true"}
          j:
            needs: [first]
            matrix: {n: {range: [0, 4]}}
            run: "test ${matrix.n} != 0 || until [ -e 3 ]; do sleep 0.01; done; touch ${matrix.n}"
    """
    assert project.run(spec, slots=2).completed == 5
