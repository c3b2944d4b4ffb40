"""Which process is meant: by pid and start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from rekindle.journal.processes import boot_id, children_of, command_of, processes_with, session_members, start_of


def test_a_process_keeps_its_start_and_a_dead_one_has_none() -> None:
    child = subprocess.Popen(
        ["sleep", "60"], env={"MARK": "one two", "PATH": os.environ["PATH"]}, start_new_session=True
    )
    try:
        first = start_of(child.pid)
        assert first is not None
        assert start_of(child.pid) == first
        assert child.pid in children_of(os.getpid())
        assert session_members(child.pid) == [child.pid]
        assert (child.pid, "it") in processes_with({b"MARK=one two": "it"})
    finally:
        os.kill(child.pid, signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert start_of(child.pid) is None, "a zombie runs no more"
    assert session_members(child.pid) == []
    child.wait()
    assert start_of(child.pid) is None


def test_a_process_that_is_within_exec_is_found_beside_a_load() -> None:
    loads = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        for _ in range(150):
            child = subprocess.Popen(["setsid", "sleep", "60"], env={"MARK": "x", "PATH": os.environ["PATH"]})
            try:
                assert "sleep" in command_of(child.pid)
                assert (child.pid, "it") in processes_with({b"MARK=x": "it"})
            finally:
                child.kill()
                child.wait()
    finally:
        for load in loads:
            load.kill()
            load.wait()


def test_a_command_with_parentheses_in_its_name_is_read_rightly(tmp_path: Path) -> None:
    link = tmp_path / "a) S 1 (b"
    link.symlink_to(sys.executable)
    child = subprocess.Popen([link, "-c", "import time; time.sleep(60)"])
    try:
        assert start_of(child.pid) is not None
        assert child.pid in children_of(os.getpid())
    finally:
        child.kill()
        child.wait()


def test_the_boot_has_an_identity() -> None:
    assert len(boot_id()) == 36
    assert boot_id() == boot_id()
