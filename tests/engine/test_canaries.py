"""Canaries: of jobs that failed alike, a few run first, and the others if these pass. Processes are scripted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from msgspec.structs import replace

from rekindle.domain.batches.canaries import CanaryGroup, GroupOutcome
from rekindle.domain.definition import Definition
from rekindle.domain.errors import BadValue, PlanOutdated, UsageError
from rekindle.domain.models import LoggedEvent
from rekindle.domain.overrides import Overrides
from rekindle.domain.rerun.request import How, Requests
from rekindle.domain.selection import Compare, Op, Selection
from rekindle.domain.states import ACTIVE, State
from rekindle.engine.plan_inputs import plan_requests, read_plan_inputs
from rekindle.engine.queries import job_queries, selections, workflow_queries
from rekindle.engine.rerun import control, rerun, restart, resubmit
from rekindle.engine.results import AppliedRerun, PlannedRerun, WorkOptions, WorkReport
from rekindle.engine.running import runner_loop
from rekindle.engine.running.work import work
from rekindle.engine.session import Session
from rekindle.journal.orders import Assignment
from rekindle.spec import load
from rekindle.store.queries import load as load_statements
from rekindle.testing import Crash, CrashingStore, FakeClock, ScriptedExecutor
from rekindle.testing import ScriptedOutcome as End
from stores import statements_of

FAILS = End(fails_at="run", exit_code=3, message="too cold")
OTHER = End(fails_at="run", exit_code=9, message="too hot")

BATCH = """
name: batch
params: {alpha: 1}
jobs:
  t: {matrix: {n: {range: [0, 8]}}, run: x}
  u: {matrix: {n: {range: [0, 3]}}, run: x}
  report: {needs: [t, u], run: x}
