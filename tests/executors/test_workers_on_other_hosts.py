"""A worker that this process cannot see lives as long as its journal changes, and nobody else writes to it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from rekindle.engine.running.ingest import JournalReader
from rekindle.engine.running.orphans import OrphanedWorker
from rekindle.executors import dead_workers
from rekindle.executors.dead_workers import AdoptedWorker, SilenceWatch
from rekindle.journal.log import JournalWriter
from rekindle.journal.processes import boot_id, host_name, pid_namespace, start_of
from rekindle.journal.records import Closed, Opened, Started
from rekindle.journal.requests import read_requests

LIMIT = 0.2

OPENED = Opened("w", "node7", "boot", 5, 6, 1.0)


def away(journal: Path, opened: Opened = OPENED) -> OrphanedWorker:
    """Return a worker of another host, which has opened its journal and started an attempt."""
    writer = JournalWriter(journal)
    writer.append(opened, Started(1, "token", 2.0))
    writer.close()
    worker = AdoptedWorker(5, 6, "boot", host="node7", journal=str(journal))
    return OrphanedWorker(JournalReader("w", journal), worker)


def watched(journal: Path, seconds: float) -> SilenceWatch:
    """Return the watch of a journal after some seconds."""
    watch, until = SilenceWatch(str(journal), LIMIT), time.monotonic() + seconds
    while time.monotonic() < until:
        watch.look()
        time.sleep(0.01)
    return watch


def test_a_worker_whose_journal_does_not_change_is_gone_after_its_attempts_were_revoked(tmp_path: Path) -> None:
    journal = tmp_path / "w.jsonl"
    journal.touch()
    watch = SilenceWatch(str(journal), LIMIT)
    began = time.monotonic()
    while not watch.over:
        assert read_requests(str(journal)) == []
        watch.look()
        time.sleep(0.01)
    assert time.monotonic() - began >= LIMIT
    assert read_requests(str(journal)) == ["revoke"]


def test_a_worker_that_touches_its_journal_is_not_gone_whatever_its_clock_says(tmp_path: Path) -> None:
    journal = tmp_path / "w.jsonl"
    journal.touch()
    watch, until = SilenceWatch(str(journal), LIMIT), time.monotonic() + 4 * LIMIT
    while time.monotonic() < until:
        watch.look()
        os.utime(journal, (time.monotonic(), time.monotonic()))  # decades ago
        time.sleep(0.01)
    assert (watch.over, read_requests(str(journal))) == (False, [])


def test_a_watcher_that_was_away_begins_to_count_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = tmp_path / "w.jsonl"
    journal.touch()
    monkeypatch.setattr(dead_workers, "_GAP_SECONDS", 0.0)
    assert not watched(journal, 3 * LIMIT).over


def test_a_spool_that_cannot_be_reached_shows_nothing_of_the_worker(tmp_path: Path) -> None:
    assert not watched(tmp_path / "gone" / "w.jsonl", 3 * LIMIT).over


def test_a_worker_on_another_host_is_asked_to_stop_and_not_gone(tmp_path: Path) -> None:
    orphan = away(tmp_path / "w.jsonl")
    for _ in range(3):
        orphan.read_journal()
    assert (orphan.process.gone, orphan.drained) == (False, False)
    assert read_requests(str(orphan.journal.path)) == ["stop"]
    orphan.process.cancel()
    assert read_requests(str(orphan.journal.path)) == ["stop", "cancel"]


@pytest.mark.parametrize("other", ["host", "pid namespace"])
def test_a_process_with_the_same_pid_is_not_the_worker(tmp_path: Path, other: str) -> None:
    here = os.getpid()
    space = pid_namespace() + (other == "pid namespace")
    boot = "boot" if other == "host" else boot_id()
    orphan = away(tmp_path / "w.jsonl", Opened("w", "node7", boot, here, start_of(here) or 0, 1.0, pid_space=space))
    orphan.read_journal()
    assert (orphan.process.gone, orphan.process.handle) == (False, -1)
    assert not orphan.process.kill_session()


def test_a_worker_of_before_the_last_boot_of_this_host_is_gone(tmp_path: Path) -> None:
    orphan = away(tmp_path / "w.jsonl", Opened("w", host_name(), "boot", 5, 6, 1.0))
    orphan.read_journal()
    assert orphan.process.gone


@pytest.mark.parametrize("end", [b"0000", b"0000\0\0\0"])
def test_nothing_is_written_to_the_journal_of_another_host(tmp_path: Path, end: bytes) -> None:
    orphan = away(tmp_path / "w.jsonl")
    path = orphan.journal.path
    writer = JournalWriter(path)
    writer.append(Closed(3.0))
    writer.close()
    path.write_bytes(path.read_bytes() + end)
    before = path.read_bytes()
    first = orphan.read_journal()
    assert first is not None
    orphan.journal.position = first.position
    last = orphan.read_journal()
    assert orphan.drained
    assert path.read_bytes() == before
    assert (last is not None and bool(last.damaged)) == (b"\0" in end)


def test_a_journal_of_another_host_that_looks_shorter_is_read_later(tmp_path: Path) -> None:
    orphan = away(tmp_path / "w.jsonl")
    before = orphan.journal.path.read_bytes()
    orphan.journal.position = len(before) + 100
    assert orphan.read_journal() is None
    assert orphan.journal.path.read_bytes() == before
