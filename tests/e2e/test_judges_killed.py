"""A runner that is killed while a judge is asked: the question is asked again, and its answer applied once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rekindle.domain.selection import Selection
from rekindle.domain.states import Cause, State
from rekindle.engine.queries import job_queries, workflow_queries
from rekindle.engine.queries.selections import select
from rekindle.engine.session import open_session
from stores import new_store_url

SPEC = """
name: judged
jobs:
  a:
    run: "echo x >> ran; test $(wc -l < ran) -ge 3 || exit 3"
    judge: "echo x >> asked; sleep 0.3; echo retry; echo x >> answered"
  after: {needs: [a], run: "true"}
"""


def rekindle(store: str, folder: Path, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "rekindle", "--store", store, *words]
    return subprocess.Popen(command, cwd=folder, start_new_session=True, stdout=subprocess.DEVNULL)


def lines(path: Path) -> int:
    return path.read_text().count("\n") if path.exists() else 0


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_each_answer_leads_to_one_rerun_whenever_the_runner_is_killed(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    store = str(tmp_path / ".rekindle")
    if kind == "postgres":
        store = new_store_url(request.getfixturevalue("postgres_server"), tmp_path / "spool")
    (tmp_path / "spec.yaml").write_text(SPEC)
    assert rekindle(store, tmp_path, "submit", "spec.yaml").wait(120) == 0
    # At most two kills for each of the two judgements: it is given up when a third process has died while it was asked.
    for seam, delay in (("asked", 0.0), ("answered", 0.0), ("ran", 0.1), ("answered", 0.05)):
        runner = rekindle(store, tmp_path, "work", "-j", "1")
        before, limit = lines(tmp_path / seam), time.monotonic() + 60
        while lines(tmp_path / seam) == before and runner.poll() is None:
            assert time.monotonic() < limit, f"nothing has {seam}"
            time.sleep(0.01)
        time.sleep(delay)
        if runner.poll() is None:
            os.killpg(runner.pid, signal.SIGKILL)
        runner.wait(60)
    assert rekindle(store, tmp_path, "work", "-j", "1").wait(120) == 0
    with open_session(store) as session:
        with session.store.read() as archive:
            assert archive.check() == []
            assert archive.judgements.open(None) == []
        jobs = select(session, Selection(everything=True))
        assert {row.job.state for row in job_queries.jobs(session, jobs)} == {State.COMPLETED}
        attempts = [one for one in job_queries.attempts(session, jobs[:1]) if one.cause is Cause.EXIT]
        judged = [record.request["attempt"] for record, _ in workflow_queries.reruns(session) if record.kind == "judge"]
    assert sorted(judged) == [one.id for one in attempts]
    assert lines(tmp_path / "asked") >= len(judged) >= 1
