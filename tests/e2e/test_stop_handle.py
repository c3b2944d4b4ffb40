"""A stop handle ends a run in another thread: running jobs finish or are canceled, and nothing else starts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import psutil
import pytest

from project_folder import Project, until
from rekindle import Client, StopHandle
from rekindle.domain.states import State
from rekindle.engine.results import Progress, WorkOptions, WorkReport
from rekindle.engine.running import lease
from rekindle.engine.running.work import work
from rekindle.engine.session import open_session
from rekindle.executors.local import LocalExecutor

SPEC = """
name: stopped
jobs:
  long: {run: "echo $$ > pid; while ! test -e go; do sleep 0.02; done; echo long >> ran.txt"}
  second: {priority: -1, run: echo second >> ran.txt}
  after: {needs: [long], run: echo after >> ran.txt}
"""


class RunInThread:
    """A run of `work` with one worker in a thread of its own."""

    def __init__(self, project: Project) -> None:
        self.project, self.stop = project, StopHandle()
        self.pool = ThreadPoolExecutor(1)

    def start(self, show: Callable[[Progress], None] | None = None, **options: bool) -> Future[WorkReport]:
        """Start the run; its report is the future's result."""

        def run() -> WorkReport:
            with open_session(str(self.project.folder / ".rekindle")) as session:
                return work(session, WorkOptions(slots=1, **options), show, stop=self.stop)

        return self.pool.submit(run)

    def until_long_runs(self) -> int:
        """Wait until `long` is recorded as running. Return its pid."""
        pid = self.project.folder / "pid"
        until(lambda: pid.exists() and pid.read_text().strip(), "long runs")
        until(lambda: self.project.states()["long"] == "running", "long is recorded as running")
        return int(pid.read_text())


@pytest.fixture
def thread(project: Project) -> RunInThread:
    project.spec(SPEC)
    project.rekindle("submit", "spec.yaml")
    return RunInThread(project)


def test_stop_lets_running_jobs_finish_and_starts_no_more(project: Project, thread: RunInThread) -> None:
    report = thread.start()
    thread.until_long_runs()
    thread.stop.stop()
    time.sleep(0.2)
    assert not report.done()
    project.write("go", "")
    ended = report.result(60)
    assert (ended.exit_code, ended.completed, ended.stopped, ended.interrupted) == (0, 1, True, False)
    assert ended.counts == {State.COMPLETED: 1, State.READY: 2}
    assert project.ran() == ["long"]

    project.rekindle("work", "-j", "1")
    assert project.ran() == ["long", "after", "second"]


def test_stop_with_cancel_ends_running_jobs_as_canceled(project: Project, thread: RunInThread) -> None:
    report = thread.start()
    pid = thread.until_long_runs()
    thread.stop.stop()
    thread.stop.stop(cancel=True)
    ended = report.result(60)
    assert (ended.exit_code, ended.canceled, ended.stopped, ended.interrupted) == (5, 1, True, True)
    assert not psutil.pid_exists(pid)
    assert project.states() == {"long": "canceled", "second": "ready", "after": "waiting"}


def test_stop_wakes_an_idle_runner_at_once(project: Project, thread: RunInThread) -> None:
    project.write("go", "")
    report = thread.start(watch=True)
    until(lambda: len(project.ran()) == 3, "all jobs have run")
    time.sleep(0.5)
    assert not report.done()
    began = time.monotonic()
    thread.stop.stop()
    assert report.result(60).stopped
    assert time.monotonic() - began < lease.RENEW_SECONDS / 2  # not the renewal of the lease has woken it


def test_an_idle_runner_waits_until_its_lease_is_due_and_reports_nothing(
    project: Project, thread: RunInThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    wait = LocalExecutor.wait

    def recorded(self: LocalExecutor, timeout: float | None, also: Sequence[int] = ()) -> Sequence[int]:
        waits.append(lease.LEASE_SECONDS if timeout is None else timeout)
        return wait(self, timeout, also)

    monkeypatch.setattr(LocalExecutor, "wait", recorded)
    project.write("go", "")
    report = thread.start(show=lambda _: None, watch=True)
    until(lambda: len(project.ran()) == 3, "all jobs have run")
    until(lambda: waits[-1] > 0.7 * lease.RENEW_SECONDS, "the runner waits for long")
    thread.stop.stop()
    assert report.result(60).stopped


def test_a_stopped_handle_keeps_a_run_from_claiming(project: Project, thread: RunInThread) -> None:
    thread.stop.stop()
    ended = thread.start().result(60)
    assert (ended.exit_code, ended.completed, ended.stopped) == (0, 0, True)
    assert project.ran() == []


def test_a_client_run_is_stopped_from_another_thread(project: Project, thread: RunInThread) -> None:
    def run() -> WorkReport:
        with Client(str(project.folder / ".rekindle")) as client:
            return client.work(jobs=1, stop=thread.stop)

    report = thread.pool.submit(run)
    thread.until_long_runs()
    thread.stop.stop()
    project.write("go", "")
    ended = report.result(60)
    assert (ended.completed, ended.stopped) == (1, True)
    assert project.ran() == ["long"]
