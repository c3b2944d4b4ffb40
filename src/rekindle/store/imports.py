"""Attempts imported from another system, which ended before the store knew of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.models import AttemptEnd
from rekindle.domain.next_attempt import DEFAULT_NEXT_ATTEMPT, NextAttempt
from rekindle.store.derived import derive_states
from rekindle.store.queries import Row, as_set, load
from rekindle.store.queue import Queue, expect
from rekindle.store.rows import next_attempt_text

if TYPE_CHECKING:
    from rekindle.store.database import Database

SQL = load("imports")


class ImportedAttempt(msgspec.Struct, frozen=True):
    """An attempt that another system ran."""

    job: int
    number: int  # from 1, within the job
    token: str
    ending: AttemptEnd  # with the attempt's id, which must be free
    folder: str | None = None
    queued: float | None = None
    builds_on: int | None = None
    start_step: int = 0
    runner: str = ""  # name of the runner; "": not known


class ImportedPointers(msgspec.Struct, frozen=True):
    """The pointers of a job with imported attempts."""

    job: int
    attempts: int  # number of attempts
    attempt: int | None = None  # the live one
    next: NextAttempt = DEFAULT_NEXT_ATTEMPT


class Imports:
    """Imported attempts."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def write(
        self, attempts: Sequence[ImportedAttempt], pointers: Sequence[ImportedPointers], jobs: Sequence[int]
    ) -> None:
        """Write attempts, their runners, and the pointers of their jobs, which must have been submitted and never run;
        then derive the states, unmet counts and counts of `jobs`, all jobs of their workflows. Archive the attempts
        that are not live next."""
        runners = self._insert_runners(attempts)
        encode = self._db.paths.encode
        rows = [_attempt_row(one, encode(one.folder), runners.get((one.runner, one.ending.host))) for one in attempts]
        self._db.change_each(SQL["insert_attempt"], rows, partial(expect, wanted=len(attempts), what="written"))
        self._db.driver.continue_ids(())
        queue = Queue(self._db)
        queue.end([one.ending for one in attempts], queue.status(one.ending.attempt for one in attempts))
        changes = [
            (one.job, one.attempts, one.attempt, next_attempt_text(one.next, self._db.paths)) for one in pointers
        ]
        self._db.change_each(SQL["set_pointers"], changes, partial(expect, wanted=len(pointers), what="changed"))
        derive_states(self._db, jobs)

    def archive(self, attempts: Sequence[int], rerun: int) -> None:
        """Archive attempts under `rerun`, which is of kind `import`."""
        archived = self._db.change(SQL["archive_attempts"], rerun=rerun, attempts=as_set(attempts))
        expect(archived, len(attempts), "archived")

    def _insert_runners(self, attempts: Sequence[ImportedAttempt]) -> dict[tuple[str, str | None], int]:
        """Insert the runners, which have ended, and return them by name and host."""
        by_runner: dict[tuple[str, str | None], list[ImportedAttempt]] = {}
        for one in attempts:
            if one.runner:
                by_runner.setdefault((one.runner, one.ending.host), []).append(one)
        found = {}
        for (label, host), own in by_runner.items():
            ended = max(one.ending.ended for one in own)
            started = min(one.ending.started or one.ending.ended for one in own)
            found[label, host] = self._db.insert(
                SQL["insert_runner"], host=host or "", label=label, started=started, ended=ended
            )
        return found


def _attempt_row(one: ImportedAttempt, folder: str | None, runner: int | None) -> Row:
    return (
        one.ending.attempt,
        one.job,
        one.number,
        one.token,
        folder,
        one.queued,
        one.builds_on,
        one.start_step,
        runner,
    )
