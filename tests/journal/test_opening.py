"""Who creates a worker's journal decides whether the worker works."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from rekindle.domain.errors import JournalError
from rekindle.journal.log import create_journal, first_record, is_sealed, read_records, seal_journal
from rekindle.journal.records import Opened, Sealed

OPENED = Opened(worker="w", host="h", boot_id="b", pid=7, pid_start=8, at=1.0)
SEALED = Sealed(by="pid 9 on h", at=2.0)


def test_a_worker_that_comes_first_has_its_journal(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    journal = create_journal(str(path), OPENED)
    assert journal is not None
    journal.close()
    assert not seal_journal(path, SEALED)
    assert read_records(path)[0] == [OPENED]
    assert not is_sealed(path)


def test_a_worker_that_comes_late_has_none(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    assert seal_journal(path, SEALED)
    assert create_journal(str(path), OPENED) is None
    assert read_records(path)[0] == [SEALED]
    assert seal_journal(path, Sealed(by="another", at=3.0)), "whoever asks later finds it sealed"
    assert first_record(path) == SEALED


def test_an_empty_journal_is_somebodys(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    path.touch()
    assert first_record(path) is None
    assert not seal_journal(path, SEALED)
    assert create_journal(str(path), OPENED) is None


def test_a_torn_first_line_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    seal_journal(path, SEALED)
    path.write_bytes(path.read_bytes()[:-1])
    assert first_record(path) is None


def test_of_many_at_once_one_decides(tmp_path: Path) -> None:
    for number in range(100):
        path = tmp_path / f"{number}.jsonl"
        barrier = threading.Barrier(3)
        opened: list[bool] = []
        sealed: list[bool] = []

        def begin(path: Path = path, barrier: threading.Barrier = barrier, opened: list[bool] = opened) -> None:
            barrier.wait()
            journal = create_journal(str(path), OPENED)
            opened.append(journal is not None)
            if journal is not None:
                journal.close()

        def keep(path: Path = path, barrier: threading.Barrier = barrier, sealed: list[bool] = sealed) -> None:
            barrier.wait()
            seal_journal(path, SEALED)
            sealed.append(True)

        threads = [threading.Thread(target=one) for one in (begin, keep, keep)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(sealed) == 2
        assert opened == [not is_sealed(path)]
        assert len(read_records(path)[0]) == 1


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"none/w\.jsonl"):
        seal_journal(tmp_path / "none" / "w.jsonl", SEALED)
