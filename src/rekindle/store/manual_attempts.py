"""Attempts that a person recorded instead of running their jobs."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.changes.fingerprints import Baseline
from rekindle.domain.models import AttemptEnd
from rekindle.domain.states import State
from rekindle.store.derived import derive_states
from rekindle.store.fingerprints import Fingerprints
from rekindle.store.jobs import Jobs
from rekindle.store.queries import as_set, load
from rekindle.store.queue import Queue, expect

if TYPE_CHECKING:
    from rekindle.store.database import Database

SQL = load("manual_attempts")


class RecordedAttempt(msgspec.Struct, frozen=True):
    """An attempt to record for `job`: what it depends on now, and what it leaves."""

    job: int
    basis: Baseline
    code: str | None  # digest of `basis.code`
    result: str | None = None  # JSON text
    folder: str | None = None  # absolute: where its outputs are, if the job runs in a folder of its attempt


class ManualAttempts:
    """Attempts that a person recorded."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def of_jobs(self, jobs: Collection[int]) -> dict[int, int]:
        """Return, by job, the reruns that recorded the live attempts of these jobs."""
        return dict(self._db.rows(SQL["of_jobs"], jobs=as_set(jobs)))

    def record(self, rerun: int, attempts: Sequence[RecordedAttempt], now: float) -> int:
        """Record attempts, COMPLETED, as the live ones of jobs that `rerun` (of kind `complete`) has just reset; then
        derive the states, unmet counts and counts of these jobs and of the jobs that need them. Return how many of the
        latter are ready."""
        queue = Queue(self._db)
        ids = queue.attempt_ids(len(attempts))
        own = dict(zip(ids, attempts, strict=True))
        encode = self._db.paths.encode
        rows = [(number, one.job, os.urandom(8).hex(), encode(one.folder), now, rerun) for number, one in own.items()]
        wanted = len(attempts)
        self._db.change_each(SQL["insert_attempt"], rows, partial(expect, wanted=wanted, what="recorded"))
        ends = [
            AttemptEnd(number, State.COMPLETED, now, result=one.result, code=one.code) for number, one in own.items()
        ]
        queue.end(ends, queue.status(ids))
        live = [(number, one.job) for number, one in own.items()]
        self._db.change_each(SQL["set_live"], live, partial(expect, wanted=wanted, what="changed"))
        jobs = [one.job for one in attempts]
        children = [child for (child,) in self._db.rows(SQL["children"], jobs=as_set(jobs))]
        derive_states(self._db, {*jobs, *children})
        self._record_dependencies(own)
        return int(self._db.value(SQL["count_ready"], jobs=as_set(children)))

    def _record_dependencies(self, attempts: Mapping[int, RecordedAttempt]) -> None:
        """Record what the attempts depend on, as claims and workers record it."""
        prints = Fingerprints(self._db)
        for one in attempts.values():
            if one.code is not None and one.basis.code is not None:
                prints.put_source(one.code, one.basis.code)
        prints.put_files({number: one.basis.prints for number, one in attempts.items()})
        prints.put_patched({number: one.basis.patched for number, one in attempts.items() if one.basis.patched})
        upstream = Jobs(self._db).upstream([one.job for one in attempts.values()])
        needed = {number: upstream[one.job] for number, one in attempts.items() if one.job in upstream}
        prints.put_needed({number: {need.job: need.attempt or 0 for need in needs} for number, needs in needed.items()})
