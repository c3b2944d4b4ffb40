"""Jobs added by dynamic actions exist once, whichever process dies between the job's end and its ingest."""

from __future__ import annotations

import os
import signal
from collections import Counter

import psutil

from project_folder import Project, until

SPEC = """
name: acted
jobs:
  a: {run: "cp action.json $REKINDLE_ACTION; touch started; while ! test -e go; do sleep 0.02; done; echo a >> ran.txt"}
  b: {run: echo b >> ran.txt, needs: [a]}
"""

ACTION = """{"add": [{"name": "x", "run": "echo x >> ran.txt"}],
 "detour": [{"name": "y", "run": "echo y >> ran.txt"}]}"""


def journalled_end(project: Project) -> bool:
    return any('"ended"' in path.read_text() for path in (project.folder / ".rekindle" / "journal").glob("*.jsonl"))


def test_a_kill_between_a_jobs_end_and_the_store_applies_its_actions_once(project: Project) -> None:
    project.spec(SPEC)
    project.write("action.json", ACTION)
    runner = project.start("run", "spec.yaml", "-j", "1")
    until(lambda: (project.folder / "started").exists(), "a runs")
    os.kill(runner.pid, signal.SIGSTOP)
    workers = psutil.Process(runner.pid).children(recursive=True)
    project.write("go", "")
    until(lambda: journalled_end(project), "the end of a is in the journal")
    os.kill(runner.pid, signal.SIGKILL)
    runner.wait(timeout=60)
    psutil.wait_procs(workers, timeout=60)
    assert set(project.states()) == {"a", "b"}

    project.rekindle("work", "-j", "2")
    project.rekindle("work", "-j", "2")
    assert project.states() == dict.fromkeys("abxy", "completed")
    ran = project.ran()
    assert Counter(ran) == dict.fromkeys("abxy", 1)
    assert ran.index("y") < ran.index("b")
    assert len(project.attempts()) == 4
