"""Workers that a host forks behave as workers of an interpreter of their own."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from engine_project import Project

from forked_workers import WorkerHost
from rekindle.domain.states import Cause, State

LOOK = """\
import json, os
worker = os.getppid()
with open(f"/proc/{worker}/status") as file:
    status = dict(line.split(":", 1) for line in file)
found = {name: status[name].strip() for name in ("PPid", "SigBlk", "SigIgn", "SigCgt", "Umask", "NoNewPrivs")}
found["SigIgn"] = int(found["SigIgn"], 16) & 0x7FFF_FFFF  # posix_spawn(3) ignores two that are libc's own
found |= {"leads": os.getsid(worker) == worker, "folder": os.readlink(f"/proc/{worker}/cwd") == os.getcwd()}
files = [os.readlink(f"/proc/{worker}/fd/{fd}").split(":")[0] for fd in os.listdir(f"/proc/{worker}/fd")]
found |= {"open": sorted(os.path.splitext(name)[1] or os.path.basename(name) for name in files)}  # names are random
found |= {"variables": sorted(os.environ)}
with open("found.json", "w") as file:
    json.dump(found, file)
"""


def looked(folder: Path) -> dict[str, Any]:
    (folder / "look.py").write_text(LOOK)
    project = Project(folder)
    project.run(f"{{name: look, jobs: {{look: {{run: exec {sys.executable} look.py}}}}}}")
    project.session.close()
    found: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return found


def test_both_have_the_same_session_signals_descriptors_and_variables(tmp_path, monkeypatch):
    found = []
    for way in ("forked", "fresh"):
        folder = tmp_path / way
        folder.mkdir()
        mask = os.umask(0o027)
        try:
            found.append(looked(folder))
        finally:
            os.umask(mask)
        monkeypatch.undo()  # of what tests/conftest.py has set
    forked, fresh = found
    # A new process has those of this process besides that are not closed by exec(2).
    assert not Counter(forked.pop("open")) - Counter(fresh.pop("open"))
    assert forked == fresh
    assert forked["PPid"] == str(os.getpid())
    assert forked["leads"]


def test_one_that_is_killed_is_reaped_and_its_attempt_is_lost(project):
    project.run("{name: killed, jobs: {a: {run: 'echo $PPID > pid; kill -9 $PPID; sleep 60'}}}")
    [attempt] = project.attempts("a")
    assert (project.states()["a"], attempt.cause) == (State.FAILED, Cause.LOST)
    with pytest.raises(ProcessLookupError):
        os.kill(int((project.folder / "pid").read_text()), 0)


def test_what_python_reads_when_it_starts_needs_a_new_interpreter():
    host = WorkerHost({"PYTHONUTF8": "0"})
    words = [sys.executable, "-P", "-m", "rekindle.worker"]
    started = host.spawn("/bin/true", [*words, "name"], {"PYTHONUTF8": "1"})
    assert os.waitpid(started, 0) == (started, 0)
    assert host._link is None
