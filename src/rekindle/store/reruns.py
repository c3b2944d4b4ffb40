"""Reruns: plans applied, looked at, taken back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from rekindle.domain.changes.prints import Basis
from rekindle.domain.errors import PlanOutdated, UndoRefused
from rekindle.domain.graph import find_cycle
from rekindle.domain.rerunning.plan_form import taken_from_json
from rekindle.domain.rerunning.planning import pointers_after
from rekindle.domain.rerunning.rerun import (
    PLAIN,
    AttemptView,
    Expected,
    Graph,
    JobView,
    Manner,
    PlannedJob,
    Pointers,
    Reason,
    ReasonKind,
    RefusedJob,
    RerunPlan,
    RerunRecord,
    SavedFile,
    UndoView,
)
from rekindle.journal.encoding import from_json, json_reader, to_json
from rekindle.store.acts import RemovedEdge, bring_back, retired_among, take_out
from rekindle.store.classes import reclassify
from rekindle.store.counts import CountKey, add_counts
from rekindle.store.database import NO_LIMIT, Database, Row
from rekindle.store.deriving import derive_afresh
from rekindle.store.events import Events
from rekindle.store.fingerprints import Fingerprints
from rekindle.store.finishing import there_are
from rekindle.store.paths import (
    StoredPaths,
    with_checked,
    with_manner,
    with_reasons,
    with_request,
    with_saved,
)
from rekindle.store.queries import as_set, load
from rekindle.store.rowshape import STATES, choice_of, choice_text
from rekindle.store.views import as_defined_by, attempt_views, rerun_views

SQL = load("reruns")

_POINTERS = json_reader(Pointers)
_MANNER = json_reader(Manner)
_SAVED = json_reader(tuple[SavedFile, ...])
_REASONS = json_reader(tuple[Reason, ...])

_BY_ITSELF = ("retry", "recovery")
"""Kinds of reruns of what has ended in this very transaction: nothing has counted it as finished."""

_OVERRIDES = 10
"""A column of `pointers`."""


class Reruns:
    """See rekindle.store.port.Reruns."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def views(self, selected: Sequence[int], alone: Collection[int] = ()) -> tuple[dict[int, JobView], Graph]:
        return rerun_views(self._db, selected, alone)

    def defined_by(self, views: Mapping[int, JobView], attempts: Mapping[int, int]) -> dict[int, JobView]:
        return as_defined_by(self._db, views, attempts)

    def sources(self, attempts: Sequence[int]) -> dict[int, tuple[int, AttemptView]]:
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
        self._refuse_outdated(plan)
        jobs = as_set(job.id for job in plan.jobs)
        before = {row[0]: row for row in self._db.rows(SQL["pointers"], jobs=jobs)}
        rerun = self._insert(plan, kind, request, note, now)
        paths = self._db.paths
        records, resets, left = [], [], []
        counts: Counter[CountKey] = Counter()
        for job in plan.jobs:
            row = before[job.id]
            pointers = _pointers(row, paths)
            records.append(_record(rerun, job, pointers, paths, (saved or {}).get(job.id)))
            after = pointers_after(job, pointers)
            if job.stays:
                left.append((int(job.after), job.unmet, after.held, job.id))
            else:
                resets.append(_reset(rerun, job, after, paths, now))
            counts[row[1], row[2], job.before] -= 1
            counts[row[1], row[2], job.after] += 1
        self._db.change_each(SQL["insert_rerun_job"], records)
        self._db.change_each(SQL["reset_job"], resets)
        self._db.change_each(SQL["leave_job"], left)
        for job in self._take_out(rerun, plan):
            counts[before[job.id][1], before[job.id][2], job.after] -= 1
        add_counts(self._db, counts)
        reclassify(self._db, [job.id for job in plan.jobs if job.manner.overrides != before[job.id][_OVERRIDES]])
        archived = [attempt for job in plan.jobs for attempt in job.archives]
        if self._db.change(SQL["archive_attempts"], rerun=rerun, attempts=as_set(archived)) != len(archived):
            raise PlanOutdated("an attempt that the plan archives is not live any more", hint="plan the rerun again")
        if kind not in _BY_ITSELF:
            self._settle([job.id for job in plan.jobs])
        self._tell("rerun", rerun, kind, jobs, now)
        return rerun

    def record(self, plan: RerunPlan, kind: str, request: Mapping[str, Any], note: str | None, now: float) -> int:
        rerun = self._insert(plan, kind, request, note, now)
        records = (_record(rerun, job, Pointers(), self._db.paths, None) for job in plan.jobs)
        self._db.change_each(SQL["insert_rerun_job"], records)
        return rerun

    def get(self, rerun: int) -> RerunRecord | None:
        row = self._db.row(SQL["rerun"], rerun=rerun)
        if row is None:
            return None
        paths = self._db.paths
        jobs = tuple(_planned(one, paths) for one in self._db.rows(SQL["planned_jobs"], rerun=rerun))
        return _rerun(row, jobs, paths)

    def listing(self, workflow: int | None, limit: int | None = None, at: int = 0) -> list[tuple[RerunRecord, int]]:
        page = {"limit": NO_LIMIT if limit is None else limit, "offset": at}
        if workflow is None:
            rows = self._db.rows(SQL["reruns"], **page)
        else:
            rows = self._db.rows(SQL["reruns_of_workflow"], workflow=workflow, **page)
        return [(_rerun(row, (), self._db.paths), row[-1]) for row in rows]

    def count(self, workflow: int | None) -> int:
        if workflow is None:
            return int(self._db.value(SQL["count_reruns"]))
        return int(self._db.value(SQL["count_reruns_of_workflow"], workflow=workflow))

    def checks(self, rerun: int) -> dict[int, dict[str, Any]]:
        rows = self._db.rows(SQL["checks"], rerun=rerun)
        return {job: with_checked(from_json(checked), self._db.paths.decode) for job, checked in rows}

    def note_checks(self, checks: Sequence[tuple[int, int, Mapping[str, Any]]]) -> None:
        encode = self._db.paths.encode
        rows = [(_text(with_checked(checked, encode)), job, reserve) for job, reserve, checked in checks]
        self._db.change_each(SQL["note_check"], rows)

    def retries(self, jobs: Sequence[int]) -> dict[int, int]:
        return dict(self._db.rows(SQL["retries"], jobs=as_set(jobs)))

    def retried(self, jobs: Sequence[int]) -> list[tuple[int, int | None, Reason]]:
        rows = self._db.rows(SQL["retried"], jobs=as_set(jobs))
        told = ((job, attempt, from_json(reasons)) for job, attempt, reasons in rows)
        return [
            (job, attempt, Reason(ReasonKind.RETRY, one["detail"]))
            for job, attempt, reasons in told
            for one in reasons
            if one["kind"] == ReasonKind.RETRY
        ]

    def by_itself(self, jobs: Sequence[int]) -> dict[int, str]:
        return dict(self._db.rows(SQL["by_itself"], jobs=as_set(jobs)))

    def newest_manual(self) -> int | None:
        newest: int | None = self._db.value(SQL["newest_manual"])
        return newest

    def saved(self, attempt: int) -> tuple[SavedFile, ...]:
        saved: str | None = self._db.value(SQL["saved"], attempt=attempt)
        return () if saved is None else with_saved(_SAVED(saved), self._db.paths.decode)

    def undo_views(self, rerun: int) -> list[UndoView]:
        decode = self._db.paths.decode
        found = [(row, _POINTERS(row[5])) for row in self._db.rows(SQL["undo_views"], rerun=rerun)]
        rows = [(*row[:5], replace(one, folder=decode(one.folder)), *row[6:]) for row, one in found]
        attempts = as_set(row[5].attempt for row in rows if row[5].attempt is not None)
        states = {number: STATES[state] for number, state in self._db.rows(SQL["attempt_states"], attempts=attempts)}
        later: dict[int, list[int]] = {}
        for job, newer in self._db.rows(SQL["later_reruns"], rerun=rerun):
            later.setdefault(job, []).append(newer)
        return [
            UndoView(
                id=job,
                name=name,
                version=version,
                state=STATES[state],
                attempt=attempt,
                restore=restore,
                restored_state=states.get(restore.attempt),
                archives=tuple(from_json(archives)),
                later_reruns=tuple(later.get(job, ())),
                saved=() if saved is None else with_saved(_SAVED(saved), decode),
            )
            for job, name, version, state, attempt, restore, archives, saved in rows
        ]

    def undo(self, rerun: int, restore: Sequence[tuple[int, int, Pointers, Sequence[int]]], now: float) -> None:
        jobs = as_set(job for job, *_ in restore)
        modified = {row[0]: row[_OVERRIDES] for row in self._db.rows(SQL["pointers"], jobs=jobs)}
        paths = self._db.paths
        rows = [(*_pointer_columns(pointers, paths), job, version) for job, version, pointers, _ in restore]
        if self._db.change_each(SQL["restore_job"], rows) != len(restore):
            raise UndoRefused(f"jobs of rerun {rerun} have moved in this moment", hint="nothing was undone; try again")
        reclassify(self._db, [job for job, _, after, _ in restore if after.overrides != modified.get(job)])
        attempts = [attempt for *_, revived in restore for attempt in revived]
        self._db.change(SQL["revive_attempts"], rerun=rerun, attempts=as_set(attempts))
        touched = self._bring_back(rerun)
        children = {row[0] for row in self._db.rows(SQL["children"], jobs=jobs)}
        derive_afresh(self._db, children | touched | {job for job, *_ in restore})
        self._db.change(SQL["mark_undone"], rerun=rerun, now=now)
        self._tell("undone", rerun, None, jobs, now)

    def accept(
        self, plan: RerunPlan, bases: Mapping[int, Basis], request: Mapping[str, Any], note: str | None, now: float
    ) -> int:
        self._refuse_outdated(plan)
        jobs = as_set(job.id for job in plan.jobs)
        paths = self._db.paths
        pointers = {row[0]: _pointers(row, paths) for row in self._db.rows(SQL["pointers"], jobs=jobs)}
        rerun = self._insert(plan, "accept", request, note, now)
        self._db.change_each(
            SQL["insert_rerun_job"], [_record(rerun, job, pointers[job.id], paths, None) for job in plan.jobs]
        )
        Fingerprints(self._db).accept(rerun, bases)
        self._db.change(SQL["touch"], jobs=jobs)
        self._tell("rerun", rerun, "accept", jobs, now)
        return rerun

    def void(self, rerun: int, now: float) -> None:
        jobs = as_set(row[0] for row in self._db.rows(SQL["planned_jobs"], rerun=rerun))
        self._db.change(SQL["mark_undone"], rerun=rerun, now=now)
        self._db.change(SQL["touch"], jobs=jobs)
        self._tell("undone", rerun, None, jobs, now)

    def _settle(self, planned: Sequence[int]) -> None:
        """What is finished may have been so for others than the plan knew of."""
        if there_are(self._db, planned):
            derive_afresh(self._db, planned)

    def _take_out(self, rerun: int, plan: RerunPlan) -> list[PlannedJob]:
        """Take the plan's sets of actions out of force, and remember what goes; returns the jobs that are retired."""
        if not plan.dynamic:
            return []
        retired = {job for one in plan.dynamic for job in one.retires}
        edges = take_out(self._db, [one.attempt for one in plan.dynamic], sorted(retired))
        self._db.change(SQL["record_dynamic"], rerun=rerun, dynamic=_text({"taken": plan.dynamic, "edges": edges}))
        return [job for job in plan.jobs if job.id in retired]

    def _bring_back(self, rerun: int) -> set[int]:
        """Put the sets that a rerun took out in force again; returns the jobs to derive. UndoRefused where a revision
        has made that impossible since."""
        document = from_json(self._db.value(SQL["dynamic"], rerun=rerun))
        taken = [taken_from_json(one) for one in document.get("taken", ())]
        if not taken:
            return set()
        jobs = [one.job for one in taken]
        added = {job for one in taken for job in one.retires}
        if gone := retired_among(self._db, [job for job in jobs if job not in added]):
            raise UndoRefused(
                f"a revision has left out `{gone[0]}`, whose actions would be in force again",
                hint="submit a revision that has it first",
            )
        edges: list[RemovedEdge] = [(parent, child, by) for parent, child, by in document["edges"]]
        touched = bring_back(self._db, [one.attempt for one in taken], sorted(added), edges)
        every = self._db.rows(SQL["edges_of"], jobs=as_set(jobs))
        at = {job: position for position, job in enumerate({job for edge in every for job in edge})}
        if find_cycle(len(at), [(at[parent], at[child]) for parent, child in every]):
            raise UndoRefused(
                "with the jobs that come back, jobs of a later revision would need each other in a circle",
                hint="submit the earlier revision first",
            )
        return touched

    def _refuse_outdated(self, plan: RerunPlan) -> None:
        wanted = {job.id: job.version for job in plan.jobs} | dict(plan.reads)
        found = {row[0]: row[1:] for row in self._db.rows(SQL["versions"], jobs=as_set(wanted))}
        names = {job.id: job.name for job in plan.jobs}
        moved = [
            found[job][1] if job in found else names.get(job, f"job {job}")
            for job, version in sorted(wanted.items())
            if job not in found or found[job][0] != version
        ]
        if moved:
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
            request=_text(with_request(request, self._db.paths.encode)),
            note=note,
            refused=_text(plan.refused),
            warnings=_text(plan.warnings),
            expected=_text(plan.expected),
            overwrites=_text(plan.overwrites),
            jobs=len(plan.jobs),
        )

    def _tell(self, what: str, rerun: int, kind: str | None, jobs: str, now: float) -> None:
        events = Events(self._db)
        for workflow, n in self._db.rows(SQL["workflows_of_jobs"], jobs=jobs):
            detail = {"rerun": rerun, "jobs": n} | ({} if kind is None else {"kind": kind})
            events.add(now, what, workflow, detail)


