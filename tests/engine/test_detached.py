"""Attempts that are claimed for a process without the store: they start at most once, and no runner ends them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from engine_project import Project

from rekindle.domain.errors import Refused
from rekindle.domain.models import GivenFolder
from rekindle.domain.selection import AllOf
from rekindle.domain.states import State
from rekindle.engine.queries import job_queries
from rekindle.engine.running.detached import DetachedOrder, collect, expect_journal, release, reserve
from rekindle.engine.running.detached_run import run

SPEC = """
name: apart
defaults: {workdir: attempt}
jobs:
  first: {steps: [{name: one, run: "echo seen > made; echo ran >> ${params.log}"}, {name: two, run: "test -e made"}]}
  second: {needs: [first], run: "true"}
params: {log: "LOG"}
"""


@pytest.fixture
def order(project: Project) -> DetachedOrder:
    """The order for `first`, to be run in the folder `there`."""
    project.submit(SPEC.replace("LOG", str(project.folder / "log")))
    there = project.folder / "there"
    there.mkdir()
    found = reserve(project.session, AllOf(), lambda *_: GivenFolder(str(there), shared=True), "far")
    assert found is not None
    expect_journal(project.session, job_queries.attempt(project.session, found.assignment.attempt), str(there / "own"))
    return found


def start(project: Project, order: DetachedOrder) -> State | None:
    there = project.folder / "there"
    ended = run(order, str(there / "own"), str(there), lambda: None).ended
    return None if ended is None else ended.state


def test_an_attempt_runs_in_its_folder_and_is_collected(project: Project, order: DetachedOrder) -> None:
    assert project.states() == {"first": State.QUEUED, "second": State.WAITING}
    assert start(project, order) is State.COMPLETED
    assert (project.folder / "there/made").exists()
    assert collect(project.session).ended == (order.assignment.attempt,)
    assert project.states() == {"first": State.COMPLETED, "second": State.READY}
    (attempt,) = job_queries.attempts(project.session, [project.job("first")])
    assert [step.state for step in attempt.steps] == [State.COMPLETED] * 2
    assert collect(project.session).ended == ()
    with project.session.store.read() as archive:
        assert archive.runners.detached() == []


def test_a_runner_neither_waits_for_it_nor_takes_it_over(project: Project, order: DetachedOrder) -> None:
    began = time.monotonic()
    project.work()
    assert time.monotonic() - began < 20
    assert project.states() == {"first": State.QUEUED, "second": State.WAITING}
    assert start(project, order) is State.COMPLETED
    collect(project.session)
    project.work()
    assert set(project.states().values()) == {State.COMPLETED}


def test_there_is_nothing_to_reserve_but_ready_jobs(project: Project, order: DetachedOrder) -> None:
    assert order.assignment.name == "first"
    assert reserve(project.session, AllOf(), lambda *_: GivenFolder("/", shared=True), "far") is None


def test_an_attempt_that_was_given_back_never_starts(
    project: Project, order: DetachedOrder, lines: Callable[[Path], list[str]]
) -> None:
    release(project.session, [order.assignment.attempt], "given up")
    assert project.states()["first"] is State.READY
    with pytest.raises(Refused):
        start(project, order)
    project.work()
    assert lines(project.folder / "log") == ["ran"]


@pytest.mark.parametrize("pause", [0.0, 0.2, 0.4, 0.6])
def test_either_the_start_or_the_release_comes_first(
    project: Project, order: DetachedOrder, lines: Callable[[Path], list[str]], pause: float
) -> None:
    states: list[State | None] = []

    def attempt() -> None:
        try:
            states.append(start(project, order))
        except Refused:
            states.append(None)

    thread = threading.Thread(target=attempt)
    thread.start()
    time.sleep(pause)
    release(project.session, [order.assignment.attempt], "given up", running=False)
    thread.join(30)
    collect(project.session)
    if states == [None]:
        assert project.states()["first"] is State.READY
        assert lines(project.folder / "log") == []
    else:
        assert states == [State.COMPLETED]
        assert project.states()["first"] is State.COMPLETED
        assert lines(project.folder / "log") == ["ran"]
    project.check()
