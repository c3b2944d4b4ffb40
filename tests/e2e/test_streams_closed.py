"""Closed output: a run continues to its end, and a command that reads ends with at most one line of error."""

from __future__ import annotations

import os
import pty
import subprocess

import pytest

from project_folder import Project, until

FAILING = """
name: many
jobs:
  a: {matrix: {i: {range: [0, 6]}}, run: "echo ${matrix.i} >> ran.txt; sh -c 'echo no $0 >&2; exit 3' ${matrix.i}"}
"""


def in_shell(project: Project, text: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which `rekindle` is the command."""
    line = ["bash", "-c", text]
    return subprocess.run(
        line, cwd=project.folder, env=project.env, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize(
    "command",
    [
        "rekindle run spec.yaml -j 1 2>&1 | head -1",
        "rekindle run spec.yaml -j 1 2>&1 | grep -m1 many",
        "rekindle run spec.yaml -j 1 >&- 2>&- <&-",
        "rekindle run spec.yaml -j 1 --json >/dev/full 2>/dev/full",
    ],
)
def test_a_run_with_closed_output_continues_and_keeps_its_exit_code(project: Project, command: str) -> None:
    project.spec(FAILING)
    done = in_shell(project, f"{command}; exit ${{PIPESTATUS[0]}}")
    assert done.returncode == 2, done.stderr
    assert sorted(project.ran()) == list("012345")
    assert not any(word in done.stderr for word in ("Traceback", "unexpected", "Exception"))


@pytest.mark.parametrize(
    "command",
    [
        "work -j 1 2>&1 | true",
        "supervise many -j 1 --max-failure-percent 100 >&- 2>&- <&-",
        "rerun --all --yes --work -j 1 | true",
        "restart --yes --work -j 1 >/dev/full 2>/dev/full",
        "torc jobs run 1 -j 1 >/dev/full",
    ],
)
def test_every_command_that_runs_jobs_continues_to_the_end(project: Project, command: str) -> None:
    project.spec(FAILING)
    project.rekindle("submit", "spec.yaml")
    if command.startswith("re"):
        project.rekindle("cancel", "--all")
    done = in_shell(project, f"rekindle {command}; exit ${{PIPESTATUS[0]}}")
    assert done.returncode == 2, done.stderr
    assert set(project.ran()) == set("012345")


def test_launches_go_on_without_a_reader(project: Project) -> None:
    work = "spec: {_tasks: [{_fw_name: ScriptTask, script: echo ran >> ../ran.txt}]}"
    project.write("fw.yaml", "fws:\n" + "".join(f"- {{fw_id: {number}, {work}}}\n" for number in (1, 2, 3)))
    project.rekindle("lpad", "add", "fw.yaml")
    done = in_shell(project, "rekindle rlaunch rapidfire 2>&1 | true; exit ${PIPESTATUS[0]}")
    assert done.returncode == 0, done.stderr
    assert project.ran() == ["ran"] * 3


def test_a_run_goes_on_when_its_terminal_is_gone_and_hangups_are_ignored(project: Project) -> None:
    """After the terminal's end, every write fails with EIO."""
    project.spec(
        "name: s\njobs:\n  a: {run: 'until test -e go; do sleep 0.02; done'}\n  b: {needs: [a], run: exit 3}\n"
    )
    keyboard, terminal = pty.openpty()
    run = subprocess.Popen(
        ["nohup", *project.command, "run", "spec.yaml", "-j", "1"],
        cwd=project.folder,
        env=project.env,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    project.started.append(run)
    os.close(terminal)
    until(
        lambda: project.has_store() and project.states().get("a") == "running",
        "a runs",
    )
    os.close(keyboard)
    project.write("go", "")
    assert run.wait(timeout=60) == 2
    assert project.states() == {"a": "completed", "b": "failed"}


FULL = "rekindle: cannot write to stdout: No space left on device\n"

LOOKING = (
    ("status >&-", 1, "rekindle: cannot write to stdout: it is closed\n"),
    ("status --json >/dev/full", 1, FULL),
    ("logs 1 >/dev/full", 1, FULL),
    ("rerun --all --dry-run >/dev/full", 1, FULL),
    ("--help >/dev/full", 1, FULL),
    ("status 2>&-", 0, ""),
    ("status <&-", 0, ""),
    ("status 2>/dev/full", 0, ""),
    ("status >&- 2>&- <&-", 1, ""),
    ("jobs list | true", 1, ""),
)


def test_a_command_that_looks_ends_with_one_line_or_works(project: Project) -> None:
    project.spec("name: s\njobs: {a: {run: echo a}}\n")
    project.rekindle("run", "spec.yaml")
    for command, code, said in LOOKING:
        done = in_shell(project, f"rekindle {command}; exit ${{PIPESTATUS[0]}}")
        assert (done.returncode, done.stderr) == (code, said), command
        assert code or "completed" in done.stdout, command
