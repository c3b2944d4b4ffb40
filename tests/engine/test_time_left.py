"""Runs in an allocation: which jobs start, and what becomes of those that run when it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from engine_project import Project

from rekindle.domain.states import Cause, State
from rekindle.engine.allocation import Allocation, find_allocation
from rekindle.engine.queries import job_queries
from rekindle.engine.rerun import control
from rekindle.engine.results import WorkOptions, WorkReport
from rekindle.engine.running.signals import StopHandle
from rekindle.engine.running.work import work

GRACE = 5.0


def allocation(seconds: float, **more: object) -> Allocation:
    """Return one whose grace period begins in so many seconds."""
    return Allocation(name="Slurm job 7", until=time.monotonic() + seconds + GRACE, grace=GRACE, **more)


def terminate(project, when: Callable[[], object]) -> WorkReport:
    """Run, and announce the end of the allocation as a batch system does, once a condition holds."""
    stop = StopHandle()

    def wait() -> None:
        limit = time.monotonic() + 60
        while not when() and time.monotonic() < limit:
            time.sleep(0.02)
        stop.terminate()

    thread = threading.Thread(target=wait)
    thread.start()
    report = work(project.session, WorkOptions(slots=2, allocation=Allocation(name="Slurm job 7")), stop=stop)
    thread.join()
    project.check()
    return report


def test_a_job_whose_time_limit_is_longer_than_the_time_left_does_not_start(project) -> None:
    project.submit(
        """
        name: bounded
        jobs:
          long: {run: 'true', resources: {time: 10m}}
          short: {run: 'true', resources: {time: 30s}}
          free: {run: 'true'}
        """
    )
    report = project.work(allocation=allocation(119))
    assert project.states() == {"long": State.READY, "short": State.COMPLETED, "free": State.COMPLETED}
    assert [name for name, _ in report.never_fit] == ["long"]
    assert "time 10m 00s of 1m 5" in report.never_fit[0][1]
    project.work()
    assert project.states()["long"] is State.COMPLETED


def test_jobs_without_a_time_limit_start_if_earlier_attempts_took_less_than_the_time_left(project) -> None:
    spec = """
        name: {name}
        jobs:
          before: {{run: sleep 3}}
          slow: {{needs: [before], matrix: {{k: {{range: [0, {k}]}}}}, run: sleep {seconds}}}
          quick: {{needs: [before], priority: -1, run: 'true'}}
        """.replace("{{run: sleep 3}}", "{{run: 'true'}}").replace("sleep {seconds}", "'[ -e fast ] || sleep 3'")
    project.run(spec.format(name="again", k=2))
    (project.folder / "fast").touch()
    project.rerun("before")
    began = time.monotonic()
    report = project.work(slots=1, allocation=allocation(1.5))
    assert time.monotonic() - began < 20
    states = project.states()
    assert states["quick"] is State.COMPLETED  # though two jobs with a higher priority are before it
    assert [states[f"slow[k={k}]"] for k in (0, 1)] == [State.READY] * 2
    assert "earlier attempts took 3" in dict(report.never_fit)["slow[k=0]"]
    project.work(allocation=allocation(60))
    assert set(project.states().values()) == {State.COMPLETED}


def test_running_jobs_are_ended_in_time_and_continue_with_their_step_in_their_folder(project, lines) -> None:
    project.submit(
        """
        name: resumed
        workdir: attempt
        jobs:
          fit:
            steps:
              - {name: first, run: "echo first >> ${env.HOME}/ran.txt"}
              - name: second
                run: |
                  trap 'echo saved > state; exit 0' TERM; echo second >> ${env.HOME}/ran.txt
                  [ -e state ] || while :; do sleep 0.02; done
          after: {needs: [fit], run: "true"}
          whatever: {needs: [fit], when: finished, run: "true"}
        """.replace("${env.HOME}", str(project.folder))
    )
    began = time.monotonic()
    report = project.work(allocation=allocation(6.0))
    assert 5.5 < time.monotonic() - began < 6.0 + GRACE
    assert report.exit_code == 6
    assert project.states() == {"fit": State.READY, "after": State.WAITING, "whatever": State.WAITING}
    (ended,) = project.attempts("fit")
    assert (ended.state, ended.cause) == (State.CANCELED, Cause.CANCELED)
    assert ended.archived_by is not None
    assert "Slurm job 7 ends" in ended.failure.message
    project.work(allocation=allocation(60))
    assert set(project.states().values()) == {State.COMPLETED}
    assert lines(project.folder / "ran.txt") == ["first", "second", "second"]
    assert [one.folder for one in project.attempts("fit")] == [ended.folder] * 2


def test_a_fan_out_and_a_call_that_are_cut_off_continue(project, lines) -> None:
    (project.folder / "calls.py").write_text(
        "import pathlib, time\n"
        "def wait():\n"
        "    with open('calls.txt', 'a') as file: file.write('call\\n')\n"
        "    while not pathlib.Path('go').exists(): time.sleep(0.02)\n"
    )
    project.submit(
        """
        name: parts
        jobs:
          items:
            steps:
              - name: each
                each: [a, b]
                run: "echo ${item} >> items.txt; [ ${item} = a ] || while ! [ -e go ]; do sleep 0.02; done"
          call: {call: "calls:wait"}
        """
    )
    terminate(
        project, lambda: lines(project.folder / "items.txt") == ["a", "b"] and lines(project.folder / "calls.txt")
    )
    assert project.states() == {"items": State.READY, "call": State.READY}
    (project.folder / "go").touch()
    project.work()
    assert set(project.states().values()) == {State.COMPLETED}
    assert sorted(lines(project.folder / "items.txt")) == ["a", "b", "b"]
    assert lines(project.folder / "calls.txt") == ["call", "call"]


def test_jobs_that_are_cut_off_again_and_again_stay_ready(project, lines) -> None:
    project.submit("{name: often, jobs: {long: {run: 'echo >> began.txt; sleep 60'}}}")
    for number in range(1, 6):
        terminate(project, lambda number=number: len(lines(project.folder / "began.txt")) == number)
        assert project.states() == {"long": State.READY}
        assert len(project.attempts("long")) == number
    assert not [one for one in project.attempts("long") if one.state is State.FAILED]


def test_a_job_that_is_canceled_by_its_user_as_the_allocation_ends_stays_canceled(project) -> None:
    project.submit("{name: both, jobs: {long: {run: \"trap '' TERM; sleep 60\"}}}")

    def cancel() -> None:
        other, limit = Project(project.folder), time.monotonic() + 30
        while other.states()["long"] is not State.RUNNING and time.monotonic() < limit:
            time.sleep(0.02)
        control.cancel(other.session, [other.job("long")])
        other.session.close()

    thread = threading.Thread(target=cancel)
    thread.start()
    project.work(allocation=allocation(8.0))
    thread.join()
    assert project.states() == {"long": State.CANCELED}


def test_the_size_of_an_allocation_bounds_what_runs_at_once(project) -> None:
    project.submit(
        """
        name: sized
        jobs:
          wide: {run: 'true', resources: {cpus: 3}}
          heavy: {run: 'true', resources: {memory: 2G}}
          fast: {run: 'true', resources: {gpus: 1}}
          fits: {run: 'true', resources: {cpus: 2, memory: 1G}}
        """
    )
    report = project.work(slots=None, allocation=Allocation(cpus=2, memory=1 << 30))
    assert sorted(name for name, _ in report.never_fit) == ["fast", "heavy", "wide"]
    project.work(slots=None, allocation=Allocation(cpus=3, memory=2 << 30, gpus=1))
    rows = job_queries.jobs(project.session, [project.job(name) for name in ("wide", "heavy", "fast", "fits")])
    assert {row.job.state for row in rows} == {State.COMPLETED}


def test_what_slurm_sets_is_read_and_a_shell_on_the_login_node_is_no_allocation() -> None:
    job = {"SLURM_JOB_ID": "12", "SLURM_CPUS_ON_NODE": "4", "SLURM_JOB_END_TIME": str(int(time.time()) + 100)}
    assert find_allocation(job) is None
    assert find_allocation({}) is None
    node = {**job, "SLURMD_NODENAME": "n1"}
    found = find_allocation({**node, "SLURM_MEM_PER_CPU": "100", "SLURM_JOB_GPUS": "0,3"})
    assert found is not None
    assert found.until is not None
    assert (found.cpus, found.memory, found.gpus) == (4, 400 << 20, 2)
    assert 95 < found.until - time.monotonic() < 101
    found = find_allocation({**node, "SLURM_MEM_PER_NODE": "200", "SLURM_GPUS_ON_NODE": "1"})
    assert found is not None
    assert (found.memory, found.gpus) == (200 << 20, 1)
    found = find_allocation({**node, "SLURM_MEM_PER_NODE": "0"})
    assert found is not None
    assert found.memory is None
