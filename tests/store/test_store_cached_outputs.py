"""Rows of attempts whose outputs are kept, in both databases."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from store_driving import claim, ids, run, submit

from rekindle.journal.records import CachedOutputs
from rekindle.store.copying import copy_store
from rekindle.store.opening import open_store


def completed(store) -> tuple[int, list[int]]:
    """Return (workflow, attempts) of two jobs that completed."""
    workflow = submit(store, {"one": [], "two": []})
    run(store, workflow)
    jobs = list(ids(store, workflow).values())
    with store.read() as archive:
        return workflow, sorted(one.id for one in archive.attempts.listing(jobs, None))


def test_attempts_are_listed_by_their_last_use(store):
    workflow, (one, two) = completed(store)
    with store.write() as archive:
        archive.cached_outputs.put({one: (CachedOutputs(2, 10), 5.0), two: (CachedOutputs(1, 7), 6.0)})
        archive.cached_outputs.put({one: (CachedOutputs(3, 11), 5.0)})
    with store.read() as archive:
        assert [row.attempt for row in archive.cached_outputs.listing()] == [one, two]
        assert archive.cached_outputs.total() == 18
        assert archive.cached_outputs.listing(workflow + 1) == []
    with store.write() as archive:
        archive.cached_outputs.use([one], 9.0)
    with store.read() as archive:
        found = archive.cached_outputs.listing(workflow)
    assert [(row.attempt, row.contents, row.bytes, row.kept, row.used) for row in found] == [
        (two, 1, 7, 6.0, 6.0),
        (one, 3, 11, 5.0, 9.0),
    ]


def test_forgotten_and_unknown_attempts_are_unlisted_and_running_ones_are_not(store):
    _, (one, two) = completed(store)
    [running] = [attempt.id for attempt in claim(store, submit(store, {"three": []}, name="other"))]
    with store.write() as archive:
        archive.cached_outputs.put({one: (CachedOutputs(1, 1), 1.0), two: (CachedOutputs(1, 1), 1.0)})
        assert archive.cached_outputs.forget([one, running]) == {one}
    with store.read() as archive:
        assert archive.cached_outputs.kept([one, two, running]) == {two}
        assert archive.cached_outputs.unlisted([one, two, running, 4711]) == {one, 4711}


def test_they_go_with_their_workflow_and_are_copied_with_the_store(store, tmp_path):
    workflow, (one, _) = completed(store)
    with store.write() as archive:
        archive.cached_outputs.put({one: (CachedOutputs(1, 1), 1.0)})
    with closing(open_store(str(Path(tmp_path) / "copy"), create=True)) as copied:
        copy_store(store, copied, lambda _: None)
        with copied.read() as archive:
            assert [row.attempt for row in archive.cached_outputs.listing()] == [one]
    with store.write() as archive:
        archive.workflows.delete(workflow)
    with store.read() as archive:
        assert archive.cached_outputs.listing() == []
