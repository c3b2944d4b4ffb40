"""Random histories of a workflow: runs, reruns, undos and prunes, some of which die while they remove files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from rekindle.domain.definition import Definition, Each, JobNode, JobTemplate, Step
from rekindle.domain.errors import NotFound, Refused
from rekindle.domain.rerun.request import How
from rekindle.domain.retention import RetentionRules
from rekindle.domain.selection import AllOf, Selection
from rekindle.engine.queries import job_queries, log_reading, logs
from rekindle.engine.rerun import rerun
from rekindle.engine.results import PageRequest, WorkOptions
from rekindle.engine.retention import prune as engine
from rekindle.engine.running.work import work
from rekindle.engine.session import Session, open_session
from rekindle.engine.submit.submit import submit
from rekindle.journal.orders import Assignment
from rekindle.journal.paths import attempt_folder
from rekindle.presentation import answers
from rekindle.store.inspection import inspect
from rekindle.testing import FakeClock, InlineExecutor, ScriptedExecutor, ScriptedOutcome

PAGE = PageRequest()
EVERY = Selection(everything=True)

STEPS = (Step("one", run="true"), Step("fan", run="true", each=Each(items=("a", "b", "c"))), Step("two", run="true"))

HOWS = st.builds(
    How,
    start=st.sampled_from(["beginning", "failed-step", "two"]),
    downstream=st.sampled_from(["all", "changed", "none"]),
    workdir=st.sampled_from(["new", "copy", "same"]),
    definition=st.sampled_from(["latest", "pinned"]),
    recovery=st.sampled_from([None, "keep", "clear"]),
)

EDGES = st.sets(st.sampled_from([(a, b) for b in range(4) for a in range(b)]), max_size=4)

JOBS = st.frozensets(st.integers(0, 3), min_size=1, max_size=2)

OPERATIONS = st.one_of(
    st.tuples(st.just("run"), JOBS),
    st.tuples(st.just("rerun"), JOBS, HOWS),
    st.tuples(st.just("undo")),
    st.tuples(st.just("prune"), st.integers(0, 2), st.booleans(), st.sampled_from([0, 0, 1, 2])),
)


class Killed(BaseException):
    """The process dies here."""


class History:
    """One workflow, and what is done to it."""

    def __init__(self, session: Session, patch: pytest.MonkeyPatch, workflow: int | None = None) -> None:
        self.session, self.patch = session, patch
        self.failing: frozenset[int] = frozenset()
        with session.store.read() as archive:
            self.jobs = archive.jobs.select(AllOf(), workflow)

    def outcome(self, one: Assignment) -> ScriptedOutcome:
        """Leave a folder and a log, and fail if it is the job's turn to."""
        folder = Path(one.folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "file").write_text("content")
        log = Path(logs.log_path(attempt_folder(self.session.store.folder, one.attempt), 0, "stdout"))
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(f"attempt {one.attempt}\n" * 100)
        failed = one.job in {self.jobs[at] for at in self.failing}
        return ScriptedOutcome(fails_at="two" if failed else None, bad=frozenset({1} if failed else ()), result="7")

    def run(self, failing: frozenset[int]) -> None:
        self.failing = failing
        executor = ScriptedExecutor(self.session.store.folder, self.outcome, self.session.clock)
        work(self.session, WorkOptions(slots=2, executor="scripted"), executor=executor)

    def rerun(self, chosen: frozenset[int], how: How) -> None:
        jobs = sorted(self.jobs[at] for at in chosen)
        answered(lambda: rerun.apply(self.session, rerun.plan(self.session, [(jobs, how)], {"jobs": jobs})))

    def undo(self) -> None:
        answered(lambda: rerun.undo(self.session))

    def prune(self, keep: int, compress: bool, dies_at: int) -> None:
        rules = RetentionRules(keep_last=keep, logs="compressed" if compress else "removed")
        plan = engine.plan_prune(self.session, EVERY, engine.PruneRequest(rules))
        removed = [0]

        def remove(*args: Any, **flags: Any) -> None:
            removed[0] += 1
            if removed[0] == dies_at:
                raise Killed
            original(*args, **flags)

        original = engine.remove_files
        with self.patch.context() as patch:
            patch.setattr(engine, "remove_files", remove)
            try:
                engine.prune(self.session, plan, {})
            except Killed:
                assert self.left()
        engine.finish_removals(self.session)
        assert not self.left()
        for one in plan.attempts:
            own = Path(attempt_folder(self.session.store.folder, one.id))
            assert not own.exists()
            kept = [path.name for path in own.parent.glob(f"{own.name}.*")]
            assert kept == ([f"{own.name}.0.out.gz"] if compress else [])

    def left(self) -> bool:
        with self.session.store.read() as archive:
            return bool(archive.retention.removals(1))

    def check(self) -> None:
        """Ask everything, and look at what must be there."""
        session = self.session
        found = inspect(Path(session.store.folder), deep=True, progress=lambda _: None)
        assert found.problems == ()
        answers.status(session, None, PAGE)
        answers.why(session, EVERY, PAGE)
        answers.failures(session, None, PAGE, archived=True)
        answers.flaky(session, EVERY, PAGE)
        answers.jobs_show(session, self.jobs)
        attempts = job_queries.attempts(session, None)
        for one in attempts:
            answers.attempts_show(session, one.id, PAGE)
            self.check_logs(one.job, one.number, pruned=one.pruned_by is not None)
            if one.archived_by is None:
                assert one.pruned_by is None
        for one, other in pairwise(attempts):
            answers.attempts_diff(session, one.id, other.id)
        for number in range(1, len(attempts) + 1):
            rerun.undo_refusal(session, number)
        for how in (How(), How(start="failed-step"), How(downstream="changed"), How(workdir="copy")):
            answered(lambda how=how: rerun.plan(session, [(self.jobs, how)], {}))

    def check_logs(self, job: int, number: int, *, pruned: bool) -> None:
        if pruned:
            with suppress(NotFound):  # which says that it was pruned
                logs.log_files(self.session, job, number)
            return
        files = logs.log_files(self.session, job, number)
        text = log_reading.last_piece(files[0]).data
        assert text.startswith(b"attempt")


def answered(ask: Callable[[], object]) -> None:
    """Ask, and take a refusal for an answer."""
    try:
        ask()
    except (Refused, NotFound):
        return


@contextmanager
def history(edges: set[tuple[int, int]]) -> Iterator[History]:
    """Yield a history that begins with a run of two of four jobs, with these edges."""
    definition = Definition(
        "any",
        "/",
        [JobTemplate("job", STEPS, workdir="attempt")],
        [JobNode(f"job{n}", 0) for n in range(4)],
        sorted(edges),
    )
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch().context() as patch:
        patch.setattr("concurrent.futures.ThreadPoolExecutor", InlineExecutor)
        with open_session(str(Path(folder) / ".rekindle")) as opened:
            session = Session(opened.store, FakeClock())
            submit(session, definition)
            yield History(session, patch)
