"""Property test: any imported history gives consistent states, and reruns of it can be applied and undone."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from rekindle.domain.definition import Definition, JobNode, JobTemplate, Step
from rekindle.domain.errors import PlanRefused
from rekindle.domain.histories import PastAttempt, PastJob, PastWorkflow
from rekindle.domain.models import StepOutcome
from rekindle.domain.rerun.request import How
from rekindle.domain.selection import AllOf
from rekindle.domain.states import Cause, State, state_after
from rekindle.engine.queries import job_queries
from rekindle.engine.rerun import rerun
from rekindle.engine.session import Session, open_session
from rekindle.engine.submit.histories import import_workflows

STEPS = ("one", "two", "three")
TEMPLATE = JobTemplate("work", tuple(Step(name, run="true") for name in STEPS), workdir="attempt")
FINISHED = JobTemplate("last", TEMPLATE.steps, when="finished")


@st.composite
def attempts(draw: st.DrawFn) -> tuple[PastAttempt, ...]:
    found: list[PastAttempt] = []
    count = draw(st.integers(0, 3))
    live = draw(st.booleans())
    for number in range(count):
        cause = draw(st.sampled_from([None, Cause.EXCEPTION, Cause.LOST, Cause.CANCELED]))
        reached = draw(st.integers(0, 2))
        steps = [StepOutcome(at, STEPS[at], State.COMPLETED, result="{}") for at in range(reached)]
        if cause is None:
            steps = [StepOutcome(at, name, State.COMPLETED) for at, name in enumerate(STEPS)]
        else:
            steps.append(StepOutcome(reached, STEPS[reached], state_after(cause), cause))
        archived = not (live and number == count - 1)
        found.append(
            PastAttempt(number + 1.5, cause, archived, started=float(number), steps=tuple(steps), host="there")
        )
    return tuple(found)


@st.composite
def jobs(draw: st.DrawFn) -> PastJob:
    history = draw(attempts())
    held = draw(st.sampled_from([None, None, "paused"]))
    idle = all(one.archived for one in history)
    if history and idle and draw(st.booleans()):
        return PastJob(history, held, resume=len(history) - 1, resume_step=len(history[-1].steps) - 1)
    return PastJob(history, held)


@st.composite
def workflows(draw: st.DrawFn) -> PastWorkflow:
    count = draw(st.integers(1, 6))
    pairs = [(one, other) for other in range(count) for one in range(other)]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    nodes = [JobNode(f"job-{at}", draw(st.sampled_from([0, 0, 0, 1]))) for at in range(count)]
    definition = Definition("flow", "/", [TEMPLATE, FINISHED], nodes, edges)
    return PastWorkflow(definition, tuple(draw(jobs()) for _ in range(count)), submitted=0.0)


def checked(session: Session) -> dict[int, State]:
    with session.store.read() as archive:
        assert archive.check() == []
        ids = archive.jobs.select(AllOf(), None)
        return {job.id: job.state for job in archive.jobs.get(ids)}


@given(st.lists(workflows(), min_size=1, max_size=2), st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_any_imported_history_is_consistent(found, random) -> None:
    with tempfile.TemporaryDirectory() as folder, open_session(str(Path(folder, ".rekindle"))) as session:
        brought = import_workflows(session, found, "elsewhere")
        before = checked(session)
        for past, new in zip(found, brought, strict=True):
            rows = {row.job.id: row for row in job_queries.jobs(session, new.jobs)}
            for job, one in zip(new.jobs, past.jobs, strict=True):
                assert rows[job].job.attempts == len(one.attempts)
                assert rows[job].job.held == one.held
                live = [each for each in one.attempts if not each.archived]
                if live:
                    assert rows[job].job.state == state_after(live[0].cause)
        every = [job for new in brought for job in new.jobs]
        chosen = random.sample(every, random.randint(1, len(every)))
        how = How(start=random.choice(["beginning", "failed-step"]), workdir="new")
        try:
            applied = rerun.apply(session, rerun.plan(session, [(chosen, how)], {"jobs": chosen}))
        except PlanRefused:
            assert checked(session) == before
            return
        checked(session)
        rerun.undo(session, applied.rerun)
        assert checked(session) == before
