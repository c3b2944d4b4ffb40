"""A new revision and a rerun of its jobs: both in one transaction, or neither."""

from __future__ import annotations

import textwrap

import pytest

from rekindle.domain.errors import NotFound, PlanOutdated, PlanRefused, SubmitRefused
from rekindle.domain.rerun.request import How
from rekindle.domain.selection import Compare, Op, Selection
from rekindle.domain.states import State
from rekindle.engine.queries import selections, workflow_queries
from rekindle.engine.rerun import resubmit
from rekindle.engine.results import PlannedRerun, SubmitPreview
from rekindle.engine.submit.submit import preview, submit
from rekindle.spec import load

C, F, W, R = State.COMPLETED, State.FAILED, State.WAITING, State.READY

FIRST = """
    name: w
    jobs:
      a: {run: "true"}
      b: {needs: [a], run: "false"}
      c: {needs: [b], run: "true"}
    """
MENDED = """
    name: w
    jobs:
      a: {run: "true"}
      b: {needs: [a], run: "true"}
      c: {needs: [b], run: "true"}
      d: {needs: [b], run: "true"}
    """
FAILED = Selection(where=Compare("state", Op.EQ, F))


def proposed(project, text, selection=FAILED, how=None, path="spec.yaml", slots=1000):
    (project.folder / path).write_text(textwrap.dedent(text))
    definition = resubmit.definition_for_workflow(project.session, load(project.folder / path), selection.workflow)
    pick = resubmit.requests_for_selection(project.session, definition, selection, how or How())
    return resubmit.plan_resubmit(project.session, definition, pick, {"asked": "so"}, slots=slots)


def everything(project):
    with project.session.store.read() as archive:
        jobs = archive.jobs.get(archive.jobs.select(Selection().where, 1, True))
        return archive.workflows.find("w"), jobs, archive.reruns.listing(None), archive.events.listing(None)


def test_the_plan_is_of_the_new_revision_and_nothing_is_done_until_it_is_applied(project):
    project.run(FIRST)
    before = everything(project)
    found = proposed(project, MENDED)
    assert isinstance(found, PlannedRerun)
    assert {job.name: job.after for job in found.plan.jobs} == {"b": R, "c": W, "d": W}
    assert found.planned_submission.preview.submitted.added == ("d",)
    assert everything(project) == before
    applied = resubmit.apply(project.session, found)
    assert (applied.submitted.revision, applied.ready) == (2, 1)
    assert [(one.kind, touched) for one, touched in workflow_queries.reruns(project.session)] == [
        ("manual", 3),
        ("revision", 2),
    ]
    assert project.work().completed == 3
    assert set(project.states().values()) == {C}


def test_the_selection_is_made_in_the_new_revision(project):
    project.run(FIRST)
    with pytest.raises(NotFound, match="no such job in this workflow: d"):
        proposed(project, FIRST.replace("false", "true"), Selection(jobs=("d",)))
    found = proposed(project, MENDED.replace("c: {", "c2: {"), Selection(jobs=("b", "d")))
    assert [job.name for job in found.plan.jobs] == ["b", "c2", "d"]
    assert [job.name for job in found.plan.refused] == []


def test_when_nothing_can_be_rerun_nothing_is_submitted(project):
    project.run(FIRST)
    before = everything(project)
    with pytest.raises(PlanRefused, match="it is waiting") as refused:
        proposed(project, MENDED, Selection(jobs=("d",)))
    assert "nothing is submitted either" in refused.value.hint
    nothing = proposed(project, MENDED, Selection(where=Compare("state", Op.EQ, State.CANCELED)))
    assert isinstance(nothing, SubmitPreview)
    assert everything(project) == before


def test_a_file_as_it_was_stored_makes_no_revision(project):
    project.run(FIRST)
    applied = resubmit.apply(project.session, proposed(project, FIRST, path="spec.yaml"))
    assert applied.submitted.unchanged
    assert [one.kind for one, _ in workflow_queries.reruns(project.session)] == ["manual"]


def test_only_jobs_of_the_specs_workflow_are_selected(project):
    project.run(FIRST)
    project.submit(FIRST.replace("name: w", "name: v"), name="v.yaml")
    project.work()
    found = proposed(project, MENDED)
    assert {job.name for job in found.plan.jobs if job.before is F} == {"b"}
    with pytest.raises(SubmitRefused, match="-w names 'v'"):
        proposed(project, MENDED, Selection(workflow="v"))
    with pytest.raises(NotFound, match="'other'"):
        proposed(project, MENDED.replace("name: w", "name: other"))


def test_a_workflow_that_was_submitted_under_another_name_is_named_with_it(project):
    project.submit(FIRST.replace("name: w", "name: x"), name="next.yaml")
    project.work()
    project.submit(FIRST, name="named.yaml")
    found = proposed(
        project, MENDED.replace("name: w", "name: y"), Selection(workflow="x", jobs=("a",)), path="next.yaml"
    )
    assert isinstance(found, PlannedRerun)


@pytest.mark.parametrize("moved", ["a job ended", "another revision", "the jobs that are meant"])
def test_a_plan_with_another_result_is_refused_as_a_whole(project, moved):
    project.run(FIRST)
    found = proposed(project, MENDED)
    if moved == "a job ended":
        project.rerun("b")
    elif moved == "another revision":
        project.submit(FIRST.replace("c: {", "e: {"))
    else:
        with project.session.store.write() as archive:
            archive.jobs.hold([2], "meanwhile")
    before = everything(project)
    with pytest.raises(PlanOutdated):
        resubmit.apply(project.session, found)
    assert everything(project) == before


def test_the_expected_cost_may_change_meanwhile(project):
    project.run(FIRST)
    found = proposed(project, MENDED, slots=7)
    assert found.plan.expected.cores == 7.0
    assert resubmit.apply(project.session, found).submitted.revision == 2


def test_of_several_workflows_of_one_name_the_one_that_is_meant_is_revised(project):
    project.run(FIRST)
    newest = project.submit(FIRST, new=True).workflow
    (project.folder / "spec.yaml").write_text(textwrap.dedent(MENDED))
    definition = load(project.folder / "spec.yaml")
    failed = selections.select(project.session, Selection(workflow="1", where=FAILED.where))
    found = resubmit.plan_resubmit(
        project.session, definition, resubmit.requests_for_jobs(failed, How()), {}, revision_of=1
    )
    assert resubmit.apply(project.session, found).submitted.workflow == 1
    assert preview(project.session, definition, revision_of=1).submitted.unchanged
    for act in (preview, submit):
        with pytest.raises(NotFound):
            act(project.session, definition, revision_of=99)
    assert not preview(project.session, definition).submitted.unchanged
    assert submit(project.session, definition, revision_of=1).unchanged
    assert selections.find_workflow(project.session, str(newest)).revision == 1
