"""Read what the rerun planner needs, and encode and decode the rows of applied plans.

Each row has its encoder and its decoder here. Views take a handful of queries, however many jobs there are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from rekindle.domain.actions import CANCEL, HOLD, ParameterChange, effective_params
from rekindle.domain.errors import RefusedJob
from rekindle.domain.rerun.plan import (
    AttemptView,
    ExpectedCost,
    JobGraph,
    JobView,
    OverrideChange,
    PlannedJob,
    Reason,
    RerunPlan,
    RerunRecord,
    SavedFile,
    StepView,
    rolled_back_from_json,
)
from rekindle.domain.rerun.undo import JobPointers
from rekindle.domain.states import may_have_started
from rekindle.domain.texts.substitution import render_text
from rekindle.journal.encoding import from_json, json_reader, to_json
from rekindle.store.derived import given_up_among
from rekindle.store.dynamic_actions import parameter_changes, sets_in_force
from rekindle.store.paths import with_pointers, with_reasons, with_request, with_saved
from rekindle.store.queries import Row, as_set, load
from rekindle.store.rows import STATES, next_attempt_of, next_attempt_text
from rekindle.store.templates import template_by_id

if TYPE_CHECKING:
    from rekindle.domain.definition import JobTemplate
    from rekindle.store.database import Database
    from rekindle.store.stored_paths import StoredPaths

SQL = load("reruns")

_CHANGES = json_reader(tuple[OverrideChange, ...])
_REASONS = json_reader(tuple[Reason, ...])


def rerun_views(
    database: Database, selected: Sequence[int], alone: Collection[int] = ()
) -> tuple[dict[int, JobView], JobGraph]:
    """Return the selected jobs, the descendants of all but those `alone`, and the parents of these, with the edges
    among them.

    A job that is only a parent has nothing but its name, state and version. Jobs that the actions of these jobs have
    held or canceled are included, wherever they are.
    """
    starts = [job for job in selected if job not in alone]
    below = database.rows(SQL["reached"], jobs=as_set(starts)) if starts else ()
    reached = sorted({*selected, *(job for (job,) in below)})
    acting = sets_in_force(database, reached)
    stopped = {patch.job for one in acting.values() for patch in one.patches if patch.kind in (CANCEL, HOLD)}
    wanted = as_set(sorted({*reached, *stopped}))
    children: dict[int, list[int]] = {}
    parents: dict[int, list[int]] = {}
    for parent, child in database.rows(SQL["edges_into"], jobs=wanted):
        children.setdefault(parent, []).append(child)
        parents.setdefault(child, []).append(parent)
    definitions = _Definitions(database)
    rows = database.named_rows(SQL["full_views"], jobs=wanted)
    steps = _steps(database.rows(SQL["live_steps"], jobs=wanted))
    folders = _folders(database, [(row.attempt, row.attempt_folder, row.builds_on) for row in rows])
    changes = parameter_changes(database, wanted)
    views = {row.id: _view(row, database.paths, definitions, steps, folders, changes.get(row.id, ())) for row in rows}
    outside = sorted(children.keys() - views.keys())
    gave_up = given_up_among(database, outside) if any(view.when_finished for view in views.values()) else ()
    for row in database.named_rows(SQL["parent_views"], jobs=as_set(outside)):
        views[row.id] = JobView(row.id, row.name, STATES[row.state], row.version, given_up=row.id in gave_up)
    views |= {job: replace(views[job], action_set=one) for job, one in acting.items()}
    views |= {job: replace(views[job], added=True) for (job,) in database.rows(SQL["added"], jobs=wanted)}
    return views, JobGraph(children, parents)


def attempt_views(database: Database, attempts: Sequence[int]) -> dict[int, tuple[int, AttemptView]]:
    """Return (job, view) of attempts, live or archived, that a rerun may continue from."""
    wanted = as_set(attempts)
    rows = database.named_rows(SQL["sources"], attempts=wanted)
    steps = _steps(database.rows(SQL["source_steps"], attempts=wanted))
    folders = _folders(database, [(row.id, row.folder, row.builds_on) for row in rows])
    return {
        row.id: (
            row.job,
            AttemptView(row.id, STATES[row.state], row.cause, steps.get(row.id, ()), folders.get(row.id, ())),
        )
        for row in rows
    }


def views_defined_by(
    database: Database, views: Mapping[int, JobView], attempts: Mapping[int, int]
) -> dict[int, JobView]:
    """Return the views of the jobs mapped to attempts, each with the definition of its attempt.

    Resources and `aggregate` stay those of the latest definition. Dynamic actions in force change the parameters of
    the earlier definition too.
    """
    definitions = _Definitions(database)
    changes = parameter_changes(database, as_set(sorted(attempts)))
    wanted = as_set(sorted(attempts.values()))
    rows = {row.id: row for row in database.named_rows(SQL["defined_by"], attempts=wanted)}
    found = {}
    for job, attempt in attempts.items():
        if attempt not in rows:
            continue
        view, row = views[job], rows[attempt]
        names, body = definitions.template(row.template)
        binding = view.binding if row.binding is None else row.binding
        params = definitions.params(row.workflow, row.revision)
        if job in changes:
            params = effective_params(params, changes[job])
        found[job] = replace(
            view,
            steps=names,
            outputs=_outputs(body, job, view.name, binding, params) if body.outputs else (),
            workdir=body.workdir,
            binding=binding,
            params=params,
            env=body.env,
            declared=tuple(body.outputs.values()),
            template=row.template,
        )
    return found


class _Definitions:
    """Templates and parameters, each read once."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._templates: dict[int, tuple[tuple[str, ...], JobTemplate]] = {}
        self._params: dict[tuple[int, int], Mapping[str, Any]] = {}

    def template(self, number: int) -> tuple[tuple[str, ...], JobTemplate]:
        """Return the names of a template's steps, and the template."""
        found = self._templates.get(number)
        if found is None:
            template = template_by_id(self._db, number)
            found = self._templates[number] = (tuple(step.name for step in template.steps), template)
        return found

    def params(self, workflow: int, revision: int) -> Mapping[str, Any]:
        """Return the parameters of a revision."""
        found = self._params.get((workflow, revision))
        if found is None:
            text = self._db.value(SQL["params"], workflow=workflow, revision=revision)
            found = self._params[workflow, revision] = from_json(text)
        return found


