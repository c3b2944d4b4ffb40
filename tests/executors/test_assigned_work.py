"""The attempts of a worker, as far as its journal was read: by the executor, or by the runner."""

from __future__ import annotations

from pathlib import Path

import pytest

from rekindle.domain.definition import Step
from rekindle.domain.states import State
from rekindle.executors.assigned_work import AssignedWork
from rekindle.journal.log import JournalWriter, read_records
from rekindle.journal.orders import Assignment, TaskTemplate
from rekindle.journal.records import Ended, Returned, Started

TASK = TaskTemplate(1, "w", "/project", (Step("main", call="m:f"),))


@pytest.fixture
def journal(tmp_path: Path) -> JournalWriter:
    return JournalWriter(tmp_path / "journal")


def assignment(number: int) -> Assignment:
    return Assignment(number, f"t{number}", number, f"j{number}", 1, 1, f"/attempts/{number}")


def started(number: int) -> Started:
    return Started(number, f"t{number}", 1.0)


def ended(number: int) -> Ended:
    return Ended(attempt=number, token=f"t{number}", state=State.COMPLETED, ended=2.0)


def test_records_of_the_runner_and_later_ones_of_the_journal_make_one_account(journal: JournalWriter) -> None:
    work = AssignedWork(journal.path)
    work.add([TASK], [assignment(number) for number in (1, 2, 3)])
    journal.append(started(1), ended(1), started(2))
    work.take_records(*_read(journal, 0))
    assert list(work.unfinished) == ["t2", "t3"]
    assert list(work.started) == ["t2"]
    journal.append(ended(2), started(3))
    work.read_journal()
    assert list(work.unfinished) == ["t3"]
    assert list(work.started) == ["t3"]
    assert not work.damaged


def test_a_record_that_both_have_read_counts_once(journal: JournalWriter) -> None:
    work = AssignedWork(journal.path)
    work.add([TASK], [assignment(1)])
    journal.append(Returned(("t1",), (1,)))
    work.read_journal()
    work.add([TASK], [assignment(1)])  # given again
    work.take_records(*_read(journal, 0))
    assert list(work.unfinished) == ["t1"], "it was given back before, not since"
    journal.append(started(1), ended(1))
    work.take_records(*_read(journal, 0))
    assert not work.unfinished


def _read(journal: JournalWriter, start: int) -> tuple[list[object], int, int]:
    records, end = read_records(journal.path, start)
    return records, start, end
