"""The heartbeat of a worker, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rekindle.journal.processes import start_of
from rekindle.journal.requests import Request, read_requests, send_request
from rekindle.worker import heartbeat
from rekindle.worker.heartbeat import REVOKED_EXIT_CODE, RevocationCheck

BEATING = """
import os, subprocess, sys, time
from rekindle.journal.log import JournalWriter
from rekindle.journal.records import Closed
from rekindle.worker import heartbeat
heartbeat.TOUCH_SECONDS, heartbeat.FENCE_SECONDS = 0.05, 0.3
journal = JournalWriter(sys.argv[1])
heartbeat.Heartbeat(journal).start()
child = subprocess.Popen(["sleep", "60"], start_new_session=True)
print(child.pid, flush=True)
if sys.argv[2] == "unreachable":
    os.close(journal.fd)  # what a touch then raises is an OSError, as from a file system that is not there
if sys.argv[2] == "killed":
    child.wait()
    journal.append(Closed(1.0))
time.sleep(3 if sys.argv[2] == "unreachable" else 60)
"""


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """A journal in a spool that other hosts may use."""
    folder = tmp_path / "journal"
    folder.mkdir()
    (tmp_path / "database").write_text("postgresql://server/\n")
    return folder / "w.jsonl"


def beating(journal: Path, how: str = "") -> tuple[subprocess.Popen[str], int]:
    """Start a process with a heartbeat. Return it with the pid of its child."""
    process = subprocess.Popen([sys.executable, "-c", BEATING, journal, how], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as said:
        return process, int(said.readline())


def is_running(pid: int) -> bool:
    return start_of(pid) is not None


def test_a_worker_touches_its_journal_whatever_it_does(journal: Path) -> None:
    process, child = beating(journal)
    dates, limit = set(), time.monotonic() + 30
    while len(dates) < 5:
        assert time.monotonic() < limit
        dates.add(journal.stat().st_mtime_ns)
        time.sleep(0.01)
    assert is_running(child)
    send_request(str(journal), Request.REVOKE)
    assert process.wait(30) == REVOKED_EXIT_CODE


def test_a_worker_whose_attempts_were_revoked_kills_them_and_journals_nothing(journal: Path) -> None:
    process, child = beating(journal, "killed")  # it would journal the end of its child
    send_request(str(journal), Request.REVOKE)
    assert process.wait(30) == REVOKED_EXIT_CODE
    assert (is_running(child), journal.read_bytes()) == (False, b"")


def test_a_worker_that_cannot_touch_its_journal_ends_itself(journal: Path) -> None:
    process, child = beating(journal, "unreachable")
    assert process.wait(30) == REVOKED_EXIT_CODE
    assert not is_running(child)


def test_where_no_other_host_uses_the_spool_a_worker_goes_on(journal: Path) -> None:
    (journal.parent.parent / "database").unlink()
    process, child = beating(journal, "unreachable")
    assert process.wait(30) == 0
    assert is_running(child)
    os.kill(child, 9)


def test_a_worker_makes_the_file_that_requests_will_be_in(journal: Path) -> None:
    process, _ = beating(journal)
    assert read_requests(str(journal)) == []
    assert journal.with_name("w.jsonl.requests").exists()
    send_request(str(journal), Request.REVOKE)
    process.wait(30)


def test_a_process_that_was_stopped_looks_for_a_revocation(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[bool] = []
    check = RevocationCheck(str(journal), lambda: found.append(True))
    send_request(str(journal), Request.REVOKE)
    check()
    assert found == []  # too little time has passed for a revocation
    monkeypatch.setattr(heartbeat, "FENCE_SECONDS", -1.0)
    check()
    assert found == [True]
