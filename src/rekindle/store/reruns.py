"""Reruns: applying plans, reading them back, and undoing them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from rekindle.domain.errors import PlanOutdated, UndoRefused
from rekindle.domain.graph import find_cycle
from rekindle.domain.rerun.plan import PlannedJob, PlannedJobs, Reason, ReasonKind, RerunPlan, RerunRecord, SavedFile
from rekindle.domain.rerun.plan_json import rolled_back_from_json
from rekindle.domain.rerun.undo import UndoConflicts
from rekindle.journal.encoding import from_json, json_reader
from rekindle.store.database import NO_LIMIT, Database
from rekindle.store.derived import CountKey, add_counts, derive_states, has_finish_dependents, reclassify
from rekindle.store.dynamic_actions import RemovedEdge, end_sets, restore_sets, retired_among
from rekindle.store.events import Events
from rekindle.store.fingerprints import Fingerprints
from rekindle.store.jobs import Jobs
from rekindle.store.paths import with_checked, with_request, with_saved
from rekindle.store.queries import Row, as_set, load
from rekindle.store.rerun_rows import (
    NOTHING_TO_RESTORE,
    Restored,
    change_of,
    change_row,
    job_rows,
    json_text,
    planned_jobs_of,
    rerun_of,
)
from rekindle.store.rows import STATES, next_attempt_of

if TYPE_CHECKING:
    from rekindle.domain.changes.fingerprints import Baseline
    from rekindle.domain.states import State

SQL = load("reruns")

_SAVED = json_reader(tuple[SavedFile, ...])


class Reruns:
    """Applied plans."""

    def __init__(self, database: Database) -> None:
        self._db = database

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
        restores = self._refuse_outdated(plan)
        rerun = self._insert(plan, kind, request, note, now)
        modified = self._insert_jobs(rerun, plan.jobs, restores)
        if saved:
            self._db.change_each(SQL["record_saved"], [(self._saved_text(saved[job]), rerun, job) for job in saved])
        if plan.jobs.total(lambda job: job.stays):
            self._db.change(SQL["record_kept"], rerun=rerun)
            self._db.change(SQL["keep_jobs"], rerun=rerun)
        archived = plan.jobs.total(lambda job: bool(job.archives))
        if self._db.change(SQL["archive_attempts"], rerun=rerun) != archived:
            raise PlanOutdated("an attempt that the plan archives is not live any more", hint="plan the rerun again")
        self._db.change(SQL["reset_jobs"], rerun=rerun, now=now)
        counts: Counter[CountKey] = Counter()
        touched: Counter[int] = Counter()
        for workflow, resource_class, before, after, n in self._db.rows(SQL["moved_counts"], rerun=rerun):
            counts[workflow, resource_class, before] -= n
            counts[workflow, resource_class, after] += n
            touched[workflow] += n
        retired = self._end_sets(rerun, plan)
        if retired:
            after = {job.id: job.after for job in plan.jobs if job.id in retired}
            for job, workflow, resource_class in self._db.rows(SQL["classes"], jobs=as_set(after)):
                counts[workflow, resource_class, after[job]] -= 1
        add_counts(self._db, counts)
        reclassify(self._db, modified)
        planned = plan.jobs.ids
        if has_finish_dependents(self._db, planned):  # jobs outside the plan may count these as finished
            derive_states(self._db, planned)
        self._add_events("rerun", rerun, kind, now, sorted(touched.items()))
        return rerun

    def record(self, plan: RerunPlan, kind: str, request: Mapping[str, Any], note: str | None, now: float) -> int:
        """Record a plan that has already been carried out and that undo cannot take back. Return the rerun's id."""
        rerun = self._insert(plan, kind, request, note, now)
        self._insert_jobs(rerun, plan.jobs, None)
        return rerun

    def _insert_jobs(self, rerun: int, jobs: PlannedJobs, restores: Collection[int] | None) -> list[int]:
        """Write the jobs of a plan and their changes. `restores`: the jobs for which undo restores more than the
        attempt; None: it restores nothing. Return the jobs whose overrides change."""
        found: dict[int, tuple[Restored, int | None]] = {}
        if restores:
            for job, held, canceled, following, alone in self._db.rows(SQL["pointers"], jobs=as_set(restores)):
                found[job] = (held, canceled, following), alone
        changes, rows, modified = list[Row](), list[Iterable[Row]](), list[int]()
        nothing = NOTHING_TO_RESTORE, None
        for whole in jobs.sets:
            live = restores is not None and not whole.change.stays and bool(whole.change.archives)
            for (restored, _), one in (
                whole.divided(lambda job: found.get(job, nothing)) if found else ((nothing, whole),)
            ):
                changes.append(change_row(rerun, len(changes), one.change, restored, self._db.paths))
                rows.append(job_rows(rerun, len(changes) - 1, one, live))
                before = next_attempt_of(restored[2], self._db.paths).overrides
                if before != one.change.next.overrides:
                    modified += one.ids
        self._db.change_each(SQL["insert_rerun_change"], changes)
        self._db.change_each(SQL["insert_rerun_job"], chain.from_iterable(rows))
        return modified

    def _saved_text(self, saved: Sequence[SavedFile]) -> str:
        return json_text(with_saved(saved, self._db.paths.encode))

    def get(self, rerun: int) -> RerunRecord | None:
        """Return a rerun with its plan as applied."""
        found = self.head(rerun)
        if found is None:
            return None
        names: dict[int, str] = dict(self._db.rows(SQL["upstream_names"], rerun=rerun))
        rows = self._db.rows(SQL["rerun_jobs"], rerun=rerun)
        return replace(found, plan=replace(found.plan, jobs=planned_jobs_of(self._changes(rerun), rows, names)))

    def head(self, rerun: int) -> RerunRecord | None:
        """Return a rerun without its jobs."""
        row = self._db.named_row(SQL["rerun"], rerun=rerun)
        return None if row is None else rerun_of(row, PlannedJobs(), self._db.paths)

    def _changes(self, rerun: int) -> dict[int, PlannedJob]:
        rows = self._db.named_rows(SQL["rerun_changes"], rerun=rerun)
        return {row.number: change_of(row, self._db.paths) for row in rows}

    def listing(self, workflow: int | None, limit: int | None = None, at: int = 0) -> list[tuple[RerunRecord, int]]:
        """Return a page of reruns from `at`, newest first, without their jobs; each with its number of jobs."""
        page = {"limit": NO_LIMIT if limit is None else limit, "offset": at}
        if workflow is None:
            rows = self._db.named_rows(SQL["reruns"], **page)
        else:
            rows = self._db.named_rows(SQL["reruns_of_workflow"], workflow=workflow, **page)
        return [(rerun_of(row, PlannedJobs(), self._db.paths), row.jobs) for row in rows]

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

    def retries(self, jobs: Sequence[int], kind: str = "retry") -> dict[int, int]:
        """Return how often each job has been retried, as its policy or (`judge`) as its judge said, since a user last
        reset it. Jobs without retries are left out."""
        return dict(self._db.rows(SQL["retries"], jobs=as_set(jobs), kind=kind))

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
        """Return the newest rerun, not undone, of a kind that users request: manual, restart, run, reset, accept,
        complete."""
        newest: int | None = self._db.value(SQL["newest_manual"])
        return newest

    def saved(self, attempt: int) -> tuple[SavedFile, ...]:
        """Return the outputs of an attempt that the rerun which archived it has saved."""
        saved: str | None = self._db.value(SQL["saved"], attempt=attempt)
        return () if saved is None else with_saved(_SAVED(saved), self._db.paths.decode)

    def saved_outputs(self, rerun: int) -> list[tuple[int, PlannedJob, tuple[SavedFile, ...]]]:
        """Return (workflow, change, files) of the jobs of a rerun whose outputs were saved."""
        rows = self._db.rows(SQL["saved_outputs"], rerun=rerun)
        changes = self._changes(rerun) if rows else {}
        return [
            (workflow, changes[change], with_saved(_SAVED(saved), self._db.paths.decode))
            for _, saved, workflow, change in rows
        ]

    def undo_conflicts(self, rerun: int) -> UndoConflicts:
        """Return what may prevent undoing a rerun."""
        later: dict[str, list[int]] = {}
        for _, name, newer in self._db.rows(SQL["later_reruns"], rerun=rerun):
            later.setdefault(name, []).append(newer)
        live = self._db.rows(SQL["started_since"], rerun=rerun)
        return UndoConflicts(
            [name for _, name, source in live if source is None],
            later,
            dict(self._db.rows(SQL["canceled_by"], rerun=rerun)),
            {name: source for _, name, source in live if source is not None},
        )

    def undo(self, rerun: int, now: float) -> None:
        """Restore the pointers of the jobs of a rerun and make their attempts live again; derive the unmet counts and
        states of these jobs and their children, and mark the rerun undone. The caller has checked that nothing prevents
        that."""
        self._db.change(SQL["restore_jobs"], rerun=rerun)
        reclassify(self._db, [job for (job,) in self._db.rows(SQL["reclassified"], rerun=rerun)])
        self._db.change(SQL["archive_recorded"], rerun=rerun)
        self._db.change(SQL["revive_attempts"], rerun=rerun)
        touched = self._restore_sets(rerun)
        derive_states(self._db, touched | {job for (job,) in self._db.rows(SQL["rerun_and_children"], rerun=rerun)})
        self._db.change(SQL["mark_undone"], rerun=rerun, now=now)
        self._add_events("undone", rerun, None, now, self._touched(rerun))

    def back(self, rerun: int) -> list[tuple[int, str, State]]:
        """Return the id, name and present state of each job of a rerun."""
        return [(job, name, STATES[state]) for job, name, state in self._db.rows(SQL["back"], rerun=rerun)]

    def accept(
        self, plan: RerunPlan, bases: Mapping[int, Baseline], request: Mapping[str, Any], note: str | None, now: float
    ) -> int:
        """Compare attempts with these bases from now on. Return the id of the rerun, of kind `accept`, which resets
        nothing; the jobs' versions increase. Raise PlanOutdated as `apply` does."""
        self._refuse_outdated(plan)
        rerun = self._insert(plan, "accept", request, note, now)
        self._insert_jobs(rerun, plan.jobs, None)
        Fingerprints(self._db).accept(rerun, bases)
        self._db.change(SQL["bump_versions"], rerun=rerun)
        self._add_events("rerun", rerun, "accept", now, self._touched(rerun))
        return rerun

    def revoke(self, rerun: int, now: float) -> None:
        """Mark a rerun of kind `accept` undone: its bases are no longer in force, and its jobs' versions increase."""
        self._db.change(SQL["mark_undone"], rerun=rerun, now=now)
        self._db.change(SQL["bump_versions"], rerun=rerun)
        self._add_events("undone", rerun, None, now, self._touched(rerun))

    def _end_sets(self, rerun: int, plan: RerunPlan) -> set[int]:
        """End the action sets that a plan ends and record what goes with them. Return the jobs that are retired."""
        if not plan.dynamic:
            return set()
        retired = {job for one in plan.dynamic for job in one.retires}
        edges = end_sets(self._db, [one.attempt for one in plan.dynamic], sorted(retired))
        self._db.change(SQL["record_dynamic"], rerun=rerun, dynamic=json_text({"taken": plan.dynamic, "edges": edges}))
        return retired

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
        return bool(self._moved(plan)[0])

    def _moved(self, plan: RerunPlan) -> tuple[list[int], list[int]]:
        """Return the jobs that have changed since the plan was made, and those for which undo restores more than the
        attempt."""
        wanted: dict[int, list[int]] = {}
        for job, version in plan.reads:
            wanted.setdefault(version, []).append(job)
        for one in plan.jobs.sets:
            for version, jobs in one.by_version():
                wanted.setdefault(version, []).extend(jobs)
        moved, restores = list[int](), list[int]()
        for version, jobs in wanted.items():
            bound = {"jobs": as_set(jobs), "version": version}
            ((present, more),) = self._db.rows(SQL["bound_jobs"], **bound)
            if more:
                restores += [job for (job,) in self._db.rows(SQL["restoring"], **bound)]
            if present != len(jobs):
                versions = Jobs(self._db).versions(jobs)
                moved += [job for job in jobs if job not in versions or versions[job][0] != version]
        return sorted(moved), restores

    def _refuse_outdated(self, plan: RerunPlan) -> list[int]:
        """Raise PlanOutdated, naming the jobs, if any has changed since the plan was made. Return the jobs for
        which undo restores more than the attempt."""
        moved, restores = self._moved(plan)
        if not moved:
            return restores
        names = {job.id: job.name for job in plan.jobs} | {
            job: name for job, (_, name) in Jobs(self._db).versions(moved).items()
        }
        more = f" and {len(moved) - 10} more" if len(moved) > 10 else ""
        listed = ", ".join(f"`{names.get(job, f'job {job}')}`" for job in moved[:10])
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

    def _touched(self, rerun: int) -> list[tuple[int, int]]:
        """Return the workflows of the jobs of a rerun, each with the number of these jobs."""
        return [(workflow, n) for workflow, n in self._db.rows(SQL["workflows_of_rerun"], rerun=rerun)]

    def _add_events(
        self, event: str, rerun: int, kind: str | None, now: float, touched: Iterable[tuple[int, int]]
    ) -> None:
        events = Events(self._db)
        for workflow, n in touched:
            detail = {"rerun": rerun, "jobs": n} | ({} if kind is None else {"kind": kind})
            events.add(now, event, workflow, detail)
