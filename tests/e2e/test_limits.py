"""Limits of the host: each ends a command with one error that names the limit and a remedy."""

from __future__ import annotations

import resource
import shutil
from pathlib import Path

import pytest

from project_folder import Project

CALLS = """
name: calls
jobs:
  command: {run: "echo command >> ran.txt"}
  items: {steps: [{name: each, each: [1, 2, 3], call: "called:call"}]}
"""
CALLED = "def call(ctx):\n    pass\n"


@pytest.fixture
def calls(project: Project) -> Project:
    project.spec(CALLS)
    project.write("called.py", CALLED)
    return project


def limited(project: Project, number: int, *, hard: bool) -> None:
    """Set the limit of open files of each command."""
    flag = "-n" if hard else "-Sn"
    project.command = ["sh", "-c", f'ulimit {flag} {number}; exec "$0" "$@"', *project.command]


@pytest.mark.parametrize("number", [12, 40])
def test_too_few_open_files_end_a_run_before_it_starts(calls: Project, number: int) -> None:
    limited(calls, number, hard=True)
    calls.rekindle("submit", "spec.yaml")
    said = calls.rekindle("work", "-j", "2", expect=1).stderr
    assert said.count("rekindle:") == 1
    assert f"this process may open {number} files at once, and a run with -j 2 needs 48" in said
    assert "hint: `ulimit -n 1024`" in said
    assert not (calls.folder / "ran.txt").exists()


@pytest.mark.parametrize(("number", "hard"), [(20, False), (48, True)])
def test_as_many_open_files_as_are_needed_are_enough(calls: Project, number: int, hard: bool) -> None:
    limited(calls, number, hard=hard)
    calls.rekindle("run", "spec.yaml", "-j", "2")
    assert set(calls.states().values()) == {"completed"}


def strace(project: Project, injected: str) -> None:
    """Let system calls of each command fail. `injected` is an argument of strace's --inject."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    name = injected.partition(":")[0]
    options = ["-qq", "-o", "/dev/null", "-e", f"trace={name}", "-e", f"inject={injected}"]
    project.command = ["strace", *options, *project.command]


@pytest.mark.parametrize(
    ("injected", "said", "hint"),
    [
        ("mkdir:error=ENOSPC:when=1", "No space left on device", "make room"),
        ("mkdir:error=EACCES:when=1", "Permission denied", "check who"),
        ("mknodat,mknod:error=EIO:when=1", "Input/output error", "check the disk"),
        ("pidfd_open:error=EMFILE:when=1", "Too many open files", "`ulimit -n 1024`"),
    ],
)
def test_a_system_call_that_fails_is_one_error_and_nothing_is_lost(
    calls: Project, injected: str, said: str, hint: str
) -> None:
    calls.rekindle("submit", "spec.yaml")
    plain = calls.command
    strace(calls, injected)
    errors = calls.rekindle("work", "-j", "1", expect=1).stderr
    assert errors.count("rekindle:") == 1, errors
    assert said in errors
    assert hint in errors
    assert "unexpected" not in errors
    if "ENOSPC" not in injected:
        return
    calls.command = plain
    calls.rekindle("work")
    assert set(calls.states().values()) == {"completed"}


def test_a_file_where_a_folder_of_the_store_belongs_is_named(calls: Project) -> None:
    calls.rekindle("submit", "spec.yaml")
    run = Path(calls.folder, ".rekindle", "run")
    run.write_text("")
    said = calls.rekindle("work", expect=1).stderr
    assert f"cannot open {run}: Not a directory" in said
    assert "unexpected" not in said


def test_output_that_cannot_be_written_is_one_error(calls: Project) -> None:
    calls.rekindle("submit", "spec.yaml")
    calls.command = ["sh", "-c", 'exec "$0" "$@" > /dev/full', *calls.command]
    said = calls.rekindle("jobs", "list", "--json", expect=1).stderr
    assert "cannot write to stdout: No space left on device" in said
    assert said.count("\n") == 1


def test_a_limit_is_raised_no_further_than_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    from rekindle.engine.machine import raise_file_limit

    raised = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: raised.append(pair))
    raise_file_limit(4)
    raise_file_limit(100)
    assert raised == [(440, 4096)]
