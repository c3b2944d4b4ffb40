"""Processes of lost attempts that cannot be killed: only their own job waits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable

from rekindle.domain.states import State
from rekindle.executors import dead_workers
from rekindle.journal.processes import session_members, start_of

RUNNER = """
import sys
from rekindle.engine.running.work import work
from rekindle.engine.results import WorkOptions
from rekindle.engine.session import open_session
with open_session(sys.argv[1]) as session:
    work(session, WorkOptions(slots=2))
"""

SPEC = """
name: stuck
jobs:
  a: {run: "echo a >> ran.txt; test -e go-a || sleep 600"}
  b: {run: "echo b >> ran.txt; test -e go-b || sleep 600"}
  c: {needs: [b], run: echo c >> ran.txt}
"""


def until(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_unkillable_process_blocks_only_its_own_job(project, monkeypatch):
    project.submit(SPEC)
    runner = subprocess.Popen([sys.executable, "-c", RUNNER, str(project.folder / ".rekindle")])
    until(lambda: [project.states()[name] for name in "ab"] == [State.RUNNING] * 2)
    [a], [b] = project.attempts("a"), project.attempts("b")
    with project.session.store.read() as archive:
        pids = {worker: pid for worker, _, pid, _, _ in archive.runners.journals(a.runner)}
    for pid in (runner.pid, *pids.values()):
        os.kill(pid, signal.SIGKILL)
    runner.wait()
    until(lambda: all(start_of(pid) is None for pid in pids.values()))
    immortal = session_members(pids[a.worker])
    assert immortal

    def kill(found: Iterable[int], until: float | None = None) -> None:
        kill_any((pid for pid in found if pid not in immortal), until)

    kill_any = dead_workers.kill
    monkeypatch.setattr(dead_workers, "kill", kill)
    monkeypatch.setattr(dead_workers, "STUCK_SECONDS", 0.2)
    (project.folder / "go-b").touch()
    report = project.work(slots=1)
    assert [(name, set(pids)) for name, pids in report.stuck] == [("a", set(immortal))]
    assert project.states() == {"a": State.RUNNING, "b": State.COMPLETED, "c": State.COMPLETED}
    assert [attempt.state for attempt in project.attempts("a")] == [State.RUNNING]
    assert report.orphan_counts.lost == 1

    monkeypatch.undo()
    (project.folder / "go-a").touch()
    report = project.work(slots=1)
    assert (report.exit_code, report.stuck) == (0, ())
    assert project.states()["a"] is State.COMPLETED
    assert session_members(pids[a.worker]) == []
    assert sorted((project.folder / "ran.txt").read_text().split()) == ["a", "a", "b", "b", "c"]
    assert b.worker in pids