def _view(
    row: Any,
    paths: StoredPaths,
    definitions: _Definitions,
    steps: Mapping[int, tuple[StepView, ...]],
    folders: Mapping[int, tuple[str, ...]],
    changes: Sequence[ParameterChange],
) -> JobView:
    """Return the view of a row of `full_views`."""
    names, body = definitions.template(row.template)
    params = definitions.params(row.workflow, row.revision)
    if changes:
        params = effective_params(params, changes)
    attempt = row.attempt
    return JobView(
        row.id,
        row.name,
        STATES[row.state],
        row.version,
        names,
        row.held,
        row.canceled != 0,
        row.retired != 0,
        row.unmet,
        None
        if attempt is None
        else AttemptView(
            attempt,
            STATES[row.attempt_state],
            row.cause,
            steps.get(attempt, ()),
            folders.get(attempt, ()),
            may_have_started(STATES[row.attempt_state], row.cause, row.started),
        ),
        next_attempt_of(row.next_attempt, paths),
        _outputs(body, row.id, row.name, row.binding, params) if body.outputs else (),
        row.archived != 0,
        body.workdir,
        paths.decode(row.directory),
        row.binding,
        body.resources,
        params,
        body.env,
        tuple(body.outputs.values()),
        last=row.last,
        aggregate=body.aggregate,
        when_finished=row.when_finished != 0,
        template=row.template,
        recovered=row.recovered == 1,
        rerun_forbidden=body.rerun_forbidden,
    )


def _folders(database: Database, attempts: Sequence[tuple[int, str | None, int | None]]) -> dict[int, tuple[str, ...]]:
    """Return the folders that may hold what the steps of (attempt, folder, attempt it builds on) left, likeliest first.

    These are the attempt's own folder and, while an attempt has completed no step of its own (its folder may never
    have been filled), the folder of the attempt that it builds on.
    """
    found: dict[int, list[str]] = {attempt: [folder] for attempt, folder, _ in attempts if folder is not None}
    known: dict[int, Any] = {}
    missing = {attempt for attempt, _, builds_on in attempts if builds_on is not None}
    while missing:
        rows = {row.id: row for row in database.named_rows(SQL["builds_on"], attempts=as_set(sorted(missing)))}
        known |= rows
        missing = {row.builds_on for row in rows.values() if row.builds_on is not None and not row.own_steps}
        missing -= known.keys()
    for attempt in found:
        at = known.get(attempt)
        while at is not None and not at.own_steps and at.builds_on in known:
            at = known[at.builds_on]
            found[attempt].append(at.folder)
    decode = database.paths.decode
    return {attempt: tuple(map(decode, dict.fromkeys(folders))) for attempt, folders in found.items()}


