"""Property test: random graphs with reruns that cancel running jobs, undos and runner deaths.

No two conflicting attempts ever run at once, and in the end all jobs are done.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rekindle.domain.definition import Definition, JobNode, JobTemplate, Step
from rekindle.domain.errors import Refused
from rekindle.domain.rerun.request import How
from rekindle.domain.selection import AllOf
from rekindle.domain.states import ENDED, Cause, State
from rekindle.engine.queries import job_queries
from rekindle.engine.rerun import rerun
from rekindle.engine.results import WorkOptions
from rekindle.engine.running.work import work
from rekindle.engine.session import Session, open_session
from rekindle.engine.submit.submit import submit
from rekindle.journal.orders import Assignment
from rekindle.testing import Crash, CrashingStore, FakeClock, InlineExecutor, ScriptedExecutor, ScriptedOutcome
from rekindle.testing.simulation.checks import nothing_is_disturbed


@dataclass(frozen=True)
class Cut:
    """A rerun of these jobs with --cancel-running once that many attempts have begun, and whether it is undone."""

    at: int
    jobs: frozenset[int]
    downstream: Literal["all", "changed", "none"]
    start: Literal["beginning", "failed-step"]
    undo: bool


CUTS = st.lists(
    st.builds(
        Cut,
        at=st.integers(1, 12),
        jobs=st.frozensets(st.integers(0, 5), min_size=1, max_size=2),
        downstream=st.sampled_from(["all", "all", "changed", "none"]),
        start=st.sampled_from(["beginning", "failed-step"]),
        undo=st.sampled_from([False, False, True]),
    ),
    max_size=4,
)

EDGES = st.sets(st.sampled_from([(a, b) for b in range(6) for a in range(b)]), max_size=8)


class Run:
    """One workflow and its runner."""

    def __init__(self, session: Session, cuts: list[Cut], waits: list[int]) -> None:
        self.session, self.cuts, self.waits = session, cuts, waits
        self.begun = 0
        self.canceled = 0

    def work(self, slots: int, crash: int, when: str) -> None:
        clock = self.session.clock
        store = CrashingStore(self.session.store, crash, when) if crash else self.session.store  # type: ignore[arg-type]
        executor = ScriptedExecutor(self.session.store.folder, self.outcome, clock)
        try:
            work(Session(store, clock), WorkOptions(slots=slots, executor="scripted"), executor=executor)
        except Crash:
            executor.close(0)
            with self.session.store.write() as archive:
                for runner in archive.runners.alive():
                    archive.runners.abandon(runner.id, runner.epoch)

    def outcome(self, one: Assignment) -> ScriptedOutcome:
        """Succeed after a while; meanwhile apply the next cut."""
        nothing_is_disturbed(self.session)
        self.begun += 1
        for cut in self.cuts:
            if cut.at == self.begun:
                self.cut(cut)
                nothing_is_disturbed(self.session)
        return ScriptedOutcome(waits=self.waits[self.begun % len(self.waits)], result="1")

    def cut(self, cut: Cut) -> None:
        with self.session.store.read() as archive:
            ids = archive.jobs.select(AllOf(), None)
        how = How(cut.start, downstream=cut.downstream, cancel_running=True)
        try:
            rerun.plan_and_apply(self.session, [(sorted({ids[at % len(ids)] for at in cut.jobs}), how)], {})
        except Refused:
            return
        with self.session.store.read() as archive:
            self.canceled += archive.queue.count_archived_active(None)
        if cut.undo:
            rerun.undo(self.session)

    def states(self) -> set[State]:
        with self.session.store.read() as archive:
            assert archive.check() == []
            return {job.state for job in archive.jobs.get(archive.jobs.select(AllOf(), None))}


def chain(jobs: int) -> set[tuple[int, int]]:
    return {(at, at + 1) for at in range(jobs - 1)}


ONE_CUT = [Cut(3, frozenset({0}), "all", "beginning", undo=False)]


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    jobs=st.integers(1, 6),
    edges=EDGES,
    cuts=CUTS,
    waits=st.lists(st.integers(0, 4), min_size=1, max_size=4),
    slots=st.integers(1, 3),
    crash=st.sampled_from([0, 0, 4, 6, 8, 10, 12, 14, 17, 20]),
    when=st.sampled_from(["before", "after"]),
)
@example(jobs=4, edges=chain(4), cuts=ONE_CUT, waits=[3], slots=2, crash=0, when="after")
@example(jobs=4, edges=chain(4), cuts=ONE_CUT, waits=[3], slots=2, crash=14, when="after")
def test_no_attempts_conflict_and_all_jobs_end(
    jobs: int, edges: set[tuple[int, int]], cuts: list[Cut], waits: list[int], slots: int, crash: int, when: str
) -> None:
    steps = (Step("one", run="true"), Step("two", run="true"))
    inside = sorted(edge for edge in edges if max(edge) < jobs)
    definition = Definition(
        "any", "/", [JobTemplate("job", steps)], [JobNode(f"job{n}", 0) for n in range(jobs)], inside
    )
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch().context() as patch:
        patch.setattr("concurrent.futures.ThreadPoolExecutor", InlineExecutor)
        opened = open_session(str(Path(folder) / ".rekindle"))
        session = Session(opened.store, FakeClock())
        try:
            submit(session, definition)
            run = Run(session, cuts, waits)
            run.work(slots, crash, when)
            run.states()
            if crash:
                run.work(slots, 0, when)
            if run.states() != {State.COMPLETED}:  # an attempt that an undo restored was canceled all the same
                assert any(cut.undo for cut in cuts)
                assert State.FAILED not in run.states()
            assert all(one.state in ENDED for one in job_queries.attempts(session, None))
            archived = [one for one in job_queries.attempts(session, None) if one.archived_by is not None]
            assert all(one.cause in (None, Cause.CANCELED, Cause.LOST) for one in archived)
            if cuts == ONE_CUT and jobs == 4 and not crash:
                assert run.canceled
        finally:
            opened.close()
