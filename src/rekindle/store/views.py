"""What the rerun planner reads: in a handful of queries, however many jobs there are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rekindle.domain.acting import CANCEL, HOLD
from rekindle.domain.actions import Change, effective
from rekindle.domain.definition import JobTemplate
from rekindle.domain.rerunning.rerun import AttemptView, Graph, JobView, StepView
from rekindle.domain.texts.substitution import render
from rekindle.journal.encoding import from_json
from rekindle.store.acts import changes_of, sets_in_force
from rekindle.store.database import Database, Row
from rekindle.store.finishing import given_up_among
from rekindle.store.paths import StoredPaths
from rekindle.store.queries import as_set, load
from rekindle.store.rowshape import STATES, choice_of
from rekindle.store.templates import template_by_id

SQL = load("reruns")


def rerun_views(
    database: Database, selected: Sequence[int], alone: Collection[int] = ()
) -> tuple[dict[int, JobView], Graph]:
    """The selected jobs, the descendants of all but those `alone`, and every parent of these, with the edges among
    them. Of a job that is only a parent no more is told than its name, state and version. What the actions of these
    jobs have held or canceled is there too, wherever it stands."""
    starts = [job for job in selected if job not in alone]
    below = database.rows(SQL["reached"], jobs=as_set(starts)) if starts else ()
    reached = sorted({*selected, *(row[0] for row in below)})
    acting = sets_in_force(database, reached)
    stopped = {patch.job for one in acting.values() for patch in one.patches if patch.kind in (CANCEL, HOLD)}
    wanted = as_set(sorted({*reached, *stopped}))
    children: dict[int, list[int]] = {}
    parents: dict[int, list[int]] = {}
    for parent, child in database.rows(SQL["edges_into"], jobs=wanted):
        children.setdefault(parent, []).append(child)
        parents.setdefault(child, []).append(parent)
    definitions = _Definitions(database)
    rows = database.rows(SQL["full_views"], jobs=wanted)
    steps = _steps(database.rows(SQL["live_steps"], jobs=wanted))
    folders = _folders(database, [(row[_ATTEMPT], row[_FOLDER], row[_BUILDS_ON]) for row in rows])
    changes = changes_of(database, wanted)
    rows = [_placed(row, database.paths) for row in rows]
    views = {row[0]: _view(row, definitions, steps, folders, changes.get(row[0], ())) for row in rows}
    outside = sorted(children.keys() - views.keys())
    hopeless = given_up_among(database, outside) if any(view.when_finished for view in views.values()) else ()
    for number, name, state, version in database.rows(SQL["parent_views"], jobs=as_set(outside)):
        views[number] = JobView(number, name, STATES[state], version, given_up=number in hopeless)
    views |= {job: replace(views[job], acting=one) for job, one in acting.items()}
    views |= {row[0]: replace(views[row[0]], added=True) for row in database.rows(SQL["added"], jobs=wanted)}
    return views, Graph(children, parents)


def attempt_views(database: Database, attempts: Sequence[int]) -> dict[int, tuple[int, AttemptView]]:
    """Attempts as a rerun may go on from them, each with its job."""
    wanted = as_set(attempts)
    rows = database.rows(SQL["sources"], attempts=wanted)
    steps = _steps(database.rows(SQL["source_steps"], attempts=wanted))
    folders = _folders(database, [(number, folder, builds_on) for number, _, _, _, folder, builds_on in rows])
    return {
        number: (job, AttemptView(number, STATES[state], cause, steps.get(number, ()), folders.get(number, ())))
        for number, job, state, cause, _, _ in rows
    }


class _Definitions:
    """Templates and parameters, each read once."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._templates: dict[int, tuple[tuple[str, ...], JobTemplate]] = {}
        self._params: dict[tuple[int, int], Mapping[str, Any]] = {}

    def template(self, number: int) -> tuple[tuple[str, ...], JobTemplate]:
        """A template, and the names of its steps."""
        found = self._templates.get(number)
        if found is None:
            template = template_by_id(self._db, number)
            found = self._templates[number] = (tuple(step.name for step in template.steps), template)
        return found

    def params(self, workflow: int, revision: int) -> Mapping[str, Any]:
        """The parameters of a revision."""
        found = self._params.get((workflow, revision))
        if found is None:
            text = self._db.value(SQL["params"], workflow=workflow, revision=revision)
            found = self._params[workflow, revision] = from_json(text)
        return found


