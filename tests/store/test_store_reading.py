"""Reading jobs, attempts, failures, events and runners; and finding contradictions."""

from __future__ import annotations

import sqlite3
from datetime import date
from pathlib import Path

import pytest
from msgspec.structs import replace
from store_driving import (
    DIAMOND,
    apply,
    claim,
    completed_ending,
    end,
    failure_ending,
    ids,
    plan,
    run,
    submit,
    template,
)

from rekindle.domain.definition import Quarantine
from rekindle.domain.errors import UsageError
from rekindle.domain.models import ProcessIdentity, UpstreamJob
from rekindle.domain.states import State
from rekindle.store.opening import open_store
from rekindle.store.sqlite_connection import FILE

W, R, Q, X, C, F, K = State


def test_jobs_are_named_by_id_and_by_exactly_their_name(store):
    first = submit(store, {"train[alpha=0.1,seed=0]": [], "a": []})
    second = submit(store, {"a": []}, name="other")
    a1, a2 = ids(store, first)["a"], ids(store, second)["a"]
    with store.read() as archive:
        assert archive.jobs.named(["a", a1, "none", 999, "train*"], None) == {"a": [a1, a2], a1: [a1]}
        assert archive.jobs.named(["a", a1], second) == {"a": [a2]}
        assert list(archive.jobs.named(["train[alpha=0.1,seed=0]"], first)) == ["train[alpha=0.1,seed=0]"]


def test_names_in_archived_workflows_need_the_workflow(store):
    workflow = submit(store, {"a": []})
    with store.write() as archive:
        archive.workflows.archive(workflow, 1.0)
        assert archive.jobs.named(["a"], None) == {}
        assert archive.jobs.named(["a"], workflow) == {"a": [1]}
        assert archive.jobs.named([1], None) == {1: [1]}


def test_jobs_come_in_the_order_they_are_asked_for(store):
    workflow = submit(store, DIAMOND)
    with store.read() as archive:
        assert [job.id for job in archive.jobs.get([3, 1, 99, 2])] == [3, 1, 2]
        assert archive.jobs.get([10**30]) == []
        assert archive.jobs.parents([4, 1]) == {4: [2, 3], 1: []}
        assert archive.jobs.children([4, 1]) == {4: [], 1: [2, 3]}
    assert workflow == 1


def test_upstream_has_the_states_of_needed_jobs_and_results_of_completed_ones(store):
    workflow = submit(store, DIAMOND)
    attempts = claim(store, workflow)
    end(store, [completed_ending(attempts[0].id, '{"x":1}')])
    with store.read() as archive:
        found = archive.jobs.upstream([1, 2, 4])
    assert {job: [one.name for one in needed] for job, needed in found.items()} == {2: ["top"], 4: ["left", "right"]}
    assert found[2] == [UpstreamJob("top", '{"x":1}', 1, 1, 1, State.COMPLETED, 1)]
    assert {(one.result, one.attempt, one.state) for one in found[4]} == {(None, None, State.READY)}


def test_live_attempts_leave_archived_ones_out(store):
    workflow = submit(store, {"a": [], "b": []})
    run(store, workflow)
    apply(store, plan(store, [1]))
    with store.read() as archive:
        assert list(archive.jobs.live([1, 2])) == [2]
        assert [one.id for one in archive.attempts.listing([1], None)] == [1]
        assert [one.id for one in archive.attempts.listing(None, None, live=True)] == [2]
        assert [one.id for one in archive.attempts.listing([1, 2], workflow + 1)] == []
        assert archive.attempts.get(99) is None


def test_active_attempts_and_those_to_be_canceled_are_listed_by_runner(store):
    workflow = submit(store, {"a": [], "b": [], "c": []})
    attempts = claim(store, workflow)
    end(store, [completed_ending(attempts[0].id)])
    with store.write() as archive:
        assert [one.id for one in archive.attempts.active()] == [2, 3]
        assert archive.attempts.active(runner=2) == []
        archive.attempts.want_cancel([1, 2])
        assert archive.attempts.wanted_cancel(1) == [(2, attempts[1].token)]