def _text(value: Any) -> str:
    return to_json(value).decode()


def _record(
    rerun: int, job: PlannedJob, pointers: Pointers, paths: StoredPaths, saved: Sequence[SavedFile] | None
) -> Row:
    encode = paths.encode
    return (
        rerun,
        job.id,
        job.version,
        int(job.before),
        int(job.after),
        job.unmet,
        job.start,
        job.resume_attempt,
        job.resume_step,
        _text(job.keeps),
        _text(with_reasons(job.reasons, encode)),
        _text(job.archives),
        _text(pointers if pointers.folder is None else replace(pointers, folder=encode(pointers.folder))),
        None if job.manner == PLAIN else _text(with_manner(job.manner, encode)),
        None if saved is None else _text(with_saved(saved, encode)),
        choice_text(job.subtasks),
        job.reserve,
        job.pinned_to,
        int(job.stays),
        job.holds,
        int(job.releases),
    )


def _reset(rerun: int, job: PlannedJob, after: Pointers, paths: StoredPaths, now: float) -> Row:
    kept_by = rerun if after.keep_recovery == 0 else after.keep_recovery
    folder = paths.encode(after.folder)
    recovery = (after.resume_attempt, after.resume_step, after.overrides, kept_by, after.take, folder)
    flags = (after.reserve, after.held, after.not_before)
    rest = (choice_text(after.subtasks), after.pinned_to, after.avoids, after.repeats)
    return (int(job.after), job.unmet, *flags, *recovery, *rest, now, job.id)


