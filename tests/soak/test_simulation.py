"""Simulations of engine and store, each from one seed. A failure prints the command that plays its seed again.

`make test` plays the first 200 seeds, `make soak` 10,000."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rekindle.engine.running import orphans
from rekindle.store.queue import Queue
from rekindle.store.runners import Runners
from rekindle.testing.simulation import Contradiction, play

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
    before = len(list(Path("/proc/self/fd").iterdir()))
    play(5)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert list(tmp_path.iterdir()) == []


MUTATIONS: dict[str, tuple[object, str, object]] = {
    "the children of completed jobs are not released": (Queue, "completed", lambda _self, _jobs: []),
    "a journal that its worker has not made is not sealed": (orphans, "seal_journal", lambda *_: True),
    "attempts that a worker may still start are given back": (
        orphans.OrphanedWorker,
        "may_start",
        lambda _self, _token: False,
    ),
    "a lost lease is ignored": (Runners, "renew", lambda *_: True),
}
"""What an error in the engine or the store would do; some of the first seeds must find each."""


@pytest.mark.parametrize("name", MUTATIONS)
def test_an_error_is_found_by_some_of_the_first_seeds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*MUTATIONS[name])
    assert first_failure(play, SHORT) is not None, f"no seed has noticed that {name}"


def first_failure(one: Callable[[int], object], most: int) -> int | None:
    for seed in range(most):
        try:
            one(seed)
        except Contradiction:
            return seed
    return None
