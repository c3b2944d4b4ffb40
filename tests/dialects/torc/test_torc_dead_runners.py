"""A runner died with its worker and its job, as where torc's document says that the node was out of memory."""

from __future__ import annotations

import pytest
from torc_folder import Torc, kill_runner

SPEC = 'name: cut\njobs: [{name: long, command: "test -e go || { touch began; exec sleep 600; }"}]\n'


@pytest.fixture
def cut(torc: Torc) -> Torc:
    """A job that is `submitted`, though its processes and their runner were killed."""
    torc.create(SPEC)
    kill_runner(torc, "began", "long")
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
