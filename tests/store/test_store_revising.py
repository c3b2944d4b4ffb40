"""Submitting, revising and deleting workflows."""

from __future__ import annotations

import pytest
from store_driving import DIAMOND, apply, claim, ids, plan, revise, run, states, submit, template

from rekindle.domain.definition import Definition, JobNode, JobTemplate, Resources, Step
from rekindle.domain.errors import PlanOutdated
from rekindle.domain.rerun.request import FROM_FAILED_STEP, How
from rekindle.domain.states import State
from rekindle.store.sqlite_driver import SqliteDriver

W, R, Q, X, C, F, K = State


def test_a_workflow_is_found_as_it_was_submitted(store):
    given = Definition(
        "sweep",
        "/project",
        [template("train", "one", priority=3, outputs={"m": "m.npz"}, env={"A": "b"})],
        [JobNode("train[k=1]", 0, {"k": 1}), JobNode("train[k=2]", 0, {"k": 2})],
        [(0, 1)],
        project="alloys",
        params={"alpha": 0.1, "deep": {"list": [1, None]}},
        source="/project/spec.yaml",
        source_digest="ab",
    )
    with store.write() as archive:
        number = archive.workflows.add(given, 5.0)
    with store.read() as archive:
        found = archive.workflows.find("sweep")
        assert archive.workflows.find(number) == found
        assert (found.name, found.project, found.directory, found.source) == (
            "sweep",
            "alloys",
            "/project",
            "/project/spec.yaml",
        )
        assert (found.revision, found.submitted, found.source_digest, found.archived) == (1, 5.0, "ab", None)
        assert archive.workflows.params(number, 1) == given.params
        [(row, stored)] = archive.workflows.templates(number)
        assert stored == given.templates[0] == archive.workflows.template(row)
        jobs = archive.jobs.get(archive.jobs.named(["train[k=1]"], None)["train[k=1]"])
        assert (jobs[0].binding, jobs[0].priority) == ('{"k":1}', 3)
        assert archive.workflows.edges(number) == [(jobs[0].id, jobs[0].id + 1)]
        assert archive.workflows.span(number) == (None, None)
        assert archive.workflows.find("other") is archive.workflows.find(99) is None


def test_everything_that_a_template_can_hold_comes_back(store):
    whole = JobTemplate(
        "all",
        (
            Step("line", run="echo ${matrix.k} 'ü'", shell="bash"),
            Step("vector", run=("echo", "a b")),
            Step("called", call="m:f", args={"x": [1, {"y": None}], "z": True}),
        ),
        inputs={"raw": "data/raw.csv"},
        outputs={"o": "out"},
        env={"A": "1"},
        resources=Resources(0.5, 512 << 20, 1, 600.0, (("matlab", 2),)),
        priority=-3,
        workdir="attempt",
    )
    workflow = submit(store, {"a": []}, template={"a": whole})
    with store.read() as archive:
        assert [stored for _, stored in archive.workflows.templates(workflow)] == [whole]
        [ready] = archive.queue.ready(workflow, 9)
        assert archive.jobs.resources([ready.resource_class]) == {ready.resource_class: whole.resources}


def test_an_unchanged_revision_changes_no_job(store):
    workflow = submit(store, DIAMOND)
    run(store, workflow)
    with store.read() as archive:
        before = archive.jobs.get([1, 2, 3, 4])
        templates = archive.workflows.templates(workflow)
    revised = revise(store, workflow, DIAMOND, params={"a": 1})
    assert (revised.revision, revised.added, revised.retired, revised.changed) == (2, (), (), ())
    with store.read() as archive:
        assert archive.jobs.get([1, 2, 3, 4]) == before
        assert archive.workflows.templates(workflow) == templates
        assert archive.workflows.find(workflow).revision == 2
        assert archive.workflows.params(workflow, 2) == {"a": 1}
        assert archive.workflows.params(workflow, 1) == {}