"""

Script = Callable[[Assignment], End]


def first_fails(one: Assignment) -> End:
    """Every `t` fails one way and every `u` another, each at its first attempt."""
    if one.number > 1 or one.name == "report":
        return End()
    return FAILS if one.name.startswith("t") else OTHER


def always_fails(one: Assignment) -> End:
    return FAILS if one.name.startswith("t") else first_fails(one)


class Batch:
    """A batch that has run once, with a clock that advances instead of waiting."""

    def __init__(self, project) -> None:
        self.project, self.clock, self.ran = project, FakeClock(), []
        project.session = Session(project.session.store, self.clock)

    @property
    def session(self) -> Session:
        return self.project.session

    def work(self, script: Script = first_fails, crash_at: int = 0, slots: int = 2) -> WorkReport | None:
        store = self.session.store
        executor = ScriptedExecutor(store.folder, script, self.clock)
        session = Session(CrashingStore(store, crash_at, "before"), self.clock) if crash_at else self.session
        try:
            return work(session, WorkOptions(slots=slots), executor=executor)
        except Crash:
            executor.close(0)
            with store.write() as archive:
                for runner in archive.runners.alive():
                    archive.runners.abandon(runner.id, runner.epoch)
            return None
        finally:
            self.ran = [name for name, *_ in executor.ran]
            self.project.check()

    def failed(self) -> list[int]:
        return selections.select(self.session, Selection(where=Compare("state", Op.EQ, State.FAILED)))

    def plan(self, n: int, how: How | None = None, jobs: Sequence[int] | None = None) -> PlannedRerun:
        requests = [(self.failed() if jobs is None else jobs, how or How())]
        return rerun.plan(self.session, requests, {"how": {}}, canary=n)

    def failed_in(self, archive) -> list[int]:
        return archive.jobs.select(Compare("state", Op.EQ, State.FAILED), None)

    def rerun(self, n: int = 1, how: How | None = None) -> AppliedRerun:
        applied = rerun.apply(self.session, self.plan(n, how))
        self.project.check()
        return applied

    def groups(self, applied: AppliedRerun) -> list[CanaryGroup]:
        return workflow_queries.canary_groups(self.session, applied.rerun)

    def attempts(self, name: str) -> int:
        return len(self.project.attempts(name))

    def names(self, jobs: Sequence[int]) -> list[str]:
        return [row.job.name for row in job_queries.jobs(self.session, jobs)]

    def events(self, kind: str) -> list[LoggedEvent]:
        return [one for one in workflow_queries.events(self.session) if one.kind == kind]


@pytest.fixture
def batch(project) -> Batch:
    made = Batch(project)
    project.submit(BATCH)
    made.work()
    return made


def test_the_rest_of_a_group_runs_when_its_canary_has_passed(batch, monkeypatch):
    monkeypatch.setattr(runner_loop, "START_SECONDS", 0.0)
    proposal = batch.plan(1)
    assert sorted(len(one.waits) for one in proposal.canaries) == [2, 7]
    assert [job.name for job in proposal.plan.jobs if job.after is State.READY] == ["t[n=0]", "u[n=0]"]
    applied = rerun.apply(batch.session, proposal)
    report = batch.work()
    assert sorted(batch.ran[:2]) == ["t[n=0]", "u[n=0]"]
    assert (report.exit_code, report.completed) == (0, 12)
    assert set(batch.project.states().values()) == {State.COMPLETED}
    assert [one.outcome for one in batch.groups(applied)] == [GroupOutcome.RELEASED] * 2
    assert {one.id for one in report.canaries} == {one.id for one in batch.groups(applied)}
    kinds = [record for record, _ in workflow_queries.reruns(batch.session)]
    assert [one.kind for one in kinds] == ["canary", "canary", "manual"]
    assert {one.request["canaries"] for one in kinds[:2]} == {applied.rerun}
    assert {one.released for one in batch.groups(applied)} == {one.id for one in kinds[:2]}
    assert {one.note for one in kinds[:2]} == {f"its canary `{name}` passed (rerun 1)" for name in ("t[n=0]", "u[n=0]")}


def test_a_group_whose_canary_fails_again_is_stopped_and_the_others_go_on(batch):
    applied = batch.rerun()
    report = batch.work(always_fails)
    assert sorted(batch.ran) == ["t[n=0]", "u[n=0]", "u[n=1]", "u[n=2]"]
    assert report.exit_code == 2
    stopped, released = sorted(batch.groups(applied), key=lambda one: one.outcome, reverse=True)
    assert (stopped.outcome, released.outcome) == (GroupOutcome.STOPPED, GroupOutcome.RELEASED)
    assert stopped.why == "its canary `t[n=0]` failed again the same way"
    assert (stopped.waiting, released.waiting) == (7, 0)
    assert [batch.attempts(f"t[n={n}]") for n in range(8)] == [2] + [1] * 7
    (event,) = [one for one in batch.events("canary") if one.detail["outcome"] == "stopped"]
    assert event.detail["jobs"] == 7
    (told,) = workflow_queries.status(batch.session)[0].canaries
    assert told == stopped


def test_a_canary_that_fails_another_way_stops_its_group_too_and_says_so(batch):
    applied = batch.rerun()
    batch.work(lambda one: OTHER if one.name.startswith("t") else first_fails(one))
    (stopped,) = [one for one in batch.groups(applied) if one.outcome is GroupOutcome.STOPPED]
    assert "failed again another way (" in stopped.why


def test_all_canaries_have_to_pass_and_are_waited_for(batch):
    applied = batch.rerun(2)
    assert [len(one.canaries) for one in batch.groups(applied)] == [2, 2]

    def script(one: Assignment) -> End:
        return FAILS if one.name == "t[n=1]" else first_fails(one)

    batch.work(script, slots=1)
    stopped = next(one for one in batch.groups(applied) if one.outcome is GroupOutcome.STOPPED)
    assert stopped.why == "its canary `t[n=1]` failed again the same way"
    assert len(batch.ran) == 5


def test_a_group_of_no_more_than_the_canaries_runs_at_once(batch):
    proposal = batch.plan(3)
    assert [len(one.waits) for one in proposal.canaries] == [5]
    ready = [job.name for job in proposal.plan.jobs if job.after is State.READY]
    assert ready == ["t[n=0]", "t[n=1]", "t[n=2]", "u[n=0]", "u[n=1]", "u[n=2]"]


def test_retries_of_a_canary_belong_to_it(project):
    batch = Batch(project)
    project.submit("{name: retried, jobs: {t: {matrix: {n: {range: [0, 4]}}, run: x, retry: {max: 1}}}}")
    batch.work(lambda _: FAILS)
    applied = batch.rerun()
    assert batch.work(lambda one: FAILS if one.number == 3 else End()).exit_code == 0
    (group,) = batch.groups(applied)
    assert group.outcome is GroupOutcome.RELEASED, "the canary passed at its retry"
    assert batch.attempts("t[n=0]") == 4
    assert [batch.attempts(f"t[n={n}]") for n in (1, 2, 3)] == [4, 4, 4], "the rest has its retries too"


def test_waiting_jobs_run_with_the_options_of_their_canary(batch):
    batch.rerun(1, How(overrides=Overrides(params={"alpha": 2}), workdir="new"))
    batch.work()
    for name in ("t[n=0]", "t[n=7]", "u[n=2]"):
        (live,) = batch.project.attempts(name, live=True)
        assert json.loads(live.overrides)["params"] == {"alpha": 2}


@pytest.mark.parametrize("take_out", ["rerun", "cancel", "reset"])
def test_another_operation_takes_a_waiting_job_out_of_its_group(batch, take_out):
    applied = batch.rerun()
    job = batch.project.job("t[n=5]")
    if take_out == "rerun":
        batch.project.rerun("t[n=5]")
    elif take_out == "cancel":
        assert control.cancel(batch.session, [job]).left_out == (job,)
    else:
        rerun.apply(batch.session, restart.plan_reset(batch.session, [job], {}))
    assert job not in job_queries.canary_groups_of(batch.session, [job])
    assert sorted(one.waiting for one in batch.groups(applied)) == [2, 6]
    batch.work()
    assert batch.attempts("t[n=6]") == 2
    assert batch.attempts("t[n=5]") == {"rerun": 2, "cancel": 1, "reset": 1}[take_out]


def test_undo_of_the_first_rerun_drops_waiting_jobs(batch):
    applied = batch.rerun()
    rerun.undo(batch.session)
    assert {one.outcome for one in batch.groups(applied)} == {GroupOutcome.DROPPED}
    assert workflow_queries.status(batch.session)[0].canaries == ()
    assert job_queries.canary_groups_of(batch.session, batch.failed()) == {}
    batch.work()
    assert batch.ran == []
    batch.project.rerun("t[n=0]")
    batch.work()
    assert batch.ran == ["t[n=0]"]


def test_a_canary_that_is_canceled_stops_its_group(batch):
    applied = batch.rerun()
    control.cancel(batch.session, [batch.project.job("t[n=0]")])
    stopped = next(one for one in batch.groups(applied) if one.outcome is GroupOutcome.STOPPED)
    assert stopped.why == "its canary `t[n=0]` was canceled"
    rerun.undo(batch.session)
    assert workflow_queries.status(batch.session)[0].canaries == ()


def test_undo_of_a_later_reset_of_a_canary_releases_its_group(project):
    batch = Batch(project)
    project.submit("{name: r, jobs: {t: {matrix: {n: {range: [0, 5]}}, run: x}}}")
    batch.work()
    applied = batch.rerun(2)
    batch.work(lambda one: End(fails_at="run", crash=True) if one.name == "t[n=1]" else End(), slots=1)
    (group,) = batch.groups(applied)
    assert group.canaries[0].state is State.COMPLETED
    assert group.canaries[1].state in ACTIVE
    project.rerun("t[n=0]")
    control.hold(batch.session, [project.job("t[n=0]")])
    batch.work(slots=1)
    (group,) = batch.groups(applied)
    assert (group.canaries[1].state, group.outcome) == (State.COMPLETED, None)
    rerun.undo(batch.session)
    (group,) = batch.groups(applied)
    assert group.outcome is GroupOutcome.RELEASED
    assert project.states()["t[n=4]"] is State.READY


def test_a_canary_retired_by_a_revision_decides_nothing(project):
    batch = Batch(project)
    spec = "{name: r, jobs: {t: {matrix: {n: [%s]}, run: x}}}"
    project.submit(spec % "0, 1, 2, 3, 4")
    batch.work(lambda _: FAILS)
    applied = batch.rerun(2)
    project.submit(spec % "1, 2, 3, 4")
    batch.work(lambda _: End())
    (group,) = batch.groups(applied)
    assert (group.outcome, group.why) == (GroupOutcome.RELEASED, "its canary `t[n=1]` passed")
    assert set(project.states().values()) == {State.COMPLETED}


def test_a_workflow_is_deleted_with_its_canary_groups(batch):
    batch.rerun()
    with batch.session.store.write() as archive:
        archive.workflows.delete(1)
        assert archive.canaries.open() == []


def test_reruns_by_supervise_have_canaries(batch):
    jobs = batch.failed()
    with batch.session.store.read() as archive:
        requests = Requests(dict.fromkeys(jobs, How(keep_modified=True)))
        prospect = read_plan_inputs(archive, requests, canary=1)
    proposal = plan_requests(prospect, requests, {})
    rerun.apply(batch.session, replace(proposal, kind="restart"))
    assert batch.work().exit_code == 0
    assert [record.kind for record, _ in workflow_queries.reruns(batch.session)] == ["canary", "canary", "restart"]


def test_a_rerun_that_submits_a_revision_has_canaries_too(batch):
    definition = load_again(batch, BATCH.replace("run: x}", "run: y}", 1))
    found = resubmit.plan_resubmit(
        batch.session, definition, lambda archive: [(batch.failed_in(archive), How())], {}, canary=1
    )
    assert isinstance(found, PlannedRerun)
    applied = resubmit.apply(batch.session, found)
    assert sorted(one.waiting for one in batch.groups(applied)) == [2, 7]
    assert batch.work().exit_code == 0


def load_again(batch: Batch, text: str) -> Definition:
    path = batch.project.folder / "spec.yaml"
    path.write_text(text)
    return load(path)


def test_later_canaries_take_over_waiting_jobs(batch):
    first = batch.rerun()
    second = batch.rerun()
    assert [one.waiting for one in batch.groups(first)] == [0, 0]
    assert sorted(one.waiting for one in batch.groups(second)) == [1, 6]
    batch.work()
    assert len(batch.ran) == 12


def test_a_waiting_job_names_its_canary(batch):
    batch.rerun()
    job = batch.project.job("t[n=3]")
    group = job_queries.canary_groups_of(batch.session, [job])[job]
    assert ([one.name for one in group.canaries], group.outcome, group.waiting) == (["t[n=0]"], None, 7)


def test_held_jobs_are_not_released_and_the_plan_says_so(batch):
    batch.rerun()
    held = batch.project.job("t[n=4]")
    control.hold(batch.session, [held])
    batch.work()
    refused = [one.id for record, _ in workflow_queries.reruns(batch.session) for one in record.plan.refused]
    assert refused == [held]
    assert batch.attempts("t[n=4]") == 1


def test_refused_jobs_are_never_canaries(batch):
    control.hold(batch.session, [batch.project.job("t[n=0]")])
    proposal = batch.plan(1)
    assert [one.name for one in proposal.plan.refused] == ["t[n=0]"]
    names = {name for one in proposal.canaries for _, name in one.canaries}
    assert names == {"t[n=1]", "u[n=0]"}


def test_jobs_that_have_not_failed_run_at_once(batch):
    batch.rerun(100)
    batch.work()
    every = selections.select(batch.session, Selection(everything=True))
    proposal = batch.plan(1, jobs=every)
    assert proposal.canaries == ()
    assert len(proposal.plan.jobs) == 12


def test_a_plan_is_outdated_once_something_that_should_wait_has_moved(batch):
    proposal = batch.plan(1)
    jobs = [batch.project.job("t[n=6]")]
    rerun.apply(batch.session, rerun.plan(batch.session, [(jobs, How(downstream="none"))], {}))
    with pytest.raises(PlanOutdated, match=r"`t\[n=6\]` has moved"):
        rerun.apply(batch.session, proposal)
    batch.project.check()


def test_a_saved_plan_keeps_its_canaries(batch, tmp_path):
    proposal = batch.plan(2)
    rerun.save(batch.session, proposal, tmp_path / "plan.json")
    loaded = rerun.load(batch.session, tmp_path / "plan.json")
    assert loaded.canaries == proposal.canaries
    applied = rerun.apply(batch.session, loaded)
    batch.work()
    assert {one.outcome for one in batch.groups(applied)} == {GroupOutcome.RELEASED}


@pytest.mark.parametrize("how", [How(repeats=2), How(keep_outputs=True), How(hold="reset")])
def test_options_that_exclude_canaries_are_refused(batch, how):
    with pytest.raises(UsageError):
        batch.plan(1, how)
    with pytest.raises(BadValue):
        batch.plan(0)


@pytest.mark.parametrize("crash_at", range(1, 14))
def test_a_group_is_decided_once_whenever_a_runner_dies(batch, crash_at):
    applied = batch.rerun()
    if batch.work(always_fails, crash_at=crash_at, slots=1) is None:
        batch.work(always_fails, slots=1)
    assert sorted(one.outcome for one in batch.groups(applied)) == [GroupOutcome.RELEASED, GroupOutcome.STOPPED]
    released = [record for record, _ in workflow_queries.reruns(batch.session) if record.kind == "canary"]
    assert len(released) == 1
    assert [batch.attempts(f"t[n={n}]") for n in range(1, 8)] == [1] * 7
    assert all(batch.project.states()[f"u[n={n}]"] is State.COMPLETED for n in range(3))


@contextmanager
def canary_statements(session: Session) -> Iterator[list[str]]:
    """Collect the names of the statements of `store/sql/canaries.sql` that run."""
    names = {query.text: name for name, query in load_statements("canaries").items()}
    ran: list[str] = []
    with statements_of(session.store) as texts:
        yield ran
    ran += [names[text] for text in texts if text in names]


def test_ingest_and_apply_run_no_canary_statement_unless_a_group_is_open(batch):
    first, second = batch.failed()[:2]
    with canary_statements(batch.session) as ran:
        rerun.apply(batch.session, rerun.plan(batch.session, [([first], How())], {}))
        rerun.plan_and_apply(batch.session, [([second], How())], {})
        batch.work()
    assert ran == ["decided"]  # for the report of the run
    batch.rerun()
    with canary_statements(batch.session) as ran:
        batch.work()
    assert {"open", "waiting", "decide"} <= set(ran)