def _outputs(template: JobTemplate, number: int, name: str, binding: str, params: Mapping[str, Any]) -> tuple[str, ...]:
    scope = {"params": params, "matrix": from_json(binding), "job": {"name": name, "id": number}}
    return tuple(render_text(path, scope) for path in template.outputs.values())


def _steps(rows: Iterable[Row]) -> dict[int, tuple[StepView, ...]]:
    found: dict[int, list[StepView]] = {}
    for attempt, position, name, state, kept_from in rows:
        found.setdefault(attempt, []).append(StepView(position, name, STATES[state], kept_from))
    return {attempt: tuple(steps) for attempt, steps in found.items()}


def json_text(value: Any) -> str:
    """Return a value as JSON text."""
    return to_json(value).decode()


def planned_job_row(
    rerun: int, job: PlannedJob, pointers: JobPointers, paths: StoredPaths, saved: Sequence[SavedFile] | None
) -> Row:
    """Return the row of `insert_rerun_job`: a planned job, the pointers that undo restores, and saved outputs."""
    encode = paths.encode
    return (
        rerun,
        job.id,
        job.version,
        int(job.before),
        int(job.after),
        job.unmet,
        job.start,
        json_text(job.keeps),
        json_text(with_reasons(job.reasons, encode)),
        json_text(job.archives),
        json_text(with_pointers(pointers, encode)),
        next_attempt_text(job.next, paths),
        json_text(job.changes) if job.changes else None,
        json_text([encode(path) for path in job.saves]) if job.saves else None,
        None if saved is None else json_text(with_saved(saved, encode)),
        int(job.stays),
        job.holds,
        int(job.releases),
    )


def planned_job_of(row: Any, paths: StoredPaths) -> PlannedJob:
    """Return the planned job of a row of `planned_jobs`."""
    return PlannedJob(
        id=row.job,
        name=row.name,
        version=row.version,
        before=STATES[row.before],
        after=STATES[row.after],
        start=row.start,
        reasons=with_reasons(_REASONS(row.reasons), paths.decode),
        archives=tuple(from_json(row.archives)),
        keeps=tuple(from_json(row.keeps)),
        unmet=row.unmet,
        next=next_attempt_of(row.next_attempt, paths),
        changes=() if row.changes is None else _CHANGES(row.changes),
        saves=() if row.saves is None else tuple(map(paths.decode, from_json(row.saves))),
        stays=row.stays != 0,
        holds=row.holds,
        releases=row.releases != 0,
    )


def reset_row(rerun: int, job: PlannedJob, after: JobPointers, paths: StoredPaths, now: float) -> Row:
    """Return the row of `reset_job`: a job after its reset."""
    following = after.next
    if following.keep_recovery == 0:
        following = replace(following, keep_recovery=rerun)
    return (int(job.after), job.unmet, after.held, now, next_attempt_text(following, paths), job.id)


def pointers_row(pointers: JobPointers, paths: StoredPaths) -> Row:
    """Return the pointers in the row of `restore_job`, which ends with the job and its version."""
    return (pointers.attempt, pointers.held, int(pointers.canceled), next_attempt_text(pointers.next, paths))


def pointers_of(row: Any, paths: StoredPaths) -> JobPointers:
    """Return the pointers of a row of `pointers`."""
    return JobPointers(row.attempt, row.held, row.canceled != 0, next_attempt_of(row.next_attempt, paths))


def rerun_of(row: Any, jobs: tuple[PlannedJob, ...], paths: StoredPaths) -> RerunRecord:
    """Return the rerun of a row of `rerun_columns`, with these planned jobs."""
    plan = RerunPlan(
        jobs,
        refused=msgspec.json.decode(row.refused, type=tuple[RefusedJob, ...]),
        warnings=tuple(from_json(row.warnings)),
        expected=msgspec.json.decode(row.expected, type=ExpectedCost),
        overwrites=tuple(from_json(row.overwrites)),
        digest=row.digest,
        dynamic=tuple(rolled_back_from_json(one) for one in from_json(row.dynamic).get("taken", ())),
    )
    request = with_request(from_json(row.request), paths.decode)
    return RerunRecord(row.id, row.kind, row.at, row.note, row.undone, request, plan)