def test_failures_are_grouped_largest_first(store):
    workflow = submit(store, {f"j{n}": [] for n in range(5)})
    attempts = claim(store, workflow)
    end(store, [failure_ending(one.id, "rare" if one.job.id == 1 else "common") for one in attempts])
    with store.read() as archive:
        groups = archive.attempts.failures(workflow)
        assert archive.attempts.failures(None) == groups
    assert [(one.message, one.count, one.jobs) for one in groups] == [("common", 4, (2, 3, 4, 5)), ("rare", 1, (1,))]


def test_failures_have_times_and_hosts_and_can_include_archived_attempts(store):
    workflow = submit(store, {f"j{n}": [] for n in range(4)})
    for rerun in (True, False):
        attempts = claim(store, workflow)
        rows = [replace(failure_ending(one.id), host=f"node{one.job.id % 3}", ended=float(one.id)) for one in attempts]
        end(store, rows)
        if rerun:
            apply(store, plan(store, [1, 2]))
    with store.read() as archive:
        (live,) = archive.attempts.failures(workflow)
        (every,) = archive.attempts.failures(None, archived=True)
    assert (live.count, live.jobs, live.newest) == (4, (1, 2, 3, 4), 6)
    assert (live.first, live.last) == (3.0, 6.0)
    assert live.hosts == (("node1", 2), ("node0", 1), ("node2", 1))
    assert (every.count, every.jobs, every.first) == (6, (1, 2, 3, 4), 1.0)
    assert every.hosts == (("node1", 3), ("node2", 2), ("node0", 1))


def test_a_signature_is_found_by_its_beginning(store):
    workflow = submit(store, {"a": [], "b": []})
    attempts = claim(store, workflow)
    end(store, [failure_ending(one.id, f"x{one.id}") for one in attempts])
    with store.read() as archive:
        assert archive.attempts.signature("sig-x1") == "sig-x1"
        assert archive.attempts.signature("none") is None
        with pytest.raises(UsageError, match="sig-x1, sig-x2"):
            archive.attempts.signature("sig")


def test_events_are_listed_oldest_first_and_the_newest_when_limited(store):
    workflow = submit(store, {"a": []})
    with store.write() as archive:
        for at in range(5):
            archive.events.add(float(at), "told", workflow if at % 2 else None, {"n": at})
        assert [event.detail["n"] for event in archive.events.listing(None)] == [0, 1, 2, 3, 4]
        assert [event.detail["n"] for event in archive.events.listing(None, limit=2)] == [3, 4]
        assert [event.detail["n"] for event in archive.events.listing(None, after=3)] == [3, 4]
        assert [event.detail["n"] for event in archive.events.listing(workflow)] == [1, 3]


def test_a_lease_is_renewed_until_somebody_takes_over_and_one_does(store):
    with store.write() as archive:
        runner = archive.runners.register(ProcessIdentity("h", "boot", 1, 2, 3), "local", 4, 10.0, 60.0)
        assert archive.runners.alive() == [runner]
        assert (runner.expires, runner.epoch) == (70.0, 1)
        assert archive.runners.renew(runner.id, 1, 80.0)
        keeper = archive.runners.register(ProcessIdentity("h", "boot", 4, 5, 3), "local", 1, 10.0, 60.0)
        assert archive.runners.with_free_slots() == [runner.id, keeper.id]
        assert archive.runners.take_over(runner.id, 1, keeper.id)
        assert not archive.runners.take_over(runner.id, 1)
        archive.runners.abandon(runner.id, 1)
        found = archive.runners.find(runner.id)
        assert (found.epoch, found.keeper, found.pid_start, found.pid_space) == (2, keeper.id, 2, 3)
        assert not archive.runners.renew(runner.id, 1, 90.0)
        assert archive.runners.renew(runner.id, 2, 90.0)
        archive.runners.end(runner.id, 20.0)
        assert archive.runners.alive() == [keeper]
        assert not archive.runners.renew(runner.id, 2, 99.0)


