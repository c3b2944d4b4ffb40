"""Attempts are stamped with the host that their worker's journal names, and orphans are judged by its process."""

from __future__ import annotations

import os
from pathlib import Path

from rekindle.domain.models import NewAttempt
from rekindle.domain.states import State
from rekindle.engine.running.ingest import JournalReader, ingest
from rekindle.engine.running.orphans import OrphanedWorker
from rekindle.executors.dead_workers import AdoptedWorker
from rekindle.journal.log import JournalWriter
from rekindle.journal.processes import boot_id, start_of
from rekindle.journal.records import Ended, Opened, Started


def claimed(project) -> NewAttempt:
    project.submit("{name: one, jobs: {a: {run: 'true'}}}")
    with project.session.store.write() as archive:
        (job,) = archive.queue.ready(None, 9)
        attempt = NewAttempt(archive.queue.next_attempt(), "token", job, "/nowhere")
        archive.queue.claim([attempt], 1, 2.0)
    return attempt


def ingested(project, reader: JournalReader):
    batch = reader.read()
    assert batch is not None
    with project.session.store.write() as archive:
        ingest(archive, [batch], 9.0, os.path.exists)
    reader.position = batch.position
    [attempt] = project.attempts("a")
    return attempt


def test_the_host_is_the_one_of_the_journal_also_behind_its_first_line(project, tmp_path: Path) -> None:
    one, path = claimed(project), tmp_path / "w.journal"
    journal = JournalWriter(path)
    journal.append(Opened("w", "node7", "boot", 5, 6, 1.0), Started(one.id, one.token, 3.0, 10, 11))
    reader = JournalReader("w", path)
    attempt = ingested(project, reader)
    assert (attempt.state, attempt.worker, attempt.host) == (State.RUNNING, "w", "node7")
    journal.append(Ended(one.id, State.COMPLETED, 4.0, token=one.token))
    later = JournalReader("w", path, reader.position)  # of another process, which has not read the first line
    attempt = ingested(project, later)
    assert (attempt.state, attempt.host, attempt.pid, attempt.pid_start) == (State.COMPLETED, "node7", 10, 11)
    journal.close()


def test_an_orphan_lives_if_the_process_that_its_journal_names_does(tmp_path: Path) -> None:
    path, here = tmp_path / "w.journal", os.getpid()
    orphan = OrphanedWorker(JournalReader("w", path), AdoptedWorker(here, -1, "another boot"))
    assert orphan.process.gone
    journal = JournalWriter(path)
    journal.append(Opened("w", "here", boot_id(), here, start_of(here) or 0, 1.0))
    journal.close()
    orphan.peek_journal()
    assert not orphan.process.gone
