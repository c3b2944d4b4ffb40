"""Durations of earlier attempts, for cost estimates."""

from __future__ import annotations

from msgspec.structs import replace
from store_driving import apply, claim, end, failure_ending, ids, plan, submit

from rekindle.domain.models import AttemptEnd, StepOutcome
from rekindle.domain.rerun.costs import DurationHistory
from rekindle.domain.states import State

C = State.COMPLETED


def took(attempt: int, first: float, second: float) -> AttemptEnd:
    """Return the end of an attempt whose two steps ran one after the other from time 100."""
    half, over = 100.0 + first, 100.0 + first + second
    steps = (StepOutcome(0, "one", C, started=100.0, ended=half), StepOutcome(1, "two", C, started=half, ended=over))
    return AttemptEnd(attempt, C, started=100.0, ended=over, steps=steps)


def test_median_durations_by_job_template_and_step(store):
    workflow = submit(store, {"a": [], "b": [], "c": []})
    job = ids(store, workflow)
    for first, second in ((1.0, 2.0), (3.0, 5.0), (1.0, 4.0)):
        end(store, [took(one.id, first, second) for one in claim(store, workflow) if one.job.name == "a"])
        apply(store, plan(store, [job["a"]]))
    with store.read() as archive:
        views, _ = archive.reruns.views([*job.values()])
        past = archive.statistics.durations(views, [job["b"]], 4.0)
    assert past == DurationHistory(
        jobs={job["a"]: 5.0},
        alike={views[job["b"]].template: 5.0},
        steps_alike={job["b"]: {"one": 1.0, "two": 4.0}},
        cores=4.0,
    )


def test_failed_attempts_count_only_for_their_completed_steps(store):
    workflow = submit(store, {"a": []})
    [attempt] = claim(store, workflow)
    failed = failure_ending(attempt.id)
    steps = (StepOutcome(0, "one", C, started=1.0, ended=4.0), failed.steps[1])
    end(store, [replace(failed, steps=steps)])
    with store.read() as archive:
        past = archive.statistics.durations(archive.reruns.views([1])[0], [1], 1.0)
    assert past == DurationHistory(steps={1: {"one": 3.0}}, steps_alike={1: {"one": 3.0}})


def test_jobs_that_never_ran_have_no_durations(store):
    submit(store, {"a": []})
    with store.read() as archive:
        assert archive.statistics.durations(archive.reruns.views([1])[0], [1], 2.0) == DurationHistory(cores=2.0)
