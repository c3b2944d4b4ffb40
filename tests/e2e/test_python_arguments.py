"""Wrong arguments and missing folders in the Python API: one clear error, before anything is stored or claimed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from project_folder import Project

HEAD = """
import rekindle
w = rekindle.Workflow("x")
w.job("a", run="true")
"""

WRONG = {
    "no unit": "w.run(wait_timeout='1')",
    "negative": "w.run(wait_timeout=-1)",
    "endless": "w.run(wait_timeout=float('inf'))",
    "not a number": "w.run(wait_timeout=float('nan'))",
    "a list": "w.run(wait_timeout=[1])",
    "jobs, none": "w.run(jobs=0)",
    "jobs, text": "w.run(jobs='2')",
    "supervise": "rekindle.Client().supervise('x', wait_timeout='soon')",
    "supervise, jobs": "rekindle.Client().supervise('x', jobs=1.5)",
    "work, jobs": "rekindle.Client().work(jobs=-1)",
    "undo": "rekindle.Client().undo(10**30)",
    "canary": "rekindle.Client().plan_rerun([1], canary=0)",
}


def python(project: Project, text: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", HEAD + text]
    return subprocess.run(
        command, cwd=project.folder, env=project.env, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_a_wrong_argument_is_refused_by_name_before_anything_is_stored(project: Project, call: str) -> None:
    done = python(project, f"try:\n    {call}\nexcept rekindle.RekindleError as e:\n    print(type(e).__name__, e)")
    assert done.stdout.startswith("BadValue "), done.stderr
    assert any(f"{name}=" in done.stdout for name in ("wait_timeout", "jobs", "rerun_id", "canary"))
    assert not call.startswith("w.run") or not (project.folder / ".rekindle").exists()


def test_durations_are_taken_as_on_the_command_line(project: Project) -> None:
    done = python(project, "print([w.run(wait_timeout=one).exit_code for one in ('1h30m', 5, 2.5, None)])")
    assert done.stdout == "[0, 0, 0, 0]\n", done.stderr
