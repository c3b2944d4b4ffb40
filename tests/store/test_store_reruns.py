"""Planning inputs; applying, recording and undoing plans."""

from __future__ import annotations

from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from store_driving import (
    DIAMOND,
    apply,
    claim,
    completed_ending,
    end,
    failure_ending,
    faults,
    ids,
    plan,
    run,
    states,
    submit,
    template,
    undo,
)

from rekindle.domain.errors import PlanOutdated, UndoRefused
from rekindle.domain.rerun.request import FROM_FAILED_STEP, How
from rekindle.domain.rerun.undo import UndoConflicts, refuse_undo
from rekindle.domain.states import State
from rekindle.store.opening import open_store

W, R, Q, X, C, F, K = State


@pytest.fixture
def failed(store):
    """A diamond whose left branch has failed."""
    workflow = submit(store, DIAMOND)
    run(store, workflow, failing=["left"])
    return workflow, ids(store, workflow)


def test_views_hold_selected_jobs_descendants_and_parents(store, failed):
    _, jobs = failed
    with store.read() as archive:
        views, graph = archive.plan_views.of([jobs["left"]])
    assert set(views) == set(jobs.values())
    assert graph.children[jobs["left"]] == [jobs["bottom"]]
    assert graph.parents[jobs["bottom"]] == [jobs["left"], jobs["right"]]
    left = views[jobs["left"]]
    assert (left.state, left.steps, left.attempt.state, left.attempt.cause) == (F, ("one", "two"), F, "exit")
    assert [(step.name, step.state) for step in left.attempt.steps] == [("one", C), ("two", F)]
    assert views[jobs["right"]].state is C


def test_views_render_declared_outputs_for_each_job(store):
    made = template("made", "one", outputs={"m": "out/${matrix.k}-${params.p}-${job.name}.npz"})
    workflow = submit(store, {"a": []}, bindings={"a": {"k": 3}}, template={"a": made}, params={"p": "x"})
    jobs = ids(store, workflow)
    with store.read() as archive:
        views, _ = archive.plan_views.of([jobs["a"]])
    assert views[jobs["a"]].outputs == ("out/3-x-a.npz",)


def test_a_rerun_archives_resets_and_leaves_the_rest_alone(store, failed):
    workflow, jobs = failed
    rerun = apply(store, plan(store, [jobs["left"]]))
    assert states(store, workflow) == {"top": C, "left": R, "right": C, "bottom": W}
    with store.read() as archive:
        [old] = archive.attempts.listing([jobs["left"]], None)
        assert old.archived_by == rerun
        assert archive.attempts.listing([jobs["left"]], None, live=True) == []
        assert archive.attempts.failures(workflow) == []
        assert [event.kind for event in archive.events.listing(workflow)] == ["rerun"]
    run(store, workflow)
    assert set(states(store, workflow).values()) == {C}


def test_a_resumed_job_carries_where_it_starts_to_its_claim(store, failed):
    workflow, jobs = failed
    apply(store, plan(store, [jobs["left"]], How(start=FROM_FAILED_STEP)))
    [attempt] = claim(store, workflow)
    assert (attempt.job.next.resume_attempt, attempt.job.next.resume_step) == (2, 1)
    with store.read() as archive:
        one = archive.attempts.get(attempt.id)
        assert (one.builds_on, one.start_step, one.number) == (2, 1, 2)


def test_a_rerun_is_recorded_as_it_was_applied(store, failed):
    workflow, jobs = failed
    decided = plan(store, [jobs["left"], jobs["right"]])
    rerun = apply(store, decided)
    with store.read() as archive:
        record = archive.reruns.get(rerun)
        assert archive.reruns.get(99) is None
        [(listed, touched)] = archive.reruns.listing(workflow)
        assert archive.reruns.listing(None, 0) == []
        assert archive.reruns.listing(workflow + 1) == []
    assert record.plan.jobs == decided.jobs
    assert (record.plan.digest, record.plan.expected, record.plan.refused) == (
        decided.digest,
        decided.expected,
        decided.refused,
    )
    assert (record.kind, record.note, record.at, record.undone) == ("manual", "again", 6.0, None)
    assert (listed.id, listed.plan.jobs, touched) == (rerun, (), 3)


def test_a_plan_is_outdated_when_a_job_of_it_has_moved(store, failed):
    _, jobs = failed
    decided = plan(store, [jobs["left"]])
    apply(store, decided)
    with pytest.raises(PlanOutdated, match="`left`"):
        apply(store, decided)
    assert faults(store) == []


def test_a_plan_is_outdated_when_a_job_that_it_read_has_moved(store, failed):
    _, jobs = failed
    decided = plan(store, [jobs["left"]])
    apply(store, plan(store, [jobs["right"]]))
    with pytest.raises(PlanOutdated, match="`right`"):
        apply(store, decided)


def test_many_outdated_jobs_are_named_up_to_ten(store):
    workflow = submit(store, {f"job{n:02}": [] for n in range(14)})
    run(store, workflow)
    decided = plan(store, list(ids(store, workflow).values()))
    apply(store, decided)
    with pytest.raises(PlanOutdated, match="`job09` and 4 more have moved"):
        apply(store, decided)


def test_a_plan_for_jobs_that_are_gone_is_outdated(store, failed):
    workflow, jobs = failed
    decided = plan(store, [jobs["left"]])
    with store.write() as archive:
        archive.workflows.delete(workflow)
    other = submit(store, DIAMOND)
    assert not set(ids(store, other).values()) & set(jobs.values())
    with pytest.raises(PlanOutdated, match="left"):
        apply(store, decided)