def _pointers(row: Row, paths: StoredPaths) -> Pointers:
    attempt, reserve, held, canceled, *rest, folder, subtasks, pinned_to, avoids, repeats = row[3:]
    values = [attempt, reserve, held, canceled != 0, *rest, paths.decode(folder)]
    pointers = Pointers(*values)
    return replace(pointers, subtasks=choice_of(subtasks), pinned_to=pinned_to, avoids=avoids, repeats=repeats)


def _pointer_columns(pointers: Pointers, paths: StoredPaths) -> Row:
    return (
        pointers.attempt,
        pointers.reserve,
        pointers.held,
        int(pointers.canceled),
        pointers.not_before,
        pointers.resume_attempt,
        pointers.resume_step,
        pointers.overrides,
        pointers.keep_recovery,
        pointers.take,
        paths.encode(pointers.folder),
        choice_text(pointers.subtasks),
        pointers.pinned_to,
        pointers.avoids,
        pointers.repeats,
    )


def _planned(row: Row, paths: StoredPaths) -> PlannedJob:
    number, name, version, before, after, start, reasons, archives, keeps, resume_attempt, resume_step, *rest = row
    unmet, manner, subtasks, reserve, pinned_to, stays, holds, releases = rest
    return PlannedJob(
        number,
        name,
        version,
        STATES[before],
        STATES[after],
        start,
        with_reasons(_REASONS(reasons), paths.decode),
        tuple(from_json(archives)),
        tuple(from_json(keeps)),
        resume_attempt,
        resume_step,
        unmet,
        PLAIN if manner is None else with_manner(_MANNER(manner), paths.decode),
        choice_of(subtasks),
        reserve,
        pinned_to,
        stays != 0,
        holds,
        releases != 0,
    )


def _rerun(row: Row, jobs: tuple[PlannedJob, ...], paths: StoredPaths) -> RerunRecord:
    number, kind, at, note, undone, request, digest, refused, warnings, expected, overwrites, dynamic, _ = row
    plan = RerunPlan(
        jobs,
        refused=msgspec.json.decode(refused, type=tuple[RefusedJob, ...]),
        warnings=tuple(from_json(warnings)),
        expected=msgspec.json.decode(expected, type=Expected),
        overwrites=tuple(from_json(overwrites)),
        digest=digest,
        dynamic=tuple(taken_from_json(one) for one in from_json(dynamic).get("taken", ())),
    )
    asked = with_request(from_json(request), paths.decode)
    return RerunRecord(number, kind, at, note, undone, asked, plan)
