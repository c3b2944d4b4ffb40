"""Reuse: ready jobs with a candidate, and the completed attempts of all workflows that may complete jobs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from rekindle.domain.models import JobDefinition, ReusableAttempt, ReuseCandidate, ReusedAttempt, ReuseSource
from rekindle.domain.next_attempt import ANY_EARLIER, NextAttempt
from rekindle.store.derived import extend_spans, spans_of
from rekindle.store.queries import as_set, load
from rekindle.store.queue import expect
from rekindle.store.rows import next_attempt_of, next_attempt_text

if TYPE_CHECKING:
    from rekindle.store.database import Database

SQL = load("reuse")


class ReuseCandidates:
    """Jobs that an earlier attempt may complete without running them, if its fingerprint still matches."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def listing(self, workflow: int | None, limit: int) -> list[ReuseCandidate]:
        """Return ready jobs with a candidate, by id. Held jobs and archived workflows are left out."""
        if workflow is None:
            rows = self._db.named_rows(SQL["with_candidate"], limit=limit)
        else:
            rows = self._db.named_rows(SQL["with_candidate_of_one"], workflow=workflow, limit=limit)
        return [ReuseCandidate(**row._asdict()) for row in rows]

    def unchanged(self, jobs: Sequence[ReuseCandidate]) -> set[int]:
        """Return the ids of those jobs whose row, version included, has not changed, and that are still READY."""
        rows = self._db.named_rows(SQL["still_with_candidate"], jobs=as_set(job.id for job in jobs))
        current = {row.id: ReuseCandidate(**row._asdict()) for row in rows}
        return {job.id for job in jobs if current.get(job.id) == job}

    def reinstate(self, candidates: Sequence[tuple[int, int]]) -> None:
        """Make each candidate of (job, attempt) the job's live attempt. `Queue.move` changes the jobs."""
        if not candidates:
            return
        rows = [(attempt, job) for job, attempt in candidates]
        self._db.change_each(SQL["reinstate"], rows, partial(expect, wanted=len(rows), what="reinstated"))
        attempts = as_set(attempt for _, attempt in candidates)
        expect(self._db.change(SQL["unarchive_attempts"], attempts=attempts), len(rows), "live again")

    def reject(self, jobs: Sequence[int]) -> None:
        """Drop the candidates of these jobs, which may then be claimed (version + 1)."""
        if jobs:
            expect(self._db.change(SQL["reject_candidates"], jobs=as_set(jobs)), len(jobs), "to run")

    def has_reusable(self) -> bool:
        """Return whether the store has an attempt that may complete other jobs."""
        return self._db.row(SQL["has_reusable"]) is not None

    def reusable(self, identities: Collection[int], most: int) -> dict[int, list[ReusableAttempt]]:
        """Return, by identity, at most this many completed attempts that have it, the newest first."""
        found: dict[int, list[ReusableAttempt]] = {}
        for row in self._db.named_rows(SQL["reusable"], identities=as_set(identities), most=most):
            found.setdefault(row.identity, []).append(ReusableAttempt(row.id, row.job))
        return found

    def definitions(self, jobs: Collection[int]) -> list[JobDefinition]:
        """Return what identifies the next attempt of these jobs, by id. Jobs with a pinned definition are left out."""
        return [JobDefinition(*row) for row in self._db.rows(SQL["definitions"], jobs=as_set(jobs))]

    def workflows(self) -> list[int]:
        """Return the workflows that are not archived and have jobs that are to run."""
        return [number for (number,) in self._db.rows(SQL["with_unstarted"])]

    def unstarted(self, workflow: int, templates: Collection[int]) -> dict[int, NextAttempt]:
        """Return the jobs of a workflow, of these templates, that are to run from the beginning and that nobody asked
        to run, each with what its next attempt does."""
        rows = self._db.rows(SQL["unstarted"], workflow=workflow, templates=as_set(templates))
        found = {job: next_attempt_of(text, self._db.paths) for job, text in rows}
        plain = {job: NextAttempt(overrides=following.overrides) for job, following in found.items()}
        return {job: following for job, following in found.items() if following == plain[job]}

    def offer(self, jobs: Mapping[int, NextAttempt]) -> None:
        """Have these jobs completed by an earlier attempt, if one is found when they are ready (version + 1)."""
        alike: dict[str | None, list[int]] = {}
        for job, following in jobs.items():
            text = next_attempt_text(replace(following, reuse_candidate=ANY_EARLIER), self._db.paths)
            alike.setdefault(text, []).append(job)
        for text, some in alike.items():
            self._db.change(SQL["offer"], next_attempt=text, jobs=as_set(some))

    def sources(self, attempts: Collection[int]) -> dict[int, ReuseSource]:
        """Return those of these attempts that exist, each with its workflow."""
        rows = self._db.rows(SQL["sources"], attempts=as_set(attempts)) if attempts else []
        return {row[0]: ReuseSource(*row) for row in rows}

    def completed(self, jobs: Collection[int]) -> list[tuple[int, int]]:
        """Return (attempt, job) of the completed attempts of these jobs, by attempt."""
        return [(attempt, job) for attempt, job in self._db.rows(SQL["completed"], jobs=as_set(jobs))]

    def reused_jobs(self, jobs: Collection[int]) -> list[int]:
        """Return those of these jobs whose live attempt stands for another one."""
        return [job for (job,) in self._db.rows(SQL["reused_jobs"], jobs=as_set(jobs))]

    def complete(self, reused: Sequence[ReusedAttempt], now: float) -> None:
        """Give jobs an attempt of their own that stands for another one. `Queue.move` changes the jobs."""
        if not reused:
            return
        encode = self._db.paths.encode
        rows = [(one.id, one.token, encode(one.folder), now, one.job, one.source) for one in reused]
        self._db.change_each(SQL["insert_reused"], rows, partial(expect, wanted=len(rows), what="completed"))
        self._db.change_each(SQL["reuse_steps"], [(one.id, one.source) for one in reused])
        jobs = [(one.id, one.job) for one in reused]
        self._db.change_each(SQL["complete_by_reuse"], jobs, partial(expect, wanted=len(jobs), what="completed"))
        extend_spans(self._db, spans_of(self._db, [one.id for one in reused]))
