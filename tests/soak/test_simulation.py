"""Simulations of engine and store, each from one seed. A failure prints the command that plays its seed again.

`make test` plays the first 200 seeds, `make soak` 10,000."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from rekindle.domain.definition import Step
from rekindle.engine.running import orphans
from rekindle.journal.log import read_records
from rekindle.journal.orders import Assignment, TaskTemplate
from rekindle.journal.records import Ended, Started
from rekindle.store.queue import Queue
from rekindle.store.runners import Runners
from rekindle.testing.scripted import ScriptedOutcome
from rekindle.testing.simulation import Contradiction, play
from rekindle.testing.simulation.faults import Fault, Faults
from rekindle.testing.simulation.workers import SimulatedExecutor
from rekindle.testing.simulation.world import World

SHORT, LONG = 200, 10_000
CHUNK = 20


def chunks(first: int, end: int) -> list[range]:
    return [range(begin, begin + CHUNK) for begin in range(first, end, CHUNK)]


@pytest.mark.parametrize("seeds", chunks(0, SHORT), ids=str)
def test_two_hundred_seeds(seeds: range) -> None:
    for seed in seeds:
        play(seed)


@pytest.mark.soak
@pytest.mark.parametrize("seeds", chunks(SHORT, LONG), ids=str)
def test_ten_thousand_seeds(seeds: range) -> None:
    for seed in seeds:
        play(seed)


def test_a_seed_gives_the_same_log_in_every_process() -> None:
    command = [sys.executable, "-m", "rekindle.testing.simulation", "3", "--seeds", "2", "--log"]
    environment = os.environ | {"PYTHONHASHSEED": "1"}  # this process has another one
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines() == [*play(3), *play(4)]


def test_seeds_give_different_logs() -> None:
    assert play(1) != play(2)


def test_no_process_and_no_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rekindle.testing.simulation.scheduler.MEMORY_FOLDER", tmp_path)
    play(5)
    gc.collect()  # cursors in cycles keep their connections
    before = len(list(Path("/proc/self/fd").iterdir()))
    play(5)
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert list(tmp_path.iterdir()) == []


class FaultAtSync(Faults):
    """Lets one sync of a line fail: the one of the `chosen`-th line, of which a journal holds all bytes already."""

    def __init__(self, kind: Fault, chosen: int) -> None:
        super().__init__(0)
        self._kind, self._left, self.torn = kind, chosen, 0.0

    def at(self, seam: str) -> Fault | None:
        self._left -= seam == "sync"
        return self._kind if seam == "sync" and self._left == 0 else None


@pytest.mark.parametrize("kind", [Fault.KILL, Fault.IO])
@pytest.mark.parametrize("chosen", [Started, Ended])
def test_what_arrives_in_a_journal_and_is_not_synced_counts(kind: Fault, chosen: type, tmp_path: Path) -> None:
    world = World(0, FaultAtSync(kind, 3 if chosen is Started else 4))  # behind the folder and the first line
    world.durable = True
    work = [Assignment(1, "token", 7, "job", 1, 1, str(tmp_path / "folder"))]
    with world.entered():
        executor = SimulatedExecutor(world, str(tmp_path), lambda _: ScriptedOutcome(), world.start("runner"))
        info = executor.open()
        executor.assign(info.name, [TaskTemplate(1, "one", str(tmp_path), (Step("one", run="true"),))], work)
        (worker,) = executor.made
        while worker.is_ready:
            with world.running(worker.process):
                worker.step()
    kinds = Counter(type(record) for record in read_records(info.journal)[0])
    killed = kind is Fault.KILL
    assert worker.process.alive is not killed
    assert kinds[chosen] == (1 if killed else 2)  # a worker that lives writes the line again
    assert (executor.executions["token"].end is not None) == (Ended in kinds)
    assert sum("journals" in line and '"token"' in line for line in world.log) == len(kinds.keys() & {Started, Ended})


MUTATIONS: dict[str, list[tuple[object, str, object]]] = {
    "the children of completed jobs are not released": [(Queue, "completed", lambda _self, _jobs: None)],
    "a journal that its worker has not made is not sealed": [(orphans, "seal_journal", lambda *_: True)],
    "attempts that a worker may still start are given back": [
        (orphans.OrphanedWorker, "may_start", lambda _self, _token: False)
    ],
    "a lost lease is ignored": [(Runners, "renew", lambda *_: True), (Runners, "is_current", lambda *_: True)],
}
"""What an error in the engine or the store would do; some of the first seeds must find each."""


@pytest.mark.parametrize("name", MUTATIONS)
def test_an_error_is_found_by_some_of_the_first_seeds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for one in MUTATIONS[name]:
        monkeypatch.setattr(*one)
    assert first_failure(play, SHORT) is not None, f"no seed has noticed that {name}"


def first_failure(one: Callable[[int], object], most: int) -> int | None:
    for seed in range(most):
        try:
            one(seed)
        except Contradiction:
            return seed
    return None
