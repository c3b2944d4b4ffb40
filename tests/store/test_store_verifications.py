"""Verifications: the newest of each job, and they go with their workflow."""

from __future__ import annotations

from store_driving import DIAMOND, apply, ids, plan, run, submit


def test_the_newest_verification_of_any_attempt_of_a_job_is_found(store):
    submit(store, DIAMOND)
    run(store, 1)
    top = ids(store, 1)["top"]
    with store.write() as archive:
        first = archive.jobs.get([top])[0].attempt
        archive.verifications.add(first, 10.0, "reproducible", {"why": None})
        archive.verifications.add(first, 20.0, "unknown", {"why": "drift"})
    apply(store, plan(store, [top]))
    run(store, 1)
    every = ids(store, 1).values()
    with store.read() as archive:
        found = archive.verifications.newest(every)
    assert list(found) == [top]
    assert (found[top].attempt, found[top].at, found[top].outcome, found[top].detail) == (
        first,
        20.0,
        "unknown",
        {"why": "drift"},
    )


def test_one_more_at_the_same_time_replaces_and_all_go_with_the_workflow(store):
    submit(store, DIAMOND)
    run(store, 1)
    top = ids(store, 1)["top"]
    with store.write() as archive:
        attempt = archive.jobs.get([top])[0].attempt
        archive.verifications.add(attempt, 10.0, "reproducible", {})
        archive.verifications.add(attempt, 10.0, "differs", {})
        assert archive.verifications.newest([top])[top].outcome == "differs"
        archive.workflows.delete(1)
        assert archive.verifications.newest([top]) == {}