def test_journals_are_open_until_closed_and_know_how_far_they_were_read(store):
    with store.write() as archive:
        runner = archive.runners.register(ProcessIdentity("h", "boot", 1, 2, 3), "local", 4, 10.0, 60.0)
        archive.runners.open_journal(runner.id, "w1", "journal/w1", 5, 6)
        archive.runners.open_journal(runner.id, "w2", "journal/w2", 7, 8)
        archive.runners.advance("w1", 120)
        archive.runners.close_journal("w2")
        assert archive.runners.journals(runner.id) == [("w1", "journal/w1", 5, 6, 120)]


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        ("UPDATE job SET state = 4 WHERE name = 'bottom'", "is completed, and waiting follows"),
        ("UPDATE job SET state = 1 WHERE name = 'bottom'", "is ready, and waiting follows"),
        ("UPDATE job SET unmet = 0 WHERE name = 'bottom'", "unmet is 0, and 1 of what it needs"),
        ("UPDATE workflow_count SET n = n + 1 WHERE state = 4", "counts 3 completed jobs, and 2 are"),
        ("UPDATE job SET attempt = NULL WHERE name = 'left'", "attempt 2 is not archived, and none is the live one"),
        ("UPDATE job SET attempt = 77 WHERE name = 'left'", "live attempt 77 is not there"),
        ("UPDATE attempt SET archived_by = 1 WHERE job = 2", "archived"),
        ("UPDATE job SET attempts = 9 WHERE name = 'top'", "has had 9 attempts, and 1 are there"),
        ("UPDATE attempt SET job = 2, state = 3 WHERE job IN (2, 3)", "2 attempts have not ended"),
        ("UPDATE workflow_span SET ended = 99", "keeps the time 99"),
    ],
)
def test_a_check_finds_planted_damage(tmp_path, damage, complaint):
    store = open_store(str(tmp_path / "s"), create=True)
    workflow = submit(store, DIAMOND)
    run(store, workflow, failing=["left"])
    with store.read() as archive:
        assert archive.check() == []
    other = sqlite3.connect(Path(store.folder, FILE), isolation_level=None)
    other.execute(damage)
    other.close()
    with store.read() as archive:
        found = archive.check()
    assert any(complaint in line for line in found), found
    store.close()


def test_failed_jobs_in_quarantine_come_by_template(store):
    known = template("known", "s", quarantine=Quarantine(date(2030, 1, 31), 'a "quarantine":{ is no mark'))
    plain = template("plain", "s", labels={"x": 'a "quarantine":{ is no mark'})
    jobs = {"a": [], "b": [], "c": [], "d": ["a"]}
    workflow = submit(store, jobs, template={"a": known, "b": known, "c": plain})
    run(store, workflow, failing=["a", "c"])
    at = ids(store, workflow)
    with store.read() as archive:
        ((number, failed),) = archive.attempts.failed_in_quarantine(workflow).items()
        assert archive.workflows.template(number) == known
        assert failed == [at["a"]]
        assert archive.attempts.failed_in_quarantine(workflow + 1) == {}


def test_waiting_jobs_have_the_first_need_that_has_not_completed(store):
    workflow = submit(store, {**DIAMOND, "last": ["left", "right", "bottom"]})
    run(store, workflow, failing=["right"])
    at = ids(store, workflow)
    with store.read() as archive:
        assert archive.graphs.first_needs(workflow) == {at["bottom"]: at["right"], at["last"]: at["right"]}


def test_retries_of_policies_are_counted_since_a_time(store):
    workflow = submit(store, {"a": [], "b": []})
    run(store, workflow, failing=["a", "b"])
    decided = plan(store, list(ids(store, workflow).values()))
    with store.write() as archive:
        archive.reruns.apply(decided, "retry", {"jobs": []}, "", 6.0)
    with store.read() as archive:
        counts = [archive.supervisions.policy_retries(workflow, since) for since in (5.0, 6.0, 6.5)]
        assert counts == [2, 2, 0]
        assert archive.supervisions.policy_retries(workflow + 1, 0.0) == 0
