"""`rekindle supervise` as a process: beside other runners, interrupted, and killed at any moment."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from project_folder import WAIT_SECONDS, Project, until
from rekindle.domain.selection import Selection
from rekindle.domain.states import Cause
from rekindle.engine.queries import job_queries, selections
from rekindle.engine.session import Session, open_session

BATCH = """
name: batch
jobs:
  ok: {matrix: {i: {range: [0, 5]}}, run: "true"}
  flaky: {run: "test -e seen || { touch seen; exit 3; }"}
  broken: {run: "echo broken >&2; exit 4"}
  report:
    needs: ["ok*", flaky, broken]
    when: finished
    aggregate: true
    run: 'echo "$REKINDLE_INPUTS" >> reports.txt'
"""


@pytest.fixture
def batch(project: Project) -> Project:
    project.spec(BATCH)
    project.rekindle("submit", "spec.yaml")
    return project


def names(part: list[dict[str, Any]]) -> list[str]:
    return [one["name"] for one in part]


def reruns(project: Project) -> int:
    return sum(one["kind"] == "supervise" for one in project.ask("reruns", "list")["reruns"])


def test_it_reports_fixed_and_broken_jobs_and_exits_2(batch: Project) -> None:
    report = batch.ask("supervise", "batch", "-j", "2", expect=2)
    assert (report["end"], report["reruns"], report["exit_code"]) == ("max_reruns", 1, 2)
    assert [(one["name"], one["attempts"], one["passed"]) for one in report["fixed"]] == [("flaky", 2, "flaky")]
    assert [one["message"] for one in report["failing"]] == ["broken"]
    assert names(report["left"]) == ["broken"]
    assert [(one["matching"], one["total"]) for one in report["rounds"]] == [(2, 7), (1, 7)]
    assert report["statuses"] == {"passed": 7, "error": 1}


def test_after_the_time_limit_nothing_starts_and_running_jobs_continue(project: Project) -> None:
    project.spec("name: slow\njobs: {a: {run: 'touch began; sleep 1; touch done'}, b: {run: 'true', needs: [a]}}\n")
    project.rekindle("submit", "spec.yaml")
    report = project.ask("supervise", "slow", "--wait-timeout", "200ms", expect=6)
    assert report["end"] == "timed_out"
    if (project.folder / "began").exists():
        until((project.folder / "done").exists, "the running job continues to its end")
    assert project.ask("supervise", "slow")["end"] == "clean"


def test_it_waits_for_the_runners_of_others_and_is_woken_by_them(batch: Project) -> None:
    supervisor = batch.start("supervise", "batch", "--no-work", "--poll", "1h")
    until(lambda: list((batch.folder / ".rekindle").glob("run/supervisors/*.bell")), "it waits")
    batch.start("work", "--watch", "-j", "2")
    assert supervisor.wait(timeout=WAIT_SECONDS) == 2
    assert reruns(batch) == 1
    assert batch.states()["flaky"] == "completed"


def test_only_one_supervises(project: Project) -> None:
    project.spec("name: long\njobs: {a: {run: 'touch began; sleep 600'}}\n")
    project.rekindle("submit", "spec.yaml")
    first = project.start("supervise", "long")
    until((project.folder / "began").exists, "it runs")
    said = project.rekindle("supervise", "long", expect=1).stderr
    assert f"pid {first.pid}" in said
    first.send_signal(signal.SIGINT)
    assert first.wait(timeout=WAIT_SECONDS) == 5
    assert project.ask("supervise", "long", expect=5)["end"] == "canceled"


# Killed. The report's file counts the reruns, because the aggregate runs with each.

KILLED = BATCH.replace('run: "true"', "run: sleep 0.05")


@pytest.fixture
def session(project: Project) -> Iterator[Session]:
    project.spec(KILLED)
    project.rekindle("submit", "spec.yaml")
    with open_session(str(project.folder / ".rekindle")) as opened:
        yield opened


def outcome(session: Session) -> tuple[int, bool, bool]:
    """Return (reruns, whether it has ended, whether its report was printed)."""
    with session.store.read() as archive:
        one = archive.supervisions.get(1)
        if one is None:
            return 0, False, False
        return len(archive.supervisions.reruns(1)), one.outcome is not None, one.ended is not None


def running(session: Session) -> int:
    with session.store.read() as archive:
        return len(archive.attempts.active())


PHASES: dict[str, Callable[[Session], bool]] = {
    "waiting": lambda session: running(session) > 0,
    "applied": lambda session: outcome(session)[0] == 1,
    "waiting-again": lambda session: outcome(session)[0] == 1 and running(session) > 0,
    "applied-again": lambda session: outcome(session)[0] == 2,
    "reporting": lambda session: outcome(session)[1],
}


def kill_when(project: Project, when: Callable[[], object], *words: str) -> None:
    """SIGKILL a supervisor when a condition holds, unless it has ended."""
    supervisor = project.start("supervise", "batch", "-j", "2", *words)
    until(lambda: when() or supervisor.poll() is not None, "it is the moment")
    if supervisor.poll() is None:
        os.kill(supervisor.pid, signal.SIGKILL)
    supervisor.wait(timeout=WAIT_SECONDS)


def check_as_if_never_killed(project: Project, session: Session) -> None:
    if not outcome(session)[2]:
        report = project.ask("supervise", "batch", "-j", "2", "--max-reruns", "2", expect=2)
        assert (report["supervision"], report["reruns"], report["end"]) == (1, 2, "max_reruns")
        assert names(report["left"]) == ["broken"]
    assert outcome(session) == (2, True, True)
    broken = job_queries.attempts(session, selections.select(session, Selection(jobs=("broken",))))
    assert Counter(one.cause for one in broken if one.cause is not Cause.LOST) == {Cause.EXIT: 3}
    with session.store.read() as archive:
        assert archive.check() == []


@pytest.mark.parametrize("phase", PHASES)
def test_killed_in_any_phase_it_resumes_with_the_same_number_of_reruns(
    project: Project, session: Session, phase: str
) -> None:
    kill_when(project, lambda: PHASES[phase](session), "--max-reruns", "2")
    check_as_if_never_killed(project, session)


def test_killed_repeatedly_it_makes_the_same_number_of_reruns(project: Project, session: Session) -> None:
    for phase in PHASES.values():
        if not outcome(session)[2]:
            kill_when(project, lambda phase=phase: phase(session), "--max-reruns", "2")
    check_as_if_never_killed(project, session)


@pytest.mark.soak
@pytest.mark.parametrize("moment", range(30))
def test_killed_at_any_moment_it_makes_the_same_number_of_reruns(
    project: Project, session: Session, moment: int
) -> None:
    looks = iter(range(moment * 15))
    kill_when(project, lambda: next(looks, None) is None, "--max-reruns", "2")
    check_as_if_never_killed(project, session)
