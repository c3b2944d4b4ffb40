"""Accepting bases: a rerun that resets nothing, and that undo revokes."""

from __future__ import annotations

import pytest
from store_driving import DIAMOND, apply, faults, ids, plan, run, states, submit

from rekindle.domain.changes.fingerprints import Baseline, FileContent, FileFingerprints
from rekindle.domain.errors import PlanOutdated
from rekindle.domain.rerun.plan import PlannedJob, Reason, ReasonKind, RerunPlan, planned_jobs, seal_plan
from rekindle.domain.states import State

EDITED = Baseline(1, 1, "{}", needed={1: "ab"}, prints=FileFingerprints(inputs=(FileContent("raw", "/p/raw", "cd"),)))
AGAIN = Baseline(1, 2, "{}")
REASON = Reason(ReasonKind.INPUT, {"name": "raw", "path": "/p/raw", "before": "ee", "after": "cd"})


@pytest.fixture
def done(store):
    workflow = submit(store, DIAMOND)
    run(store, workflow)
    return workflow, ids(store, workflow)


def accepting(store, *numbers):
    with store.read() as archive:
        jobs = archive.jobs.get(numbers)
    planned = [PlannedJob(job.id, job.name, job.version, job.state, job.state, "beginning", (REASON,)) for job in jobs]
    return seal_plan(RerunPlan(planned_jobs(planned)))


def accept(store, decided, bases):
    with store.write() as archive:
        return archive.reruns.accept(decided, bases, {"selection": {}}, "a comment", 9.0)


def live(store, job):
    with store.read() as archive:
        return archive.jobs.live([job])[job].id


def test_an_accepted_basis_is_in_force_until_revoked_and_changes_no_state(store, done):
    workflow, jobs = done
    attempt = live(store, jobs["left"])
    decided = accepting(store, jobs["left"])
    first = accept(store, decided, {attempt: EDITED})
    second = accept(store, accepting(store, jobs["left"]), {attempt: AGAIN})
    assert set(states(store, workflow).values()) == {State.COMPLETED}
    with store.read() as archive:
        assert archive.fingerprints.accepted([attempt]) == {attempt: (second, AGAIN)}
        assert archive.reruns.newest_manual() == second
        record = archive.reruns.get(first)
        assert (record.kind, record.note, record.plan.jobs) == ("accept", "a comment", decided.jobs)
        assert archive.reruns.undo_conflicts(first).touched == {"left": [second]}
    with store.write() as archive:
        archive.reruns.revoke(second, 10.0)
    with store.read() as archive:
        assert archive.fingerprints.accepted([attempt]) == {attempt: (first, EDITED)}
        assert archive.jobs.get([jobs["left"]])[0].attempt == attempt
        assert archive.events.listing(workflow)[-1].detail == {"rerun": second, "jobs": 1}
    assert faults(store) == []


def test_accepting_and_revoking_increase_the_versions_of_jobs(store, done):
    _, jobs = done
    rerun, decided = plan(store, [jobs["left"]]), accepting(store, jobs["left"])
    accepted = accept(store, decided, {live(store, jobs["left"]): EDITED})
    for outdated in (lambda: apply(store, rerun), lambda: accept(store, decided, {})):
        with pytest.raises(PlanOutdated, match="`left`"):
            outdated()
    rerun = plan(store, [jobs["left"]])
    with store.write() as archive:
        archive.reruns.revoke(accepted, 10.0)
    with pytest.raises(PlanOutdated, match="`left`"):
        apply(store, rerun)


def test_who_writes_is_recorded_with_events_and_reruns(store, done):
    workflow, jobs = done
    with store.written_by("laptop"):
        rerun = accept(store, accepting(store, jobs["left"]), {live(store, jobs["left"]): EDITED})
    with store.write() as archive:
        archive.reruns.revoke(rerun, 10.0)
    with store.read() as archive:
        assert archive.reruns.get(rerun).request["by"] == "laptop"
        assert [one.detail.get("by") for one in archive.events.listing(workflow)[-2:]] == ["laptop", None]
