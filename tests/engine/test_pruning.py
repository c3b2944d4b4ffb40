"""Prunes beside reruns, undos and processes that are killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from engine_project import Project

from rekindle.domain.errors import PlanOutdated, UndoRefused
from rekindle.domain.rerun.request import How
from rekindle.domain.retention import RetentionRules
from rekindle.domain.selection import Selection
from rekindle.engine.rerun import rerun
from rekindle.engine.retention import prune as engine
from rekindle.engine.retention.vacuum import vacuum_store
from rekindle.store.inspection import inspect

EVERY = Selection(everything=True)

SPEC = """
    name: work
    workdir: attempt
    jobs:
      make:
        outputs: {o: o}
        steps:
          - {name: one, run: "echo $REKINDLE_ATTEMPT > o; echo printed"}
          - {name: two, run: "test -e ../../../../go"}
"""


@pytest.fixture
def failing(project: Project) -> Project:
    project.run(SPEC)
    return project


def again(project: Project, how: How | None = None) -> None:
    project.rerun("make", how=how)
    project.work()


def plan(project: Project, keep: int = 0) -> engine.PrunePlan:
    return engine.plan_prune(project.session, EVERY, engine.PruneRequest(RetentionRules(keep_last=keep)))


def prune(project: Project, keep: int = 0) -> list[int]:
    done = engine.prune(project.session, plan(project, keep), {})
    return [one.number for one in done.attempts]


def sound(project: Project) -> bool:
    return not inspect(Path(project.session.store.folder), deep=True, progress=lambda _: None).problems


def test_kept_steps_and_the_folder_that_a_live_attempt_runs_in_stay(failing: Project) -> None:
    again(failing, How("failed-step", workdir="same"))
    again(failing, How("failed-step", workdir="same"))
    assert prune(failing) == []
    again(failing)
    assert prune(failing) == [1, 2, 3]
    assert sound(failing)


def test_an_undo_that_would_resume_a_pruned_attempt_is_refused_by_name(failing: Project) -> None:
    again(failing)
    first, _ = failing.attempts("make")
    failing.rerun("make", how=How("failed-step", attempt=first.id))
    later = failing.rerun("make", how=How(recovery="clear"))
    assert prune(failing) == [1]
    with pytest.raises(
        UndoRefused, match=r"attempt 1 of `make`, which the undo would bring back, was pruned on .*prune"
    ):
        rerun.undo(failing.session, later.rerun)
    assert isinstance(rerun.undo_refusal(failing.session, later.rerun), UndoRefused)
    failing.work()
    failing.check()


def test_a_saved_plan_is_outdated_once_an_attempt_of_its_job_is_pruned(failing: Project) -> None:
    again(failing)
    again(failing)
    first, *_ = failing.attempts("make")
    proposal = rerun.plan(failing.session, [([failing.job("make")], How("failed-step", attempt=first.id))], {})
    assert prune(failing) == [1, 2]
    with pytest.raises(PlanOutdated):
        rerun.apply(failing.session, proposal)


def test_a_job_that_moves_meanwhile_keeps_its_attempts(failing: Project) -> None:
    again(failing)
    again(failing)
    decided = plan(failing)
    failing.rerun("make")
    done = engine.prune(failing.session, decided, {})
    assert done.attempts == ()
    assert [one.number for one in done.left] == [1, 2]
    assert done.bytes == 0


def test_saved_outputs_go_with_their_attempt_and_the_store_stays_sound(failing: Project) -> None:
    for _ in range(3):
        again(failing, How(workdir="same", keep_outputs=True))
    again(failing)
    again(failing)
    before = set(Path(failing.session.store.folder).rglob("*.outputs"))
    assert before
    prune(failing)
    assert set(Path(failing.session.store.folder).rglob("*.outputs")) < before
    assert sound(failing)


KILLED = """
import os, signal, sys
from rekindle.engine.retention import prune as engine
from rekindle.engine.session import open_session
from rekindle.domain.retention import RetentionRules
from rekindle.domain.selection import Selection

step, number = sys.argv[2], int(sys.argv[3])
calls = 0
def dies(original):
    def call(*args, **flags):
        global calls
        calls += 1
        if calls > number:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **flags)
    return call
if step == "commit":
    from rekindle.store.retention import Retention
    Retention.mark = dies(Retention.mark)
elif step == "remove":
    engine.remove_files = dies(engine.remove_files)
else:
    from rekindle.store.retention import Retention
    Retention.removed = dies(Retention.removed)
session = open_session(sys.argv[1])
rules = RetentionRules(keep_last=0, logs="compressed")
plan = engine.plan_prune(session, Selection(everything=True), engine.PruneRequest(rules))
engine.prune(session, plan, {})
"""


@pytest.mark.parametrize(
    ("step", "number", "committed"),
    [("commit", 0, False), ("remove", 0, True), ("remove", 1, True), ("record", 0, True)],
)
def test_a_killed_prune_has_done_nothing_or_is_finished_by_the_next(
    failing: Project, step: str, number: int, committed: bool
) -> None:
    for _ in range(3):
        again(failing)
    store = failing.session.store.folder
    command = [sys.executable, "-c", KILLED, store, step, str(number)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert [one.pruned_by is not None for one in failing.attempts("make")] == [committed, committed, committed, False]
    vacuum_store(failing.session)
    with failing.session.store.read() as archive:
        assert archive.retention.removals(1) == {}
    folders = sorted(
        path.name for path in Path(store, "attempts").rglob("*") if path.is_dir() and path.name.isdecimal()
    )
    ids = [str(one.id) for one in failing.attempts("make")]
    assert [one in folders for one in ids] == [not committed, not committed, not committed, True]
    assert len(list(Path(store, "attempts").rglob("*.out.gz"))) == (3 if committed else 0)
    assert sound(failing)