def _view(
    row: Row,
    definitions: _Definitions,
    steps: Mapping[int, tuple[StepView, ...]],
    folders: Mapping[int, tuple[str, ...]],
    changes: Sequence[Change],
) -> JobView:
    number, name, state, version, template, binding, held, canceled, retired, unmet, *rest = row
    reserve, resume_attempt, resume_step, overrides, not_before, workflow, revision, archived, *live = rest
    attempt, attempt_state, cause, keep_recovery, take, take_folder, directory, *_ = live
    repeats, avoids, subtasks, pinned_to, last, when_finished, recovered = live[-7:]
    names, body = definitions.template(template)
    params = definitions.params(workflow, revision)
    if changes:
        params = effective(params, changes)
    return JobView(
        number,
        name,
        STATES[state],
        version,
        names,
        held,
        canceled != 0,
        retired != 0,
        unmet,
        None
        if attempt is None
        else AttemptView(attempt, STATES[attempt_state], cause, steps.get(attempt, ()), folders.get(attempt, ())),
        reserve,
        resume_attempt,
        resume_step,
        overrides,
        not_before,
        _outputs(body, number, name, binding, params) if body.outputs else (),
        archived != 0,
        keep_recovery,
        body.workdir,
        take,
        take_folder,
        directory,
        binding,
        body.resources,
        params,
        body.env,
        tuple(body.outputs.values()),
        subtasks=choice_of(subtasks),
        pinned_to=pinned_to,
        last=last,
        aggregate=body.aggregate,
        when_finished=when_finished != 0,
        template=template,
        avoids=avoids,
        repeats=repeats,
        recovered=recovered == 1,
    )


def _placed(row: Row, paths: StoredPaths) -> Row:
    """A row of `full_views` with the folder that its next attempt takes over and its project's folder decoded."""
    return (*row[:_TAKE_FOLDER], paths.decode(row[_TAKE_FOLDER]), paths.decode(row[_DIRECTORY]), *row[_FOLDER:])


def as_defined_by(database: Database, views: Mapping[int, JobView], attempts: Mapping[int, int]) -> dict[int, JobView]:
    """The views of these jobs, each with the definition that the attempt had which it is mapped to. What it takes
    (resources) and whether it is an aggregate are as in its latest definition; what actions in force have changed of
    its parameters is changed of those too."""
    definitions = _Definitions(database)
    changes = changes_of(database, as_set(sorted(attempts)))
    rows = {row[0]: row[1:] for row in database.rows(SQL["defined_by"], attempts=as_set(sorted(attempts.values())))}
    found = {}
    for job, attempt in attempts.items():
        if attempt not in rows:
            continue
        view, (workflow, template, revision, binding) = views[job], rows[attempt]
        names, body = definitions.template(template)
        values = view.binding if binding is None else binding
        params = definitions.params(workflow, revision)
        if job in changes:
            params = effective(params, changes[job])
        found[job] = replace(
            view,
            steps=names,
            outputs=_outputs(body, job, view.name, values, params) if body.outputs else (),
            workdir=body.workdir,
            binding=values,
            params=params,
            env=body.env,
            declared=tuple(body.outputs.values()),
            template=template,
        )
    return found


def _folders(database: Database, attempts: Sequence[tuple[int, str | None, int | None]]) -> dict[int, tuple[str, ...]]:
    """For each of these attempts, told with its folder and the attempt it builds on, the folders in which what its
    steps left may be, likeliest first: its own, and as long as it has completed no step of its own (its folder may
    never have been filled) that of the attempt it builds on."""
    found: dict[int, list[str]] = {attempt: [folder] for attempt, folder, _ in attempts if folder is not None}
    known: dict[int, Row] = {}
    asked = {attempt for attempt, _, builds_on in attempts if builds_on is not None}
    while asked:
        news = {row[0]: row for row in database.rows(SQL["builds_on"], attempts=as_set(sorted(asked)))}
        known |= news
        asked = {row[2] for row in news.values() if row[2] is not None and not row[3]} - known.keys()
    for attempt in found:
        at = known.get(attempt)
        while at is not None and not at[3] and at[2] in known:
            at = known[at[2]]
            found[attempt].append(at[1])
    decode = database.paths.decode
    return {attempt: tuple(map(decode, dict.fromkeys(folders))) for attempt, folders in found.items()}


_ATTEMPT, _TAKE_FOLDER, _DIRECTORY, _FOLDER, _BUILDS_ON = 18, 23, 24, 25, 26
"""Columns of `full_views`."""


def _outputs(template: JobTemplate, number: int, name: str, binding: str, params: Mapping[str, Any]) -> tuple[str, ...]:
    scope = {"params": params, "matrix": from_json(binding), "job": {"name": name, "id": number}}
    return tuple(render(path, scope) for path in template.outputs.values())


def _steps(rows: Iterable[Row]) -> dict[int, tuple[StepView, ...]]:
    found: dict[int, list[StepView]] = {}
    for attempt, position, name, state, kept_from in rows:
        found.setdefault(attempt, []).append(StepView(position, name, STATES[state], kept_from))
    return {attempt: tuple(steps) for attempt, steps in found.items()}
