"""Blocks of jobs: their states change with each move of a job, and what was found of them is kept until replaced."""

from __future__ import annotations

import re

import pytest
from store_driving import DIAMOND, apply, ids, plan, revise, run, submit

from rekindle.store import assessments
from rekindle.store.assessments import FoundBlock
from rekindle.store.queries import FOLDER


@pytest.fixture(autouse=True)
def _two_jobs_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assessments, "BLOCK", 2)


def blocks(store, workflow=1):
    with store.read() as archive:
        return archive.assessments.blocks(workflow)


def test_each_move_of_a_job_changes_the_state_of_its_block_for_good(store):
    submit(store, DIAMOND)
    seen = [blocks(store)]
    run(store, 1)
    seen.append(blocks(store))
    apply(store, plan(store, [ids(store, 1)["top"]]))
    seen.append(blocks(store))
    run(store, 1)
    seen.append(blocks(store))
    assert all(sum(one.jobs for one in each.values()) == len(DIAMOND) for each in seen)
    assert len(seen[0]) > 1
    for block in seen[0]:
        states = [states[block] for states in seen]
        assert len(set(states)) == len(states)


def test_ended_jobs_of_a_block_have_the_versions_on_which_plans_decide(store):
    submit(store, DIAMOND)
    run(store, 1)
    with store.read() as archive:
        found = [one for block in archive.assessments.blocks(1) for one in archive.assessments.ended(1, block)]
        versions = archive.jobs.versions([one.job for one in found])
        live = archive.staleness.live_ended([one.job for one in found])
    assert sorted(one.job for one in found) == sorted(ids(store, 1).values())
    assert all(versions[one.job][0] == one.version and live[one.job] == one.attempt for one in found)


def test_what_was_found_is_replaced_and_goes_with_its_workflow(store):
    submit(store, DIAMOND)
    for basis in ("before", "after"):
        with store.write() as archive:
            archive.assessments.put(1, [FoundBlock(0, basis, b"\x00\xff"), FoundBlock(1, basis, b"")])
    with store.read() as archive:
        assert list(archive.assessments.found(1)) == [FoundBlock(0, "after", b"\x00\xff"), FoundBlock(1, "after", b"")]
    with store.write() as archive:
        archive.workflows.delete(1)
        assert list(archive.assessments.found(1)) == []
        assert archive.assessments.blocks(1) == {}


def test_a_revision_moves_only_the_blocks_of_jobs_that_it_concerns(store):
    submit(store, DIAMOND)
    before = blocks(store)
    revise(store, 1, {**DIAMOND, "more": []})
    after = blocks(store)
    changed = {block for block, state in after.items() if before.get(block) != state}
    assert changed == {ids(store, 1)["more"] // 2}


WITHOUT_VERSION = {
    "queue.unclaim_jobs": "takes the live attempt away, whose id is in the sum; no later attempt has a lower id",
    "queue.clear_due_delays": "the job waits for its next attempt, and has not ended",
    "queue.clear_future_delays": "the same",
    "dynamic_actions.hold": "says nothing about an attempt",
    "dynamic_actions.end_hold": "the same",
    "dynamic_actions.set_canceled": "only jobs without an attempt; the change of state that follows raises the version",
    "jobs.cancel": "the same",
    "dynamic_actions.set_retired": "whoever retires jobs calls bump_versions",
    "reuse.reinstate": "the move to COMPLETED that follows raises the version",
    "reuse.complete_by_reuse": "the same",
    "derived.set_class": "what a job may use says nothing about an attempt",
    "upgrading.job_folder": "the same folder, written in another way",
}


def test_each_statement_that_changes_a_job_raises_its_version():
    blocks = {
        f"{path.stem}.{block.split()[0]}": block
        for path in FOLDER.rglob("*.sql")
        for block in path.read_text().split("-- name: ")[1:]
    }
    changing = {name for name, block in blocks.items() if re.search(r"\bUPDATE job\b", block)}
    raising = {name for name, block in blocks.items() if re.search(r"version = (job\.)?version \+ 1", block)}
    assert len(changing) > 10
    assert changing - raising <= WITHOUT_VERSION.keys()
