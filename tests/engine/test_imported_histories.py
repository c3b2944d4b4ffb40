"""Importing workflows with their history."""

from __future__ import annotations

from pathlib import Path

import pytest

from rekindle.domain.definition import Definition, JobNode, JobTemplate, Step
from rekindle.domain.errors import Refused, UndoRefused
from rekindle.domain.histories import PastAttempt, PastJob, PastWorkflow
from rekindle.domain.models import Failure, StepOutcome
from rekindle.domain.rerun.plan import ReasonKind
from rekindle.domain.rerun.request import How
from rekindle.domain.states import Cause, State
from rekindle.engine.queries import job_queries, selections, workflow_queries
from rekindle.engine.rerun import rerun
from rekindle.engine.submit.histories import ImportedWorkflow, import_workflows

STEPS = (Step("one", run="echo one >> lines"), Step("two", run="echo two >> lines"))
BAD = Failure("ValueError", "no", "Traceback\nValueError: no\n")


def past(folder: Path, jobs: dict[str, PastJob], needs: dict[str, list[str]] | None = None, **more) -> PastWorkflow:
    names = list(jobs)
    edges = [(names.index(one), names.index(child)) for child, above in (needs or {}).items() for one in above]
    template = JobTemplate("work", STEPS, workdir="attempt")
    definition = Definition("flow", str(folder), [template], [JobNode(name, 0) for name in names], edges)
    return PastWorkflow(definition, tuple(jobs.values()), submitted=5.0, **more)


def failed(**more) -> PastAttempt:
    steps = (StepOutcome(0, "one", State.COMPLETED, result="1"), StepOutcome(1, "two", State.FAILED, Cause.EXCEPTION))
    return PastAttempt(20.0, Cause.EXCEPTION, started=10.0, failure=BAD, steps=steps, host="node1", **more)


def completed(**more) -> PastAttempt:
    steps = tuple(StepOutcome(at, step.name, State.COMPLETED) for at, step in enumerate(STEPS))
    return PastAttempt(40.0, started=30.0, result='{"total": 3}', steps=steps, **more)


def brought(project, *workflows: PastWorkflow) -> list[ImportedWorkflow]:
    made = import_workflows(project.session, workflows, "elsewhere")
    project.check()
    return made


def test_states_follow_from_the_attempts_that_come_with_jobs(project) -> None:
    jobs = {
        "top": PastJob((completed(archived=False),)),
        "left": PastJob((failed(), failed(archived=False))),
        "right": PastJob((failed(),)),
        "bottom": PastJob(held="paused"),
    }
    needs = {"left": ["top"], "right": ["top"], "bottom": ["left", "right"]}
    new = brought(project, past(project.folder, jobs, needs))[0]
    assert project.states() == {
        "top": State.COMPLETED,
        "left": State.FAILED,
        "right": State.READY,
        "bottom": State.WAITING,
    }
    first, second = project.attempts("left")
    assert (first.number, first.archived_by is not None) == (1, True)
    assert (second.number, second.archived_by) == (2, None)
    assert second.failure == BAD
    assert second.cause is Cause.EXCEPTION
    assert (second.started, second.ended, second.host) == (10.0, 20.0, "node1")
    assert first.signature == second.signature is not None
    assert job_queries.jobs(project.session, [new.jobs[3]])[0].job.held == "paused"
    assert workflow_queries.status(project.session, str(new.workflow))[0].seconds == 30.0


def test_archived_attempts_are_recorded_as_a_rerun_that_cannot_be_undone(project) -> None:
    new = brought(project, past(project.folder, {"only": PastJob((failed(), completed(archived=False)))}))[0]
    number = project.attempts("only")[0].archived_by
    record = workflow_queries.rerun(project.session, number)
    assert record.kind == "import"
    assert record.request == {"import": "elsewhere"}
    assert [(job.archives, job.reasons[0].kind) for job in record.plan.jobs] == [
        ((new.attempts[0][0],), ReasonKind.IMPORTED)
    ]
    with pytest.raises(UndoRefused, match="before they were imported"):
        rerun.undo(project.session, number)


