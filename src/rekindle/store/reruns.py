"""Reruns: applying plans, reading them back, and undoing them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rekindle.domain.errors import PlanOutdated, UndoRefused
from rekindle.domain.graph import find_cycle
from rekindle.domain.rerun.plan import (
    AttemptView,
    JobGraph,
    JobView,
    PlannedJob,
    Reason,
    ReasonKind,
    RerunPlan,
    RerunRecord,
    SavedFile,
    rolled_back_from_json,
)
from rekindle.domain.rerun.undo import JobPointers, UndoView, pointers_after
from rekindle.journal.encoding import from_json, json_reader
from rekindle.store.database import NO_LIMIT, Database
from rekindle.store.derived import CountKey, add_counts, derive_states, has_finish_dependents, reclassify
from rekindle.store.dynamic_actions import RemovedEdge, end_sets, restore_sets, retired_among
from rekindle.store.events import Events
from rekindle.store.fingerprints import Fingerprints
from rekindle.store.jobs import Jobs
from rekindle.store.paths import with_checked, with_pointers, with_request, with_saved
from rekindle.store.queries import ValueSet, as_set, load
from rekindle.store.rerun_rows import (
    attempt_views,
    json_text,
    planned_job_of,
    planned_job_row,
    pointers_of,
    pointers_row,
    rerun_of,
    rerun_views,
    reset_row,
    views_defined_by,
)
from rekindle.store.rows import STATES

if TYPE_CHECKING:
    from rekindle.domain.changes.fingerprints import Baseline

SQL = load("reruns")

_POINTERS = json_reader(JobPointers)
_SAVED = json_reader(tuple[SavedFile, ...])

_AUTOMATIC = ("retry", "recovery")
"""Kinds of reruns of jobs that ended in the same transaction: no other job counts them as finished yet."""


class Reruns:
    """Plans: what planning reads, and applied plans."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def views(self, selected: Sequence[int], alone: Collection[int] = ()) -> tuple[dict[int, JobView], JobGraph]:
        """Return the selected jobs, all their descendants (none of those `alone`), and every parent of these, with the
        edges among them."""
        return rerun_views(self._db, selected, alone)

    def defined_by(self, views: Mapping[int, JobView], attempts: Mapping[int, int]) -> dict[int, JobView]:
        """Return the views of the jobs mapped to an attempt, with the definition of that attempt (steps, outputs,
        working directory, matrix values, parameters, environment)."""
        return views_defined_by(self._db, views, attempts)

    def sources(self, attempts: Sequence[int]) -> dict[int, tuple[int, AttemptView]]:
        """Return (job, view) of attempts, live or archived, that a rerun may continue from."""
        return attempt_views(self._db, attempts)

    def apply(
        self,
        plan: RerunPlan,
        kind: str,
        request: Mapping[str, Any],
        note: str | None,
        now: float,
        saved: Mapping[int, Sequence[SavedFile]] | None = None,
    ) -> int:
        """Apply a plan and return the rerun's id.

        Writes the rerun and its jobs, archives attempts, and changes pointers, resource classes, unmet counts, states
        and counts. `saved` holds the outputs that have been saved for undo, by job. Raise PlanOutdated, naming the
        jobs, if the version of any job has changed.
        """
        self._refuse_outdated(plan)
        jobs = as_set(job.id for job in plan.jobs)
        paths = self._db.paths
        rows = {row.id: row for row in self._db.named_rows(SQL["pointers"], jobs=jobs)}
        before = {job: pointers_of(row, paths) for job, row in rows.items()}
        rerun = self._insert(plan, kind, request, note, now)
        records, resets, kept = [], [], []
        counts: Counter[CountKey] = Counter()
        for job in plan.jobs:
            row = rows[job.id]
            records.append(planned_job_row(rerun, job, before[job.id], paths, (saved or {}).get(job.id)))
            after = pointers_after(job, before[job.id])
            if job.stays:
                kept.append((int(job.after), job.unmet, after.held, job.id))
            else:
                resets.append(reset_row(rerun, job, after, paths, now))
            counts[row.workflow, row.resource_class, job.before] -= 1
            counts[row.workflow, row.resource_class, job.after] += 1
        self._db.change_each(SQL["insert_rerun_job"], records)
        self._db.change_each(SQL["reset_job"], resets)
        self._db.change_each(SQL["keep_job"], kept)
        for job in self._end_sets(rerun, plan):
            counts[rows[job.id].workflow, rows[job.id].resource_class, job.after] -= 1
        add_counts(self._db, counts)
        reclassify(self._db, [job.id for job in plan.jobs if job.next.overrides != before[job.id].next.overrides])
        archived = [attempt for job in plan.jobs for attempt in job.archives]
        if self._db.change(SQL["archive_attempts"], rerun=rerun, attempts=as_set(archived)) != len(archived):
            raise PlanOutdated("an attempt that the plan archives is not live any more", hint="plan the rerun again")
        if kind not in _AUTOMATIC:
            planned = [job.id for job in plan.jobs]
            if has_finish_dependents(self._db, planned):  # jobs outside the plan may count these as finished
                derive_states(self._db, planned)
        self._add_events("rerun", rerun, kind, jobs, now)
        return rerun

    def record(self, plan: RerunPlan, kind: str, request: Mapping[str, Any], note: str | None, now: float) -> int:
        """Record a plan that has already been carried out and that undo cannot take back. Return the rerun's id."""
        rerun = self._insert(plan, kind, request, note, now)
        records = (planned_job_row(rerun, job, JobPointers(), self._db.paths, None) for job in plan.jobs)
        self._db.change_each(SQL["insert_rerun_job"], records)
        return rerun

    def get(self, rerun: int) -> RerunRecord | None:
        """Return a rerun with its plan as applied."""
        row = self._db.named_row(SQL["rerun"], rerun=rerun)
        if row is None:
            return None
        paths = self._db.paths
        jobs = tuple(planned_job_of(one, paths) for one in self._db.named_rows(SQL["planned_jobs"], rerun=rerun))
        return rerun_of(row, jobs, paths)

    def listing(self, workflow: int | None, limit: int | None = None, at: int = 0) -> list[tuple[RerunRecord, int]]:
        """Return a page of reruns from `at`, newest first, without their jobs; each with its number of jobs."""
        page = {"limit": NO_LIMIT if limit is None else limit, "offset": at}
        if workflow is None:
            rows = self._db.named_rows(SQL["reruns"], **page)
        else:
            rows = self._db.named_rows(SQL["reruns_of_workflow"], workflow=workflow, **page)
        return [(rerun_of(row, (), self._db.paths), row.jobs) for row in rows]

    def count(self, workflow: int | None) -> int:
        """Return the number of reruns."""
        if workflow is None:
            return int(self._db.value(SQL["count_reruns"]))
        return int(self._db.value(SQL["count_reruns_of_workflow"], workflow=workflow))

    def reuse_checks(self, rerun: int) -> dict[int, dict[str, Any]]:
        """Return the results of checking the reuse candidates that a rerun set, by job."""
        rows = self._db.rows(SQL["reuse_checks"], rerun=rerun)
        return {job: with_checked(from_json(checked), self._db.paths.decode) for job, checked in rows}

    def record_reuse_checks(self, checks: Sequence[tuple[int, int, Mapping[str, Any]]]) -> None:
        """Record results of (job, candidate, result) with the newest rerun that set the candidate."""
        encode = self._db.paths.encode
        rows = [(json_text(with_checked(checked, encode)), job, candidate) for job, candidate, checked in checks]
        self._db.change_each(SQL["record_reuse_check"], rows)

    def retries(self, jobs: Sequence[int]) -> dict[int, int]:
        """Return how often each job has been retried since a user last reset it. Jobs without retries are left out."""
        return dict(self._db.rows(SQL["retries"], jobs=as_set(jobs)))

    def retried(self, jobs: Sequence[int]) -> list[tuple[int, int | None, Reason]]:
        """Return (job, attempt, reason) of the attempts of these jobs that are retries, oldest first. The attempt is
        None if the retry has not run yet."""
        return [
            (row.job, row.attempt, Reason(ReasonKind.RETRY, one["detail"]))
            for row in self._db.named_rows(SQL["retried"], jobs=as_set(jobs))
            for one in from_json(row.reasons)
            if one["kind"] == ReasonKind.RETRY
        ]

    def automatic(self, jobs: Sequence[int]) -> dict[int, str]:
        """Return the newest attempts of those jobs that are about to run again by a retry or a recovery, each with that
        kind."""
        return dict(self._db.rows(SQL["automatic"], jobs=as_set(jobs)))

    def newest_manual(self) -> int | None:
        """Return the newest rerun of a kind that users request (manual, restart, run, reset, accept), not undone."""
        newest: int | None = self._db.value(SQL["newest_manual"])
        return newest

    def saved(self, attempt: int) -> tuple[SavedFile, ...]:
        """Return the outputs of an attempt that the rerun which archived it has saved."""
        saved: str | None = self._db.value(SQL["saved"], attempt=attempt)
        return () if saved is None else with_saved(_SAVED(saved), self._db.paths.decode)

    def undo_views(self, rerun: int) -> list[UndoView]:
        """Return the jobs of a rerun as undo needs them."""
        decode = self._db.paths.decode
        rows = self._db.named_rows(SQL["undo_views"], rerun=rerun)
        pointers = [with_pointers(_POINTERS(row.pointers), decode) for row in rows]
        attempts = as_set(one.attempt for one in pointers if one.attempt is not None)
        states = {number: STATES[state] for number, state in self._db.rows(SQL["attempt_states"], attempts=attempts)}
        later: dict[int, list[int]] = {}
        for job, newer in self._db.rows(SQL["later_reruns"], rerun=rerun):
            later.setdefault(job, []).append(newer)
        return [
            UndoView(
                id=row.job,
                name=row.name,
                version=row.version,
                state=STATES[row.state],
                attempt=row.attempt,
                restore=restore,
                restored_state=None if restore.attempt is None else states.get(restore.attempt),
                archives=tuple(from_json(row.archives)),
                later_reruns=tuple(later.get(row.job, ())),
                saved=() if row.saved is None else with_saved(_SAVED(row.saved), decode),
            )
            for row, restore in zip(rows, pointers, strict=True)
        ]

    def undo(self, rerun: int, restore: Sequence[tuple[int, int, JobPointers, Sequence[int]]], now: float) -> None:
        """Restore (job, version, pointers, attempts that become live again), if no version has changed; derive the
        unmet counts and states of these jobs and their children, and mark the rerun undone."""
        jobs = as_set(job for job, *_ in restore)
        paths = self._db.paths
        before = {row.id: pointers_of(row, paths) for row in self._db.named_rows(SQL["pointers"], jobs=jobs)}
        rows = [(*pointers_row(pointers, paths), job, version) for job, version, pointers, _ in restore]

        def check(restored: int) -> None:
            if restored != len(restore):
                raise UndoRefused(
                    f"jobs of rerun {rerun} have moved in this moment", hint="nothing was undone; try again"
                )

        self._db.change_each(SQL["restore_job"], rows, check)
        reclassify(
            self._db, [job for job, _, after, _ in restore if after.next.overrides != before[job].next.overrides]
        )
        attempts = [attempt for *_, revived in restore for attempt in revived]
        self._db.change(SQL["revive_attempts"], rerun=rerun, attempts=as_set(attempts))
        touched = self._restore_sets(rerun)
        children = {child for (child,) in self._db.rows(SQL["children"], jobs=jobs)}
        derive_states(self._db, children | touched | {job for job, *_ in restore})
        self._db.change(SQL["mark_undone"], rerun=rerun, now=now)
        self._add_events("undone", rerun, None, jobs, now)

    def accept(
        self, plan: RerunPlan, bases: Mapping[int, Baseline], request: Mapping[str, Any], note: str | None, now: float
    ) -> int:
        """Compare attempts with these bases from now on. Return the id of the rerun, of kind `accept`, which resets
        nothing; the jobs' versions increase. Raise PlanOutdated as `apply` does."""
        self._refuse_outdated(plan)
        jobs = as_set(job.id for job in plan.jobs)
        paths = self._db.paths
        pointers = {row.id: pointers_of(row, paths) for row in self._db.named_rows(SQL["pointers"], jobs=jobs)}
        rerun = self._insert(plan, "accept", request, note, now)
        records = [planned_job_row(rerun, job, pointers[job.id], paths, None) for job in plan.jobs]
        self._db.change_each(SQL["insert_rerun_job"], records)
        Fingerprints(self._db).accept(rerun, bases)
        self._db.change(SQL["bump_versions"], jobs=jobs)
        self._add_events("rerun", rerun, "accept", jobs, now)
        return rerun

    def revoke(self, rerun: int, now: float) -> None:
        """Mark a rerun of kind `accept` undone: its bases are no longer in force, and its jobs' versions increase."""
        jobs = as_set(row.job for row in self._db.named_rows(SQL["planned_jobs"], rerun=rerun))
        self._db.change(SQL["mark_undone"], rerun=rerun, now=now)
        self._db.change(SQL["bump_versions"], jobs=jobs)
        self._add_events("undone", rerun, None, jobs, now)

    def _end_sets(self, rerun: int, plan: RerunPlan) -> list[PlannedJob]:
        """End the action sets that a plan ends and record what goes with them. Return the jobs that are retired."""
        if not plan.dynamic:
            return []
        retired = {job for one in plan.dynamic for job in one.retires}
        edges = end_sets(self._db, [one.attempt for one in plan.dynamic], sorted(retired))
        self._db.change(SQL["record_dynamic"], rerun=rerun, dynamic=json_text({"taken": plan.dynamic, "edges": edges}))
        return [job for job in plan.jobs if job.id in retired]

    def _restore_sets(self, rerun: int) -> set[int]:
        """Put the action sets that a rerun ended in force again. Return the jobs whose states are to be derived. Raise
        UndoRefused if a revision has made that impossible since."""
        document = from_json(self._db.value(SQL["dynamic"], rerun=rerun))
        ended = [rolled_back_from_json(one) for one in document.get("taken", ())]
        if not ended:
            return set()
        jobs = [one.job for one in ended]
        added = {job for one in ended for job in one.retires}
        if gone := retired_among(self._db, [job for job in jobs if job not in added]):
            raise UndoRefused(
                f"a revision has left out `{gone[0]}`, whose actions would be in force again",
                hint="submit a revision that has it first",
            )
        edges: list[RemovedEdge] = [(parent, child, by) for parent, child, by in document["edges"]]
        touched = restore_sets(self._db, [one.attempt for one in ended], sorted(added), edges)
        pairs = self._db.rows(SQL["edges_of"], jobs=as_set(jobs))
        at = {job: position for position, job in enumerate({job for pair in pairs for job in pair})}
        if find_cycle(len(at), [(at[parent], at[child]) for parent, child in pairs]):
            raise UndoRefused(
                "with the jobs that come back, jobs of a later revision would need each other in a cycle",
                hint="submit the earlier revision first",
            )
        return touched

    def is_outdated(self, plan: RerunPlan) -> bool:
        """Return whether the version of any job that a plan changes or has read has changed."""
        return bool(self._moved(plan))

    def _moved(self, plan: RerunPlan) -> list[str]:
        wanted = {job.id: job.version for job in plan.jobs} | dict(plan.reads)
        found = Jobs(self._db).versions(wanted)
        names = {job.id: job.name for job in plan.jobs}
        return [
            found[job][1] if job in found else names.get(job, f"job {job}")
            for job, version in sorted(wanted.items())
            if job not in found or found[job][0] != version
        ]

    def _refuse_outdated(self, plan: RerunPlan) -> None:
        if moved := self._moved(plan):
            more = f" and {len(moved) - 10} more" if len(moved) > 10 else ""
            listed = ", ".join(f"`{name}`" for name in moved[:10])
            verb = "has" if len(moved) == 1 else "have"
            raise PlanOutdated(f"{listed}{more} {verb} moved since the plan was made", hint="plan the rerun again")

    def _insert(self, plan: RerunPlan, kind: str, request: Mapping[str, Any], note: str | None, now: float) -> int:
        return self._db.insert(
            SQL["insert_rerun"],
            kind=kind,
            at=now,
            digest=plan.digest,
            request=json_text(with_request({**request, **self._db.who}, self._db.paths.encode)),
            note=note,
            refused=json_text(plan.refused),
            warnings=json_text(plan.warnings),
            expected=json_text(plan.expected),
            overwrites=json_text(plan.overwrites),
            jobs=len(plan.jobs),
        )

    def _add_events(self, event: str, rerun: int, kind: str | None, jobs: ValueSet, now: float) -> None:
        events = Events(self._db)
        for workflow, n in self._db.rows(SQL["workflows_of_jobs"], jobs=jobs):
            detail = {"rerun": rerun, "jobs": n} | ({} if kind is None else {"kind": kind})
            events.add(now, event, workflow, detail)
