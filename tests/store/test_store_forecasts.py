"""What a forecast reads: unfinished jobs, needs, and retries of the past."""

from __future__ import annotations

from store_driving import claim, completed_ending, end, failure_ending, ids, submit

from rekindle.domain.states import State


def test_unfinished_jobs_and_their_needs_without_what_has_completed(store):
    workflow = submit(store, {"a": [], "b": ["a"], "c": ["b"]})
    job = ids(store, workflow)
    [attempt] = claim(store, workflow)
    end(store, [completed_ending(attempt.id)])
    with store.read() as archive:
        found = archive.forecasts.jobs([workflow])
        needs = archive.forecasts.needs([workflow], {one.id for one in found})
        assert archive.forecasts.workflows() == {workflow: ("flow", 2)}
        assert archive.forecasts.names([job["b"]]) == {job["b"]: "b"}
    assert [(one.id, one.state) for one in found] == [(job["b"], State.READY), (job["c"], State.WAITING)]
    assert needs == [(job["b"], job["c"])]
    assert not any(one.held or one.canceled or one.when_finished or one.resume_step for one in found)


def test_only_attempts_that_a_policy_repeated_count_as_retried(store):
    workflow = submit(store, {"a": []})
    [attempt] = claim(store, workflow)
    end(store, [failure_ending(attempt.id)])
    with store.read() as archive:
        [one] = archive.forecasts.jobs([workflow])
        assert one.state is State.FAILED
        assert archive.forecasts.retried([one.template]) == {}
