"""Imported attempts."""

from __future__ import annotations

import pytest
from store_driving import definition, ids, submit

from rekindle.domain.errors import StoreUnavailable
from rekindle.domain.models import AttemptEnd
from rekindle.domain.selection import AllOf
from rekindle.domain.states import State
from rekindle.store.archive import Store
from rekindle.store.imports import ImportedAttempt, ImportedPointers


def past(job: int, attempt: int, number: int = 1) -> ImportedAttempt:
    ending = AttemptEnd(attempt, State.COMPLETED, ended=9.0, started=8.0, host="there")
    return ImportedAttempt(job, number, f"token-{attempt}", ending, runner="a machine")


def test_jobs_get_their_attempts_and_states_follow(store: Store) -> None:
    workflow = submit(store, {"top": [], "below": ["top"]})
    top = ids(store, workflow)["top"]
    with store.write() as archive:
        archive.imports.write([past(top, 7)], [ImportedPointers(top, 1, 7)], [top, top + 1])
    with store.read() as archive:
        jobs = archive.jobs.get(archive.jobs.select(AllOf(), workflow))
        assert [job.state for job in jobs] == [State.COMPLETED, State.READY]
        assert archive.workflows.span(workflow) == (8.0, 9.0)
        (runner,) = [archive.runners.find(one.runner or 0) for one in archive.attempts.listing([top], None)]
        assert runner is not None
        assert (runner.label, runner.host, runner.ended) == ("a machine", "there", 9.0)
        assert archive.runners.alive() == []


def test_attempts_cannot_be_imported_for_a_job_that_has_run(store: Store) -> None:
    top = ids(store, submit(store, {"top": []}))["top"]
    with store.write() as archive:
        archive.imports.write([past(top, 7)], [ImportedPointers(top, 1, 7)], [top])
    with pytest.raises(StoreUnavailable, match="changed by someone else"), store.write() as archive:
        archive.imports.write([past(top, 8, 2)], [ImportedPointers(top, 2, 8)], [top])


def test_a_live_attempt_is_not_archived(store: Store) -> None:
    top = ids(store, submit(store, {"top": []}))["top"]
    with store.write() as archive:
        archive.imports.write([past(top, 7)], [ImportedPointers(top, 1, 7)], [top])
    with pytest.raises(StoreUnavailable), store.write() as archive:
        archive.imports.archive([7], 1)


def test_jobs_get_the_requested_ids(store: Store) -> None:
    with store.write() as archive:
        workflow = archive.workflows.add(definition({"top": [], "below": ["top"]}), 1.0, ids=(40, 12))
        assert archive.workflows.edges(workflow) == [(40, 12)]
        assert archive.dynamic_actions.next_job() == 41
