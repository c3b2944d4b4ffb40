"""The worker of an element: its orders in a file, the end of its slice, and the signal of its engine."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rekindle.domain.definition import Step
from rekindle.domain.states import State
from rekindle.executors.elements import Element
from rekindle.journal.batches import BatchManifest, write_manifest
from rekindle.journal.log import read_records, seal_journal
from rekindle.journal.orders import Assign, Assignment, Cancel, Drain, Recall, TaskTemplate
from rekindle.journal.records import Closed, Ended, Record, Returned, Sealed, Started


class ElementHarness:
    """An element with orders, and its worker."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.element = Element(str(folder), "w0")
        self.place = write_manifest(BatchManifest("0123456789abcdef", str(folder), ("w0",)))
        self.processes: list[subprocess.Popen[bytes]] = []
        self.work: list[Assignment] = []

    def orders(self, *commands: str, seconds: float = 60.0) -> None:
        """Write orders for one attempt of each command."""
        for number, command in enumerate(commands, 1):
            task = TaskTemplate(
                id=number, workflow="wf", directory=str(self.folder), steps=(Step("main", run=command),)
            )
            one = Assignment(
                number, secrets.token_hex(8), number, f"job{number}", 1, number, f"{self.folder}/attempts/00/{number}"
            )
            self.work.append(one)
            self.element.order(task, Assign((one,)))
        self.element.order(Drain(seconds))

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", "rekindle.worker.element", self.place, "0"]
        process = subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def records(self, kind: type[Record] | None = None) -> list[Record]:
        found, _ = read_records(self.element.journal)
        return [one for one in found if kind is None or isinstance(one, kind)]


@pytest.fixture
def harness(tmp_path: Path):
    made = ElementHarness(tmp_path)
    yield made
    for process in made.processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def until(condition: Callable[[], object]) -> None:
    limit = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_an_element_runs_its_orders_and_ends(harness):
    harness.orders("echo one >> ran.txt", "echo two >> ran.txt")
    assert harness.start().wait(30) == 0
    assert (harness.folder / "ran.txt").read_text().split() == ["one", "two"]
    assert [one.state for one in harness.records(Ended)] == [State.COMPLETED, State.COMPLETED]
    assert isinstance(harness.records()[-1], Closed)


def test_what_does_not_start_within_the_slice_is_given_back(harness):
    harness.orders("sleep 0.6", "echo late >> ran.txt", seconds=0.3)
    assert harness.start().wait(30) == 0
    [returned] = harness.records(Returned)
    assert returned.attempts == (2,)
    assert [one.attempt for one in harness.records(Ended)] == [1]
    assert not (harness.folder / "ran.txt").exists()


def test_a_second_start_of_an_element_does_nothing_beside_the_first(harness):
    harness.orders("echo began >> ran.txt; while ! test -e go; do sleep 0.02; done")
    first = harness.start()
    until(lambda: harness.records(Started))
    assert harness.start().wait(30) == 0
    assert first.poll() is None
    (harness.folder / "go").touch()
    assert first.wait(30) == 0
    assert (harness.folder / "ran.txt").read_text().split() == ["began"]


def test_an_element_whose_journal_is_sealed_does_nothing(harness):
    harness.orders("echo began >> ran.txt")
    assert seal_journal(harness.element.journal, Sealed("a test", time.time()))
    assert harness.start().wait(30) == 0
    assert not (harness.folder / "ran.txt").exists()


def test_orders_that_are_added_later_are_read(harness):
    harness.orders("echo $$ > pid; sleep 60", "echo two >> ran.txt")
    worker = harness.start()
    until(lambda: harness.records(Started))
    harness.element.order(Recall())
    until(lambda: harness.records(Returned))
    harness.element.order(Cancel((harness.work[0].token,)))
    assert worker.wait(30) == 0
    assert [one.state for one in harness.records(Ended)] == [State.CANCELED]


def test_a_torn_order_of_a_dead_runner_is_passed_over(harness):
    harness.orders("sleep 60")
    worker = harness.start()
    until(lambda: harness.records(Started))
    with open(f"{harness.element.scratch}/orders", "ab") as file:
        file.write(b'{"type":"can')
    time.sleep(1.5)
    harness.element.order(Cancel((harness.work[0].token,)))
    assert worker.wait(30) == 0
    assert [one.state for one in harness.records(Ended)] == [State.CANCELED]


@pytest.mark.parametrize("everyone", [True, False], ids=["all processes", "the worker"])
def test_the_end_by_its_engine_is_not_journaled_as_the_attempts_failure(harness, everyone):
    """Slurm sends SIGTERM to all processes at once, other engines to the worker."""
    harness.orders("echo $$ > pid; sleep 60", "echo two >> ran.txt")
    worker = harness.start()
    until(lambda: (harness.folder / "pid").exists() and (harness.folder / "pid").read_text().strip())
    if everyone:
        os.kill(int((harness.folder / "pid").read_text()), signal.SIGTERM)
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait(30) == 0
    assert harness.records(Ended) == []
    assert harness.records(Closed) == []
    [returned] = harness.records(Returned)
    assert returned.attempts == (2,)


def test_the_start_of_an_element_imports_no_slow_module_that_few_attempts_need():
    slow = {"pathlib", "urllib", "shutil", "tempfile", "subprocess", "logging", "random", "asyncio", "ctypes"}
    code = "import sys; sys.modules['typing_extensions'] = None; import rekindle.worker.element; print(*sys.modules)"
    # Without site: the installation may import more. msgspec uses typing_extensions only if it is there.
    done = subprocess.run(
        [sys.executable, "-S", "-P", "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert {*slow, "threading", "traceback"} & set(done.stdout.split()) == set()
