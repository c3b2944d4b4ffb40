"""Statements that PostgreSQL gets together: errors, checks, and what the server keeps prepared."""

from __future__ import annotations

import signal
import threading
from contextlib import closing

import pytest
from store_driving import DIAMOND, claim_in, completed_ending, end_in, states, submit

from rekindle.domain.errors import StoreError, StoreUnavailable
from rekindle.domain.models import StateChange
from rekindle.domain.states import State
from rekindle.store.opening import open_store
from rekindle.store.postgres_pipeline import Pipeline
from rekindle.store.queries import Query, as_set

pytestmark = pytest.mark.parametrize("store_url", ["postgres"], indirect=True)

INSERT = Query("insert", "A property.", "INSERT INTO meta (key, value) VALUES (:key, :value)", ("key", "value"))
MANY = Query("many", "Properties.", INSERT.text, INSERT.row, distinct=True)
VALUES = Query("values", "Properties.", "SELECT value FROM meta WHERE key IN @keys ORDER BY value")


def values(store, *keys):
    with store.read() as archive:
        return [value for (value,) in archive.database.rows(VALUES, keys=as_set(keys))]


@pytest.mark.parametrize("query", [INSERT, MANY])
def test_what_waits_is_there_for_the_next_statement_and_after_the_commit(store, query):
    rows = [(key, key * 2) for key in "abcdef"]
    changed = []
    with store.turn() as archive:
        archive.database.change_each(query, rows, changed.append)
        archive.database.change_each(query, [], changed.append)
        found = [value for (value,) in archive.database.rows(VALUES, keys=as_set("abcdef"))]
        archive.database.change_each(query, [("g", "gg")], changed.append)
    assert (found, sorted(changed)) == (["aa", "bb", "cc", "dd", "ee", "ff"], [0, 1, 6])
    assert values(store, *"abcdefg") == [*found, "gg"]


@pytest.mark.parametrize("access", ["turn", "write"])
def test_an_error_of_a_statement_that_waits_undoes_the_block(store, access):
    def insert(*rows):
        with getattr(store, access)() as archive:
            archive.database.change_each(INSERT, rows)

    for _ in range(3):  # prepared from the second use
        with pytest.raises(StoreError):
            insert(("new", "1"), ("identity", "2"), ("newer", "3"))
        assert values(store, "new", "newer") == []
    insert(("new", "1"), ("newer", "3"))
    assert values(store, "new", "newer") == ["1", "3"]


def test_a_change_that_came_too_late_undoes_the_turn_that_made_it(store):
    workflow = submit(store, DIAMOND)

    def complete_what_does_not_run():
        with store.turn() as archive:
            (job,) = [attempt.job for attempt in claim_in(archive, workflow)]
            archive.queue.move([StateChange(job.id, workflow, job.resource_class, State.RUNNING, State.COMPLETED)])

    with pytest.raises(StoreUnavailable, match="1 of 1 rows that were to be moved"):
        complete_what_does_not_run()
    assert states(store, workflow)["top"] is State.READY


@pytest.mark.parametrize("late", [1, 2, 3])
def test_the_server_refuses_to_commit_changes_that_came_too_late(store, late):
    workflow = submit(store, {f"job{number}": [] for number in range(4)})

    def complete_jobs_of_which_some_do_not_run():
        with store.turn() as archive:
            jobs = [attempt.job for attempt in claim_in(archive, workflow)]
            before = [State.RUNNING] * late + [State.QUEUED] * (4 - late)
            archive.queue.move(
                [
                    StateChange(job.id, workflow, job.resource_class, state, State.COMPLETED)
                    for job, state in zip(jobs, before, strict=True)
                ]
            )

    with pytest.raises(StoreUnavailable, match=f"{late} of 4 rows that were to be moved"):
        complete_jobs_of_which_some_do_not_run()
    assert set(states(store, workflow).values()) == {State.READY}
    with store.turn() as archive:
        assert len(claim_in(archive, workflow)) == 4


def test_a_turn_commits_with_its_last_statements(store, monkeypatch):
    workflow = submit(store, {f"job{number}": [] for number in range(4)})
    sent, flush, run = [], Pipeline.flush, Pipeline.run

    def record(self):
        sent.append([one.text for one in self._queued])
        return flush(self)

    with store.turn() as archive:
        archive.queue.attempt_ids(4)
        monkeypatch.setattr(Pipeline, "flush", record)
        monkeypatch.setattr(Pipeline, "run", lambda self, text: sent.append([text]) or run(self, text))
        attempts = [attempt.id for attempt in claim_in(archive, workflow)]
    with store.turn() as archive:
        end_in(archive, [completed_ending(one) for one in attempts])
    last = [texts for texts in sent if "COMMIT" in texts]
    assert [len(texts) > 3 for texts in last] == [True, True]
    assert [texts[-1].startswith("NOTIFY") for texts in last] == [False, True]


def test_a_turn_sends_its_statements_in_few_messages(store, monkeypatch):
    workflow = submit(store, {f"job{number}": [] for number in range(8)})
    sent, flush = [], Pipeline.flush
    monkeypatch.setattr(Pipeline, "flush", lambda self: sent.append(len(self)) or flush(self))
    with store.turn() as archive:
        attempts = [attempt.id for attempt in claim_in(archive, workflow)]
        end_in(archive, [completed_ending(one) for one in attempts])
    messages = [number for number in sent if number]
    assert sum(messages) > 1.5 * len(messages)


def test_a_signal_ends_the_wait_for_another_process(store):
    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt), store.read() as archive:
            archive.database.select("SELECT pg_sleep(60)", {})
    finally:
        signal.signal(signal.SIGALRM, before)
    assert values(store, "identity") == [store.identity]


def test_two_threads_wait_for_each_others_locks_with_stores_of_their_own(store, store_url):
    began = threading.Event()

    def write() -> None:
        with closing(open_store(store_url, create=False)) as other:
            began.set()
            with other.write() as archive:
                archive.database.change_each(INSERT, [("second", "2")])

    thread = threading.Thread(target=write)
    with store.write() as archive:
        thread.start()
        assert began.wait(30)
        archive.database.change_each(INSERT, [("first", "1")])
    thread.join(30)
    assert values(store, "first", "second") == ["1", "2"]


@pytest.mark.parametrize("kind", ["BIGINT", "DOUBLE PRECISION", "TEXT", "BYTEA"])
def test_columns_of_every_kind_are_sent_as_they_are(store, kind):
    columns = {
        "BIGINT": [[1, -(2**63), 2**63 - 1, 0], [State.FAILED] * 4, [True, False, 3, None], [None, None, None, 4]],
        "DOUBLE PRECISION": [[0.1, 1e300, -1e-300, 3.0], [1, 2.5, None, -0.0], [float("inf")] * 4],
        "TEXT": [["a", "b,c", "{d}", ""], ['"', "\\", "\\\"'", "\n\t"], ["", "", "", ""], ["NULL", None, "null", "é"]],
        "BYTEA": [[b"", b"\0\\\"'", b"\xff" * 3, None]],
    }
    made = f"CREATE TEMPORARY TABLE sent (number BIGINT, value {kind}) ON COMMIT DROP"
    insert = Query(
        "insert", "A value.", "INSERT INTO sent (number, value) VALUES (:number, :value)", ("number", "value"), True
    )
    for column in columns[kind]:
        with store.write() as archive:
            archive.database.driver.run_text(made)
            archive.database.change_each(insert, enumerate(column))
            found = archive.database.select("SELECT value FROM sent ORDER BY number", {})
        assert [value for (value,) in found] == column
