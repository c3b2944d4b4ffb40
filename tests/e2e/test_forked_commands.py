"""Commands that a host forks behave as commands of an interpreter of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from forked_commands import COMMAND, ForkedCommand, can_fork
from project_folder import Project, until

FRESH = [sys.executable, "-m", "rekindle"]


@pytest.mark.parametrize("line", ["status --json", "jobs list", "jobs lits", "run nothing.yaml", "--version", "logs a"])
def test_both_print_the_same_and_exit_alike(project: Project, line: str) -> None:
    project.spec("{name: s, jobs: {a: {run: 'echo é; exit 3'}}}")
    project.rekindle("run", "spec.yaml", expect=2)
    forked = project.run(*line.split())
    project.command = FRESH
    fresh = project.run(*line.split())
    assert (forked.returncode, forked.stdout, forked.stderr) == (fresh.returncode, fresh.stdout, fresh.stderr)
    assert fresh.stdout or fresh.stderr


@pytest.mark.parametrize("command", [[str(COMMAND)], FRESH], ids=["forked", "fresh"])
def test_an_interrupt_reaches_the_process_and_its_end_is_reported(project: Project, command: list[str]) -> None:
    project.command = command
    project.spec("{name: s, jobs: {a: {run: 'touch began; sleep 60'}}}")
    run = project.start("run", "spec.yaml")
    assert isinstance(run, ForkedCommand) == (command != FRESH)
    assert os.getsid(run.pid) == run.pid
    until((project.folder / "began").exists, "the job runs")
    assert run.poll() is None
    run.send_signal(signal.SIGINT)
    assert run.wait(timeout=60) == 5
    killed = project.start("serve", "--port", "0", stdout=subprocess.PIPE)
    assert killed.stdout is not None
    with killed.stdout as said:
        assert said.readline()
    killed.kill()
    assert killed.wait(timeout=60) == -signal.SIGKILL


def test_what_python_reads_when_it_starts_needs_a_new_interpreter(project: Project) -> None:
    assert can_fork(project.command, project.env)
    assert not can_fork(project.command, {**project.env, "PYTHONUTF8": "0"})
    assert not can_fork(project.command, {**project.env, "LC_ALL": "C"})
    assert not can_fork(["nohup", *project.command], project.env)
