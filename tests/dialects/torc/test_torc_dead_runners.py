"""A runner died with its worker and its job, as where torc's document says that the node was out of memory."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from torc_folder import Torc

SPEC = 'name: cut\njobs: [{name: long, command: "test -e go || { touch began; exec sleep 600; }"}]\n'


@pytest.fixture
def cut(torc: Torc) -> Torc:
    """A job that is `submitted`, though its processes and their runner were killed."""
    torc.create(SPEC)
    runner = subprocess.Popen(["torc", "jobs", "run"], cwd=torc.folder, start_new_session=True)
    try:
        wait_until((torc.folder / "began").exists)
        wait_until(lambda: torc.statuses() == {"long": "submitted"})
    finally:
        for pid in [*descendants(runner.pid), runner.pid]:
            os.kill(pid, signal.SIGKILL)
        runner.wait()
    assert torc.statuses() == {"long": "submitted"}
    return torc


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("workflows restart", "ready"),
        ("workflows reset-status", "uninitialized"),
        ("workflows reset-job-status 1", "uninitialized"),
        ("workflows reset-status --failed-only", "ready"),
        ("jobs reset-status long", "uninitialized"),
        ("workflows cancel 1", "canceled"),
    ],
)
def test_no_job_stays_submitted(cut: Torc, line: str, status: str) -> None:
    assert cut(*line.split()).code == 0
    assert cut.statuses(f"status={status}") == {"long": status}


def test_the_document_s_first_scenario(cut: Torc) -> None:
    assert cut("workflows", "restart", "--dry-run").code == 0
    assert cut("workflows", "restart").code == 0
    assert cut.statuses("status=ready") == {"long": "ready"}
    cut.write("go", "")
    assert cut("jobs", "run").code == 0
    found = cut.json("results", "list", "--all-runs")["results"]
    assert [(one["attempt_id"], one["cause"]) for one in found] == [(1, "lost"), (2, None)]


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for a condition, at most a minute."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


def descendants(pid: int) -> list[int]:
    """Return the descendants of a process, nearest first."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [one for child in map(int, children) for one in (child, *descendants(child))]