def test_undo_puts_everything_back(store, failed):
    workflow, jobs = failed
    before = states(store, workflow)
    rerun = apply(store, plan(store, [jobs["top"]]))
    assert set(states(store, workflow).values()) == {R, W}
    with store.read() as archive:
        assert archive.reruns.newest_manual() == rerun
    undo(store, rerun)
    assert states(store, workflow) == before
    with store.read() as archive:
        assert archive.reruns.newest_manual() is None
        assert archive.reruns.get(rerun).undone == 7.0
        assert len(archive.attempts.listing(None, workflow, live=True)) == 3
        assert [event.kind for event in archive.events.listing(workflow)] == ["rerun", "undone"]


def test_undo_derives_states_from_what_has_happened_since(store):
    workflow = submit(store, {"b": [], "x": [], "c": ["b", "x"]})
    jobs = ids(store, workflow)
    attempts = {one.job.name: one for one in claim(store, workflow)}
    end(store, [completed_ending(attempts["b"].id)])
    rerun = apply(store, plan(store, [jobs["b"]]))
    end(store, [completed_ending(attempts["x"].id)])
    assert states(store, workflow)["c"] is W
    undo(store, rerun)
    assert states(store, workflow) == {"b": C, "x": C, "c": R}


def test_undo_is_refused_once_something_has_started(store, failed):
    workflow, jobs = failed
    first = apply(store, plan(store, [jobs["left"]]))
    claim(store, workflow)
    with pytest.raises(UndoRefused, match="left"):
        undo(store, first)
    with store.read() as archive:
        assert archive.reruns.undo_conflicts(first) == UndoConflicts(["left"], {})


def test_a_later_rerun_of_the_same_job_is_known(store, failed):
    workflow, jobs = failed
    first = apply(store, plan(store, [jobs["left"]]))
    claimed = claim(store, workflow)
    end(store, [failure_ending(one.id) for one in claimed])
    second = apply(store, plan(store, [jobs["left"]]))
    with store.read() as archive:
        conflicts = archive.reruns.undo_conflicts(first)
    assert conflicts.touched == {"left": [second], "bottom": [second]}
    with pytest.raises(UndoRefused, match=f"rerun {second}"):
        refuse_undo(conflicts)


@st.composite
def histories(draw):
    """A random DAG and a random sequence of operations on it."""
    size = draw(st.integers(1, 9))
    jobs = {
        f"j{child}": [f"j{parent}" for parent in range(child) if draw(st.integers(0, 3)) == 0] for child in range(size)
    }
    names = st.sets(st.sampled_from(list(jobs)), max_size=3)
    steps = draw(
        st.lists(
            st.tuples(st.sampled_from(["run", "claim", "rerun", "resume", "undo", "cancel"]), names),
            min_size=2,
            max_size=8,
        )
    )
    return jobs, steps


def do(store, workflow, jobs, held, what, names):
    """Carry out one operation, unless the domain refuses it."""
    wanted = [jobs[name] for name in sorted(names)]
    match what:
        case "run":
            if held:
                end(store, [completed_ending(one.id) for one in held])
                held.clear()
            run(store, workflow, failing=names)
        case "claim":
            held += claim(store, workflow, limit=2)
        case "rerun" | "resume":
            decided = plan(store, wanted, How(FROM_FAILED_STEP) if what == "resume" else None)
            if decided.jobs:
                apply(store, decided)
        case "undo":
            with store.read() as archive:
                newest = archive.reruns.newest_manual()
            if newest is not None:
                try:
                    undo(store, newest)
                except UndoRefused:
                    return
        case "cancel":
            _cancel(store, wanted)


def _cancel(store, wanted):
    from rekindle.domain.models import StateChange

    with store.write() as archive:
        idle = [job for job in archive.jobs.get(wanted) if job.state in (W, R)]
        archive.jobs.cancel([job.id for job in idle])
        archive.queue.move([StateChange(job.id, job.workflow, job.resource_class, job.state, K) for job in idle])


@given(histories())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_after_any_operations_states_follow_and_no_attempt_is_lost(tmp_path_factory, history):
    with closing(open_store(str(tmp_path_factory.mktemp("s") / "store"), create=True)) as store:
        shape, steps = history
        workflow = submit(store, shape)
        jobs = ids(store, workflow)
        held, seen = [], 0
        for what, names in steps:
            do(store, workflow, jobs, held, what, names)
            assert faults(store) == []
            with store.read() as archive:
                attempts = len(archive.attempts.listing(None, workflow))
            assert attempts >= seen
            seen = attempts


@given(st.integers(0, 2**30), st.data())
@settings(max_examples=25, deadline=None)
def test_undo_restores_every_pointer_and_state(tmp_path_factory, seed, data):
    shape, _ = data.draw(histories())
    with closing(open_store(str(tmp_path_factory.mktemp("s") / "store"), create=True)) as store:
        workflow = submit(store, shape)
        jobs = ids(store, workflow)
        run(store, workflow, failing=data.draw(st.sets(st.sampled_from(list(shape)), max_size=3)))
        with store.read() as archive:
            before = archive.jobs.get(sorted(jobs.values()))
        decided = plan(
            store, sorted(jobs[name] for name in data.draw(st.sets(st.sampled_from(list(shape)), min_size=1)))
        )
        if decided.jobs:
            undo(store, apply(store, decided))
            with store.read() as archive:
                after = archive.jobs.get(sorted(jobs.values()))
            assert [_without_version(job) for job in after] == [_without_version(job) for job in before]
            assert faults(store) == []


def _without_version(job):
    return replace(job, version=0)
