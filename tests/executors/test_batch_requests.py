"""What a batch executor and a query ask of the spool: on a shared file system each open is a request to its server."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_placement_thread import ScriptedPlacement

from rekindle.domain.definition import Step
from rekindle.domain.packing import Capacity
from rekindle.engine.running.assignments import TaskTemplates
from rekindle.engine.running.dispatch import Dispatcher
from rekindle.executors.batches import BatchExecutor
from rekindle.journal.batches import BatchManifest, ElementWait, read_attempt_waits, write_manifest, write_waits
from rekindle.journal.log import create_journal
from rekindle.journal.orders import Assignment, TaskTemplate
from rekindle.journal.records import Closed, Opened

NUMBER = 100

_opened: list[str] = []
_watched = 0  # the thread whose files are noted; 0: none


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if event == "open" and _watched == threading.get_ident() and isinstance(args[0], str):
        _opened.append(args[0])


sys.addaudithook(_hook)


def opened(call: Callable[[], object]) -> list[str]:
    """Return the names of the files that a call opens."""
    global _watched
    _opened.clear()
    _watched = threading.get_ident()  # the placement's thread has files of its own
    try:
        call()
    finally:
        _watched = 0
    return [Path(one).name for one in _opened]


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[BatchExecutor]:
    made = BatchExecutor(ScriptedPlacement(), str(tmp_path))
    yield made
    made.leave()


def pending(executor: BatchExecutor, folder: Path) -> Dispatcher:
    """Give an executor elements with one attempt each, and submit them."""
    dispatcher = Dispatcher(executor, TaskTemplates(str(folder)), Capacity(0.0, 0), NUMBER)
    task = TaskTemplate(1, "wf", str(folder), (Step("main", run="true"),))
    for number in range(NUMBER):
        worker = executor.open()
        dispatcher.add(worker)
        executor.assign(worker.name, [task], [Assignment(number, f"token{number}", number, "job", 1, 1, str(folder))])
    executor.wait(0.0)
    return dispatcher


def test_elements_that_have_not_started_are_looked_for_without_opening_their_journals(executor, tmp_path):
    dispatcher = pending(executor, tmp_path)
    assert opened(executor.gone) == []
    assert opened(dispatcher.read_journals) == []


def test_the_first_elements_that_start_among_many_are_seen(executor, tmp_path):
    dispatcher = pending(executor, tmp_path)
    first, second = list(dispatcher.workers.values())[:2]
    for one in (first, second):
        journal = create_journal(one.info.journal, Opened(one.info.name, "host", "boot", 1, 1, 0.0), durable=False)
        assert journal is not None
        if one is second:
            journal.append(Closed(at=1.0))
    assert [one.worker for one in dispatcher.read_journals()] == [first.info.name, second.info.name]
    assert [one.name for one in executor.gone()] == [second.info.name]


def test_the_waits_of_attempts_are_found_without_reading_the_orders_of_elements(tmp_path):
    store = str(tmp_path)
    for token in ("0" * 16, "1" * 16):
        attempts = [[f"{token}-{index}a", f"{token}-{index}b"] for index in range(NUMBER)]
        workers = tuple(f"{token}-{index}" for index in range(NUMBER))
        place = write_manifest(BatchManifest(token, store, workers), attempts)
        write_waits(place, {index: ElementWait("Priority") for index in range(NUMBER - 1)})
    names = opened(lambda: read_attempt_waits(store))
    assert len(names) == 6, names
    found = read_attempt_waits(store)
    assert found[f"{'1' * 16}-7b"] == ElementWait("Priority")
    assert f"{'0' * 16}-{NUMBER - 1}a" not in found
    assert len(found) == 2 * 2 * (NUMBER - 1)
