"""What next attempts do, as stored: the columns generated from it, and stores from before it was one document."""

from __future__ import annotations

from pathlib import Path

import pytest
from store_driving import apply, claim, completed_ending, end, ids, older_store, plan, run, submit

from rekindle.domain.next_attempt import NextAttempt
from rekindle.domain.rerun.plan import OverrideChange
from rekindle.domain.rerun.request import InternalHow
from rekindle.domain.states import State
from rekindle.store.opening import open_store
from rekindle.store.rows import next_attempt_of, next_attempt_text
from rekindle.store.stored_paths import StoredPaths

SAMPLE = Path(__file__).parent / "samples" / "version_4.sql"
"""The rows of a store of version 4: `left` failed twice and was rerun twice, then `top` was rerun with `changed`."""

PATHS = StoredPaths("/p/.rekindle")

FULL = NextAttempt(
    resume_attempt=3,
    resume_step=1,
    subtasks=(1, 4),
    take="copy",
    folder="/p/.rekindle/attempts/0000/00/3",
    overrides='{"cpus": 2.0}',
    pinned_to=2,
    not_before=1764000000.123456,
    avoids="host-a",
    repeats=3,
    keep_recovery=9,
    reuse_candidate=1,
)


@pytest.fixture
def upgraded(tmp_path):
    older = older_store(tmp_path / ".rekindle", 4)
    older.executescript(f"PRAGMA foreign_keys = OFF; BEGIN; {SAMPLE.read_text()} COMMIT;")
    older.close()
    store = open_store(str(tmp_path / ".rekindle"), create=False)
    yield store
    with store.read() as archive:
        assert archive.check() == []
    store.close()


def test_every_field_survives_its_column_and_paths_are_relative():
    assert None not in [getattr(FULL, name) for name in FULL.__struct_fields__]
    text = next_attempt_text(FULL, PATHS)
    assert '"folder":"@/attempts/0000/00/3"' in text
    assert next_attempt_of(text, PATHS) == FULL
    assert next_attempt_text(NextAttempt(), PATHS) is None
    assert next_attempt_of(None, PATHS) == NextAttempt()


def test_generated_columns_are_those_of_the_document(store):
    jobs = ids(store, submit(store, {"a": []}))
    with store.write() as archive:
        driver, text = archive._db.driver, next_attempt_text(FULL, StoredPaths(store.folder))
        driver.execute("UPDATE job SET next_attempt = :text WHERE id = :job", {"text": text, "job": jobs["a"]})
        columns = ("resume_attempt", "overrides", "pinned_to", "not_before", "avoids", "reuse_candidate")
        found = driver.execute(f"SELECT {', '.join(columns)} FROM job", {}).fetchone()
        assert found == tuple(getattr(FULL, name) for name in columns)
        driver.execute("UPDATE job SET next_attempt = NULL", {})


def test_a_delay_that_ends_leaves_nothing_out_of_the_ordinary(store):
    workflow = submit(store, {"a": []})
    run(store, workflow, failing=["a"])
    apply(store, plan(store, [1], InternalHow(not_before=50.0)))
    assert claim(store, workflow, now=49.0) == []
    with store.write() as archive:
        archive.queue.clear_due_delays(50.0)
        assert archive.jobs.get([1])[0].next == NextAttempt()
    assert [one.job.next for one in claim(store, workflow, now=50.0)] == [NextAttempt()]


def test_jobs_of_version_4_keep_what_their_next_attempts_do(upgraded):
    with upgraded.read() as archive:
        found = {job.name: job.next for job in archive.jobs.get([1, 2, 3, 4])}
    assert found == {
        "top": NextAttempt(pinned_to=1),
        "left": NextAttempt(overrides='{"cpus": 2.0}', pinned_to=5, reuse_candidate=5),
        "right": NextAttempt(pinned_to=3, reuse_candidate=3),
        "bottom": NextAttempt(pinned_to=6, reuse_candidate=6),
    }


def test_reruns_of_version_4_show_the_same_plans(upgraded):
    folder = f"{upgraded.folder}/attempts/0000/00/2"
    with upgraded.read() as archive:
        first, second, third = (archive.reruns.get(number).plan for number in (1, 2, 3))
        candidates = {one.id: one.reuse_candidate for one in archive.reuse_candidates.listing(1, 9)}
    resumed = NextAttempt(2, 1, None, "copy", folder, '{"cpus": 2.0}', repeats=3)
    left, bottom = first.jobs
    assert left.next == NextAttempt(
        2, 1, None, "copy", folder, '{"cpus": 2.0}', None, 1764000000.123456, "host-a", 3, keep_recovery=0
    )
    assert (left.start, left.keeps, left.changes) == ("two", ("one",), (OverrideChange("cpus", 1.0, 2.0),))
    assert (bottom.next, bottom.changes, bottom.saves) == (NextAttempt(), (), ())
    assert (second.jobs[0].next.keep_recovery, second.jobs[0].changes) == (1, ())
    assert second.jobs[0].next.folder == resumed.folder
    assert [job.next.reuse_candidate for job in third.jobs] == [None, 5, 3, 6]
    assert [job.next.pinned_to for job in third.jobs] == [1, 5, 3, 6]
    assert candidates == {}  # none is ready


def test_a_rerun_of_version_4_is_undone(upgraded):
    with upgraded.write() as archive:
        archive.reruns.undo(3, 9.0)
        jobs = {job.name: job for job in archive.jobs.get([1, 2, 3, 4])}
    assert {(job.state, job.attempt is None) for job in jobs.values()} == {(State.COMPLETED, False)}
    assert jobs["left"].next == NextAttempt(
        2, 1, None, "copy", f"{upgraded.folder}/attempts/0000/00/2", '{"cpus": 2.0}', repeats=3, keep_recovery=1
    )
    assert jobs["right"].next == NextAttempt()


def test_a_store_of_version_4_goes_on(upgraded):
    end(upgraded, [completed_ending(one.id) for one in claim(upgraded, 1)])
    with upgraded.read() as archive:
        assert [one.reuse_candidate for one in archive.reuse_candidates.listing(1, 9)] == [5, 3]


def test_counts_and_spans_of_version_4_are_kept(upgraded):
    with upgraded.read() as archive:
        assert archive.workflows.span(1) == (3.0, 5.0)
        assert archive.workflows.find(1).counts == {State.WAITING: 3, State.READY: 1}
    found = upgraded._driver.connection.execute("PRAGMA integrity_check").fetchall()
    assert found == [("ok",)]
