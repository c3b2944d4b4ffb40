"""A changed definition becomes the next revision, and the revision is recorded."""

from __future__ import annotations

import pytest

from rekindle.domain.errors import NotFound, SubmitRefused, UndoRefused
from rekindle.domain.rerun.plan import ReasonKind
from rekindle.domain.states import State
from rekindle.engine.queries import selections, workflow_queries
from rekindle.engine.rerun import rerun
from rekindle.engine.submit.revise import compare_revisions
from rekindle.engine.submit.submit import delete_workflow, preview
from rekindle.spec import load

C, F, W, R = State.COMPLETED, State.FAILED, State.WAITING, State.READY

FIRST = """
    name: w
    params: {p: 1}
    jobs:
      a: {run: "true"}
      b: {needs: [a], run: "false"}
      gone: {run: "true"}
    """
SECOND = """
    name: w
    params: {p: 1}
    jobs:
      a: {run: "echo changed"}
      b: {run: "false"}
      new: {needs: [b], run: "true"}
    """


def kinds(plan):
    return {job.name: [reason.kind for reason in job.reasons] for job in plan.jobs}


def test_a_revision_is_recorded_with_the_jobs_that_it_touched(project):
    project.run(FIRST)
    done = project.submit(SECOND)
    record = workflow_queries.rerun(project.session, done.rerun)
    assert (record.kind, record.request["revision"], record.request["name"]) == ("revision", 2, "w")
    assert kinds(record.plan) == {
        "a": [ReasonKind.REDEFINED],
        "b": [ReasonKind.REWIRED],
        "gone": [ReasonKind.RETIRED],
        "new": [ReasonKind.ADDED],
    }
    assert {job.name: (job.before, job.after) for job in record.plan.jobs} == {
        "a": (C, C),
        "b": (F, F),
        "gone": (C, C),
        "new": (W, W),
    }
    assert [event.detail["rerun"] for event in workflow_queries.events(project.session) if event.kind == "revised"] == [
        done.rerun
    ]
    assert [one.id for one, _ in workflow_queries.reruns(project.session, "w")] == [done.rerun]


def test_an_edge_that_moves_tells_what_waits_and_what_is_ready_now(project):
    project.submit("{name: w, jobs: {a: {run: x}, b: {run: x}, c: {needs: [a], run: x}}}")
    done = project.submit("{name: w, jobs: {a: {run: x}, b: {needs: [a], run: x}, c: {run: x}}}")
    assert {job.name: (job.before, job.after) for job in done.plan.jobs} == {"b": (R, W), "c": (W, R)}


def test_parameters_alone_make_a_revision_that_touches_no_job(project):
    project.submit(FIRST)
    done = project.submit(FIRST.replace("p: 1", "p: 2"))
    assert (done.revision, done.plan.jobs) == (2, ())
    assert [(one.kind, touched) for one, touched in workflow_queries.reruns(project.session, "w")] == [("revision", 0)]


def test_a_submission_is_not_undone_and_a_bare_undo_means_the_rerun_before_it(project):
    project.run(FIRST)
    applied = project.rerun("b")
    done = project.submit(SECOND)
    with pytest.raises(UndoRefused, match="submission of revision 2 of w") as refused:
        rerun.undo(project.session, done.rerun)
    assert "submit the earlier file" in refused.value.hint
    assert rerun.undo(project.session).rerun == applied.rerun
    assert project.states()["b"] is F


def test_a_preview_says_what_would_be_and_changes_nothing(project):
    project.run(FIRST)
    path = project.folder / "spec.yaml"
    path.write_text(SECOND)
    definition = load(path)
    with project.session.store.read() as archive:
        before = archive.workflows.find("w"), archive.events.listing(None), archive.jobs.get([1, 2, 3, 4])
    seen = preview(project.session, definition)
    assert (seen.submitted.revision, seen.submitted.added, seen.submitted.retired) == (2, ("new",), ("gone",))
    assert [group.jobs for group in seen.diff.changed] == [("a",)]
    assert preview(project.session, definition) == seen
    with project.session.store.read() as archive:
        after = archive.workflows.find("w"), archive.events.listing(None), archive.jobs.get([1, 2, 3, 4])
    assert after == before
    assert kinds(project.submit(SECOND, name="spec.yaml").plan) == kinds(seen.submitted.plan)


def test_jobs_added_by_a_removed_job_are_retired_and_named(project):
    acting = """
        name: w
        jobs:
          adder: {run: "echo '{\\"add\\": [{\\"name\\": \\"extra\\", \\"run\\": \\"true\\"}]}' > $REKINDLE_ACTION"}
          other: {run: "true"}
        """
    project.run(acting)
    done = project.submit("{name: w, jobs: {other: {run: 'true'}}}")
    assert kinds(done.plan) == {"adder": [ReasonKind.RETIRED], "extra": [ReasonKind.RETIRED]}


def test_a_revision_that_leaves_out_what_runs_is_refused_and_so_is_its_preview(project):
    project.submit(FIRST)
    with project.session.store.write() as archive:
        claimed = archive.queue.ready(1, 5)
        number = archive.queue.next_attempt()
        from rekindle.domain.models import NewAttempt

        job = next(one for one in claimed if one.name == "gone")
        archive.queue.claim([NewAttempt(number, "t", job, "/nowhere")], 1, 1.0)
    (project.folder / "spec.yaml").write_text(SECOND)
    for act in (preview, lambda session, definition: project.submit(SECOND)):
        with pytest.raises(SubmitRefused, match="gone"):
            act(project.session, load(project.folder / "spec.yaml"))


def test_any_two_revisions_are_compared_and_one_that_is_not_there_is_named(project):
    project.submit(FIRST)
    project.submit(SECOND)
    project.submit(FIRST.replace("p: 1", "p: 2"))
    known = selections.find_workflow(project.session, "w")
    there = compare_revisions(project.session, known, 1, 2)
    assert [group.jobs for group in there.added] == [("new",)]
    back = compare_revisions(project.session, known, 2, 1)
    assert [group.jobs for group in back.removed] == [("new",)]
    only = compare_revisions(project.session, known, 1, 3)
    assert (only.added, only.removed, only.changed, only.edges) == ((), (), (), ())
    assert [one.field for one in only.params] == ["p"]
    with pytest.raises(NotFound, match="no revision 4"):
        compare_revisions(project.session, known, 1, 4)


def test_deleting_a_workflow_removes_its_revisions_records_and_leaves_those_of_others(project):
    project.submit(FIRST)
    project.submit(FIRST.replace("p: 1", "p: 2"))
    project.submit(FIRST.replace("name: w", "name: v"), name="v.yaml")
    project.submit(FIRST.replace("name: w", "name: v").replace("p: 1", "p: 2"), name="v.yaml")
    assert len(workflow_queries.reruns(project.session)) == 2
    delete_workflow(project.session, 1)
    assert [one.request["name"] for one, _ in workflow_queries.reruns(project.session)] == ["v"]
