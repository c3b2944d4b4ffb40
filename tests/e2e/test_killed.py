"""After SIGKILL of the whole process tree, the next `work` finishes the jobs."""

from __future__ import annotations

import contextlib
import subprocess
from collections import Counter

import psutil
import pytest

from project_folder import Project, until

JOBS = 1000
SLOTS = 2

SPEC = f"""
name: thousand
jobs:
  job: {{matrix: {{i: {{range: [0, {JOBS}]}}}}, run: "echo ${{job.name}} >> ran.txt"}}
"""

MOMENTS = (2, 450, 930)  # jobs that have run when it is killed
MORE_MOMENTS = (1, 5, 40, 120, 250, 380, 510, 640, 800, 995)


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL a process and its descendants. They are stopped first, so that none can react."""
    stopped: dict[int, psutil.Process] = {}
    pending = [psutil.Process(process.pid)]
    while pending:
        for one in pending:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.suspend()
                stopped[one.pid] = one
        pending = [one for one in descendants(process.pid) if one.pid not in stopped]
    for one in stopped.values():
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait(timeout=60)
    psutil.wait_procs(list(stopped.values()), timeout=60)


def descendants(pid: int) -> list[psutil.Process]:
    """Return the living descendants of a process. Any may end meanwhile."""
    alive = []
    for one in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if one.status() != psutil.STATUS_ZOMBIE:
                alive.append(one)
    return alive


def killed_when(project: Project, moment: int) -> None:
    """Run the thousand jobs, and kill all processes once `moment` of them have run."""
    project.spec(SPEC)
    runner = project.start("run", "spec.yaml", "-j", str(SLOTS))
    until(lambda: len(project.ran()) >= moment, f"{moment} jobs have run")
    kill_tree(runner)


def check_finished(project: Project, completed: set[int], already_ran: Counter[str]) -> None:
    """Assert that every job completed once, and that none ran again after its completion."""
    jobs = project.jobs()
    attempts = project.attempts()
    live = [attempt for attempt in attempts if not attempt["archived"]]
    assert len(jobs) == JOBS
    assert Counter(attempt["job"] for attempt in live) == Counter(job["id"] for job in jobs.values())
    assert {attempt["state"] for attempt in live} == {"completed"}
    assert {attempt["cause"] for attempt in attempts if attempt["archived"]} <= {"lost"}

    ran = Counter(project.ran())
    assert set(ran) == set(jobs)
    again = {name for name, times in ran.items() if times > 1}
    assert not {jobs[name]["id"] for name in again} & completed
    # Only a job that ran at the kill, and whose end was not journalled, may have written its line twice.
    assert len(again) <= SLOTS
    assert set(ran.values()) <= {1, 2}
    assert again <= set(already_ran)


def finish_after_kill(project: Project, moment: int) -> None:
    killed_when(project, moment)
    completed = {job["id"] for job in project.jobs("-s", "completed").values()}
    already_ran = Counter(project.ran())
    project.rekindle("work", "-j", str(SLOTS))
    check_finished(project, completed, already_ran)
    assert project.ask("status")["workflows"][0]["counts"] == {"completed": JOBS}


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_next_work_finishes_after_a_kill(project: Project, moment: int) -> None:
    finish_after_kill(project, moment)


@pytest.mark.soak
@pytest.mark.parametrize("moment", MORE_MOMENTS)
def test_the_next_work_finishes_after_a_kill_at_any_moment(project: Project, moment: int) -> None:
    finish_after_kill(project, moment)


@pytest.mark.soak
def test_repeated_kills_are_survived(project: Project) -> None:
    killed_when(project, 100)
    for moment in (200, 400, 600, 800):
        runner = project.start("work", "-j", str(SLOTS))
        until(lambda moment=moment: len(project.ran()) >= moment, f"{moment} jobs have run")
        kill_tree(runner)
    project.rekindle("work", "-j", str(SLOTS))
    live = project.attempts("--live")
    assert Counter(attempt["state"] for attempt in live) == {"completed": JOBS}
    assert max(Counter(project.ran()).values()) <= 6