def test_jobs_are_added_retired_and_changed_by_name(store):
    workflow = submit(store, DIAMOND)
    run(store, workflow, failing=["left"])
    changed = template("other", "one")
    revised = revise(
        store,
        workflow,
        {"top": [], "left": ["top"], "new": ["top"], "bottom": ["left", "new"]},
        template={"left": changed},
    )
    assert (revised.added, revised.retired, revised.changed) == (("new",), ("right",), ("left",))
    assert states(store, workflow) == {"top": C, "left": F, "new": R, "bottom": W}
    with store.read() as archive:
        assert archive.workflows.find(workflow).counts == {C: 1, F: 1, R: 1, W: 1}
        assert archive.jobs.get(archive.jobs.named(["right"], workflow)["right"])[0].retired
    run(store, workflow)
    assert states(store, workflow)["bottom"] is W


def test_a_retired_job_comes_back_with_its_history(store):
    workflow = submit(store, {"a": [], "b": []})
    run(store, workflow)
    number = ids(store, workflow)["b"]
    revise(store, workflow, {"a": []})
    assert states(store, workflow) == {"a": C}
    revised = revise(store, workflow, {"a": [], "b": ["a"]})
    assert revised.added == ("b",)
    assert ids(store, workflow)["b"] == number
    assert states(store, workflow) == {"a": C, "b": C}


def test_a_new_edge_makes_a_ready_job_wait_and_its_loss_makes_it_ready(store):
    workflow = submit(store, {"a": [], "b": []})
    revise(store, workflow, {"a": [], "b": ["a"]})
    assert states(store, workflow) == {"a": R, "b": W}
    revise(store, workflow, {"a": [], "b": []})
    assert states(store, workflow) == {"a": R, "b": R}


def test_a_revision_that_changes_descendants_outdates_a_plan(store):
    workflow = submit(store, {"a": [], "b": []})
    run(store, workflow)
    decided = plan(store, [ids(store, workflow)["a"]])
    revise(store, workflow, {"a": [], "b": ["a"]})
    with pytest.raises(PlanOutdated, match="`a`"):
        apply(store, decided)


def test_a_resume_point_is_dropped_when_the_kept_steps_change(store):
    workflow = submit(store, {"a": []})
    run(store, workflow, failing=["a"])
    apply(store, plan(store, [ids(store, workflow)["a"]], How(FROM_FAILED_STEP)))
    revise(store, workflow, {"a": []}, template={"a": template("a", "one", "two", "three")})
    with store.read() as archive:
        assert archive.jobs.get([1])[0].next.resume_step == 1
    revise(store, workflow, {"a": []}, template={"a": template("a", "zero", "two")})
    [attempt] = claim(store, workflow)
    assert (attempt.job.next.resume_attempt, attempt.job.next.resume_step, attempt.job.revision) == (None, 0, 3)


def test_a_name_means_the_newest_workflow_that_is_not_archived(store):
    first, second = submit(store, {"a": []}), submit(store, {"a": []})
    with store.write() as archive:
        assert archive.workflows.find("flow").id == second
        archive.workflows.archive(second, 3.0)
        assert archive.workflows.find("flow").id == first
        assert [one.id for one in archive.workflows.listing()] == [first]
        assert [one.id for one in archive.workflows.listing(archived=True)] == [first, second]
        archive.workflows.archive(first, 4.0)
        assert archive.workflows.find("flow").id == second


def test_deleting_removes_every_row_of_one_workflow_only(store):
    kept, gone = submit(store, DIAMOND), submit(store, DIAMOND)
    for workflow in (kept, gone):
        run(store, workflow, failing=["left"])
        apply(store, plan(store, [ids(store, workflow)["left"]]))
        run(store, workflow)
    with store.write() as archive:
        archive.events.add(1.0, "told", gone, {})
        archive.workflows.delete(gone)
    with store.read() as archive:
        assert [one.id for one in archive.workflows.listing(archived=True)] == [kept]
        assert len(archive.attempts.listing(None, None)) == 5
        assert len(archive.reruns.listing(None)) == 1
        assert {event.workflow for event in archive.events.listing(None)} == {kept}
        assert archive.queue.next_attempt() == 11
    assert submit(store, {"a": []}) == gone + 1
    if isinstance(store._driver, SqliteDriver):  # the other database checks references at each commit
        assert store._driver.connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_a_workflow_that_never_ran_can_be_deleted(store):
    workflow = submit(store, {"a": []})
    with store.write() as archive:
        archive.workflows.delete(workflow)
        assert archive.workflows.listing(archived=True) == []
    assert submit(store, {"a": []}) == workflow + 1