def test_an_imported_failure_resumes_at_its_failed_step(project) -> None:
    folder = project.folder / "launch"
    folder.mkdir()
    (folder / "lines").write_text("one\n")
    brought(project, past(project.folder, {"only": PastJob((failed(archived=False, folder=str(folder)),))}))
    project.rerun("only", how=How(start="failed-step"))
    assert project.work().counts == {State.COMPLETED: 1}
    old, new = project.attempts("only")
    assert (Path(new.folder) / "lines").read_text() == "one\ntwo\n"
    assert (folder / "lines").read_text() == "one\n"
    assert (new.builds_on, new.steps[0].kept_from, new.steps[0].result) == (old.id, old.id, "1")


def test_an_imported_resume_point_is_used(project) -> None:
    folder = project.folder / "launch"
    folder.mkdir()
    asked = PastJob((failed(folder=str(folder)),), resume=0, resume_step=1, take="same")
    brought(project, past(project.folder, {"only": asked}))
    project.work()
    assert project.states() == {"only": State.COMPLETED}
    assert (folder / "lines").read_text() == "two\n"


def test_a_later_rerun_is_undone_as_any(project) -> None:
    brought(project, past(project.folder, {"only": PastJob((failed(), completed(archived=False)))}))
    applied = project.rerun("only")
    assert project.states() == {"only": State.READY}
    rerun.undo(project.session, applied.rerun)
    project.check()
    assert project.states() == {"only": State.COMPLETED}


def test_ids_are_kept_while_none_has_been_given_out(project) -> None:
    one = past(project.folder, {"a": PastJob((completed(id=31, archived=False),)), "b": PastJob()}, ids=(12, 7))
    two = past(project.folder, {"c": PastJob((failed(id=3), completed(id=40, archived=False)))}, ids=(9,))
    made = brought(project, one, two)
    assert [(new.jobs, new.attempts) for new in made] == [((12, 7), ((31,), ())), ((9,), ((3, 40),))]
    assert project.attempts("c")[1].id == 40
    again = brought(project, one)[0]
    assert again.jobs == (13, 14)
    assert again.attempts == ((41,), ())


def test_steps_and_attempts_point_to_each_other_by_position(project) -> None:
    kept = StepOutcome(0, "one", State.COMPLETED, kept_from=0)
    second = PastAttempt(9.0, archived=False, steps=(kept, StepOutcome(1, "two", State.COMPLETED)), builds_on=0)
    brought(project, past(project.folder, {"only": PastJob((failed(), second))}))
    old, new = project.attempts("only")
    assert (new.builds_on, new.steps[0].kept_from) == (old.id, old.id)


def test_an_archived_workflow_stays_archived(project) -> None:
    new = brought(project, past(project.folder, {"only": PastJob()}, archived=99.0))[0]
    assert selections.find_workflow(project.session, str(new.workflow)).archived == 99.0
    assert selections.find_workflow(project.session, str(new.workflow)).submitted == 5.0


@pytest.mark.parametrize(
    ("job", "why"),
    [
        (PastJob((completed(archived=False), completed())), "an attempt that is not its last is live"),
        (PastJob((failed(builds_on=0),)), "builds on one that did not come before"),
        (PastJob((completed(archived=False),), resume=0), "it resumes an attempt that does not exist"),
        (PastJob((PastAttempt(1.0, started=2.0),)), "ended before it started"),
        (PastJob((PastAttempt(1.0, failure=BAD),)), "completed and says how it failed"),
    ],
)
def test_an_impossible_history_is_refused(project, job: PastJob, why: str) -> None:
    good = past(project.folder, {"good": PastJob()})
    with pytest.raises(Refused, match=f"'bad'.*{why}"):
        import_workflows(project.session, [good, past(project.folder, {"bad": job})], "elsewhere")
    assert workflow_queries.workflows(project.session) == []


def test_an_event_records_each_imported_workflow(project) -> None:
    brought(project, past(project.folder, {"only": PastJob((completed(archived=False),))}))
    event = workflow_queries.events(project.session)[-1]
    assert (event.kind, event.detail) == ("imported", {"name": "flow", "jobs": 1, "source": "elsewhere"})
