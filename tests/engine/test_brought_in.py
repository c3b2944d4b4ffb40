"""Workflows that come with what has run of them elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from rekindle.domain.causes import Cause
from rekindle.domain.definition import Definition, JobNode, JobTemplate, Step
from rekindle.domain.errors import Refused, UndoRefused
from rekindle.domain.histories import PastAttempt, PastJob, PastWorkflow
from rekindle.domain.models import Failure, StepOutcome
from rekindle.domain.rerunning.rerun import How, ReasonKind
from rekindle.domain.states import State
from rekindle.engine.looking import look
from rekindle.engine.rerunning import rerun
from rekindle.engine.submitting.histories import BroughtIn, bring_in

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


def brought(project, *workflows: PastWorkflow) -> list[BroughtIn]:
    made = bring_in(project.session, workflows, "elsewhere")
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
    assert look.jobs(project.session, [new.jobs[3]])[0].job.held == "paused"
    assert look.status(project.session, str(new.workflow))[0].seconds == 30.0


def test_a_rerun_tells_of_what_was_archived_before_and_is_not_undone(project) -> None:
    new = brought(project, past(project.folder, {"only": PastJob((failed(), completed(archived=False)))}))[0]
    number = project.attempts("only")[0].archived_by
    record = look.rerun(project.session, number)
    assert record.kind == "import"
    assert record.request == {"import": "elsewhere"}
    assert [(job.archives, job.reasons[0].kind) for job in record.plan.jobs] == [
        ((new.attempts[0][0],), ReasonKind.IMPORTED)
    ]
    with pytest.raises(UndoRefused, match="before they were imported"):
        rerun.undo(project.session, number)


def test_what_failed_elsewhere_goes_on_here_from_the_step_that_failed(project) -> None:
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


def test_a_resume_that_was_asked_for_elsewhere_is_done_here(project) -> None:
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
    assert look.find_workflow(project.session, str(new.workflow)).archived == 99.0
    assert look.find_workflow(project.session, str(new.workflow)).submitted == 5.0


@pytest.mark.parametrize(
    ("job", "why"),
    [
        (PastJob((completed(archived=False), completed())), "an attempt that is not its last is live"),
        (PastJob((failed(builds_on=0),)), "builds on one that did not come before"),
        (PastJob((completed(archived=False),), resume=0), "to go on from an attempt that is not there"),
        (PastJob((PastAttempt(1.0, started=2.0),)), "ended before it started"),
        (PastJob((PastAttempt(1.0, failure=BAD),)), "completed and says how it failed"),
    ],
)
def test_a_history_that_cannot_have_been_is_refused_and_nothing_is_done(project, job: PastJob, why: str) -> None:
    good = past(project.folder, {"good": PastJob()})
    with pytest.raises(Refused, match=f"'bad'.*{why}"):
        bring_in(project.session, [good, past(project.folder, {"bad": job})], "elsewhere")
    assert look.workflows(project.session) == []


def test_an_event_tells_of_each_workflow_that_came(project) -> None:
    brought(project, past(project.folder, {"only": PastJob((completed(archived=False),))}))
    event = look.events(project.session)[-1]
    assert (event.kind, event.detail) == ("imported", {"name": "flow", "jobs": 1, "source": "elsewhere"})
