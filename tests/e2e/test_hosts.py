"""Runners on two hosts over one store in PostgreSQL, and one spool."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from separate_hosts import LEASE_SECONDS, SILENT_SECONDS, SeparateHost, missing_namespaces

from faketime import MISSING, faketime_library, sweep_shared
from project_folder import Project, until
from rekindle.domain.models import Runner
from rekindle.engine.session import open_session
from rekindle.journal.log import read_records
from rekindle.journal.records import Ended
from rekindle.store.opening import open_store
from stores import new_store_url

MANY = """
name: many
jobs:
  job: {matrix: {i: {range: [0, 60]}}, run: "echo ${matrix.i} >> ran.txt; hostname >> hosts.txt; sleep 0.05"}
"""

GATED = """
name: gated
jobs:
  long: {run: "echo began >> ran.txt; while ! test -e go; do sleep 0.05; done; echo through >> ran.txt"}
"""


TOGETHER = """
name: together
jobs:
  first: {run: "date +%s.%N > ended"}
  left: {needs: [first], run: "date +%s.%N > began-left; until test -e began-right; do sleep 0.02; done"}
  right: {needs: [first], run: "date +%s.%N > began-right; until test -e began-left; do sleep 0.02; done"}
"""


@pytest.fixture
def project(tmp_path: Path, postgres_server: str) -> Iterator[Project]:
    """A folder whose store is in PostgreSQL. Afterwards the store is checked."""
    if reason := missing_namespaces():
        pytest.skip(reason)
    open_store(new_store_url(postgres_server, tmp_path / ".rekindle"), create=True).close()
    made = Project(tmp_path)
    yield made
    made.close()
    sweep_shared()
    assert made.ask("store", "check", "--deep")["sound"]


@pytest.fixture
def hosts(project: Project) -> tuple[SeparateHost, SeparateHost]:
    return SeparateHost("node-a", project), SeparateHost("node-b", project)


def begin(project: Project, host: SeparateHost) -> int:
    """Start the gated job on a host. Return the process of the runner there."""
    project.spec(GATED)
    project.rekindle("submit", "spec.yaml")
    runner = host.start("work", "-j", "1")
    until(lambda: project.states()["long"] == "running" and project.ran() == ["began"], "it runs")
    return runner.pid


def kill_runner(host: SeparateHost, runner: int) -> None:
    """Kill the runner alone."""
    os.kill(runner, signal.SIGKILL)
    until(lambda: runner not in host.processes(), "it is gone")


def runner_rows(project: Project) -> list[Runner]:
    with open_session(str(project.folder / ".rekindle"), create=False) as session, session.store.read() as archive:
        return archive.runners.alive()


def open_gate(project: Project) -> None:
    project.write("go", "")


def ends_in_journals(project: Project) -> list[str]:
    """Return the state of each end that a worker has journaled."""
    journals = (project.folder / ".rekindle" / "journal").glob("*.jsonl")
    return [one.state.label for path in journals for one in read_records(path)[0] if isinstance(one, Ended)]


def test_two_hosts_share_the_jobs_of_a_workflow(project, hosts):
    project.spec(MANY)
    project.rekindle("submit", "spec.yaml")
    for runner in [host.start("work", "-j", "2") for host in hosts]:
        runner.finish()
    assert Counter(project.ran()) == {str(number): 1 for number in range(60)}
    assert set(project.ran("hosts.txt")) == {"node-a", "node-b"}
    assert {one["host"] for one in project.attempts()} == {"node-a", "node-b"}


def test_a_job_of_a_host_that_died_is_lost_and_runs_on_the_other(project, hosts):
    begin(project, hosts[0])
    other = hosts[1].start("work", "-j", "1")
    hosts[0].kill()
    until(lambda: project.ran() == ["began", "began"], "it runs again")
    open_gate(project)
    other.finish()
    assert project.ran() == ["began", "began", "through"]
    lost, completed = project.attempts()
    assert (lost["state"], lost["cause"], lost["host"]) == ("failed", "lost", "node-a")
    assert "journal has not changed for 4 s" in str(lost)
    assert (completed["state"], completed["host"]) == ("completed", "node-b")


def test_a_job_whose_runner_died_on_another_host_is_adopted_and_runs_once(project, hosts):
    kill_runner(hosts[0], begin(project, hosts[0]))
    other = hosts[1].start("work", "-j", "1")
    until(lambda: any(one.epoch == 2 for one in runner_rows(project)), "it is adopted")
    since = time.monotonic()
    until(lambda: time.monotonic() > since + 1.5 * SILENT_SECONDS, "a silent worker would be gone")
    open_gate(project)
    other.finish()
    assert project.ran() == ["began", "through"]
    [attempt] = project.attempts()
    assert (attempt["state"], attempt["host"]) == ("completed", "node-a")


def test_a_runner_that_was_stopped_for_too_long_loses_its_job_to_another_host(project, hosts):
    runner = begin(project, hosts[0])
    os.kill(runner, signal.SIGSTOP)
    other = hosts[1].start("work", "-j", "1")
    until(lambda: any(one.epoch == 2 for one in runner_rows(project)), "its job is adopted")
    os.kill(runner, signal.SIGCONT)
    until(lambda: runner not in hosts[0].processes(), "it has ended")
    open_gate(project)
    other.finish()
    assert project.ran() == ["began", "through"]
    [attempt] = project.attempts()
    assert (attempt["state"], attempt["host"]) == ("completed", "node-a")
    until(lambda: not hosts[0].processes(), "its worker was asked to stop")


def test_a_job_of_a_dead_runner_is_canceled_from_another_host(project, hosts):
    kill_runner(hosts[0], begin(project, hosts[0]))
    [dead] = runner_rows(project)
    until(lambda: time.time() > dead.expires + LEASE_SECONDS, "its lease has expired for long")
    said = hosts[1].start("cancel", "long").finish()
    assert project.states() == {"long": "canceled"}, said
    until(lambda: not hosts[0].processes(), "its worker has ended")
    assert (project.ran(), ends_in_journals(project)) == (["began"], ["canceled"])


def test_a_host_that_was_suspended_for_too_long_ends_its_jobs_and_journals_nothing(project, hosts):
    kill_runner(hosts[0], begin(project, hosts[0]))
    hosts[0].signal(signal.SIGSTOP)
    other = hosts[1].start("work", "-j", "1")
    until(lambda: project.ran() == ["began", "began"], "it runs again")
    hosts[0].signal(signal.SIGCONT)
    until(lambda: not hosts[0].processes(), "its worker has ended, and its job")
    open_gate(project)
    other.finish()
    assert project.ran() == ["began", "began", "through"]
    assert ends_in_journals(project) == ["completed"]


@pytest.mark.parametrize("clock", ["+1h", "-1h"])
def test_a_clock_that_is_an_hour_off_takes_no_lease_over(project, hosts, clock):
    if faketime_library() is None:
        pytest.skip(MISSING)
    begin(project, hosts[0])
    off = hosts[1].start("run", "spec.yaml", "-j", "1", clock=clock)
    until(lambda: len(runner_rows(project)) == 2, "the other works too")
    dates = {one.id: one.expires for one in runner_rows(project)}
    until(lambda: all(one.expires > dates[one.id] for one in runner_rows(project)), "both leases were renewed")
    assert [one.epoch for one in runner_rows(project)] == [1, 1]
    assert all(0 < -one.expired_for(time.time()) <= LEASE_SECONDS + 1 for one in runner_rows(project))
    open_gate(project)
    off.finish()
    assert project.ran() == ["began", "through"]


def test_a_runner_on_another_host_is_notified_of_jobs_and_of_the_ends_of_others(project, hosts):
    fifos = project.folder / ".rekindle" / "run"
    for count, host in enumerate(hosts, start=1):
        host.start("--only-notified", "work", "-j", "1", "--watch")
        [fifo] = until(lambda: list(fifos.glob("runner-*")), "it has a FIFO")
        fifo.unlink()  # on a network file system it reaches nobody on other hosts
        until(lambda count=count: len(runner_rows(project)) == count, "it has registered")
    project.spec(TOGETHER)
    began = time.time()
    project.rekindle("submit", "spec.yaml")
    until(lambda: set(project.states().values()) == {"completed"}, "all ran")
    ended, *woken = (float(project.ran(name)[0]) for name in ("ended", "began-left", "began-right"))
    print(f"submit to end {ended - began:.3f} s, end to starts {min(woken) - ended:.3f} and {max(woken) - ended:.3f} s")
    assert max(woken) - began < 30
    assert {one["host"] for one in project.attempts()} == {"node-a", "node-b"}


def test_a_store_with_local_rows_and_a_spool_elsewhere_runs_its_jobs(tmp_path: Path) -> None:
    made = Project(tmp_path / "project")
    made.folder.mkdir()
    made.env["REKINDLE_STORE"] = f"sqlite://{tmp_path}/rows?spool={tmp_path}/project/.rekindle"
    made.spec(GATED)
    open_gate(made)
    made.rekindle("run", "spec.yaml")
    del made.env["REKINDLE_STORE"]
    assert made.states() == {"long": "completed"}  # found by the spool, which is the nearest .rekindle
    [attempt] = made.attempts()
    assert attempt["folder"].startswith(f"{tmp_path}/project/.rekindle/attempts/")
    made.rekindle("rerun", "-s", "completed", "--yes", "--work")
    assert made.ran() == ["began", "through"] * 2
    assert made.ask("store", "check", "--deep")["sound"]
    assert (tmp_path / "rows" / "store.db").exists()
    made.close()
