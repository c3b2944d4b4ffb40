"""What earlier attempts took, as plans reckon with it."""

from __future__ import annotations

from store_driving import apply, claim, end, failure_ending, ids, plan, submit

from rekindle.domain.models import Ending, StepOutcome
from rekindle.domain.rerunning.costs import Past
from rekindle.domain.states import State

C = State.COMPLETED


def took(attempt: int, first: float, second: float) -> Ending:
    """Completed at 100 + both, its steps one after the other."""
    half, over = 100.0 + first, 100.0 + first + second
    steps = (StepOutcome(0, "one", C, started=100.0, ended=half), StepOutcome(1, "two", C, started=half, ended=over))
    return Ending(attempt, C, started=100.0, ended=over, steps=steps)


def test_medians_are_told_by_job_by_template_and_by_step(store):
    workflow = submit(store, {"a": [], "b": [], "c": []})
    job = ids(store, workflow)
    for first, second in ((1.0, 2.0), (3.0, 5.0), (1.0, 4.0)):
        end(store, [took(one.id, first, second) for one in claim(store, workflow) if one.job.name == "a"])
        apply(store, plan(store, [job["a"]]))
    with store.read() as archive:
        past = archive.attempts.past(job.values(), [job["b"]], 4.0)
    assert past == Past(
        jobs={job["a"]: 5.0},
        alike={job["b"]: 5.0, job["c"]: 5.0},
        steps_alike={job["b"]: {"one": 1.0, "two": 4.0}},
        cores=4.0,
    )


def test_attempts_that_failed_tell_of_the_steps_that_they_completed_only(store):
    workflow = submit(store, {"a": []})
    [attempt] = claim(store, workflow)
    failed = failure_ending(attempt.id)
    steps = (StepOutcome(0, "one", C, started=1.0, ended=4.0), failed.steps[1])
    end(store, [Ending(**{name: getattr(failed, name) for name in Ending.__slots__} | {"steps": steps})])
    with store.read() as archive:
        past = archive.attempts.past([1], [1], 1.0)
    assert past == Past(steps={1: {"one": 3.0}}, steps_alike={1: {"one": 3.0}})


def test_nothing_is_known_of_what_never_ran(store):
    submit(store, {"a": []})
    with store.read() as archive:
        assert archive.attempts.past([1], [1], 2.0) == Past(cores=2.0)
