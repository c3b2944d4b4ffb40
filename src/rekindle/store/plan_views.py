"""Read what the rerun planner needs: views of jobs as kinds, edges, attempts, earlier definitions. This takes a handful
of queries, however many jobs there are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from rekindle.domain.actions import CANCEL, HOLD, ParameterChange, effective_params
from rekindle.domain.rerun.views import OWN, AttemptView, JobGraph, JobTable, JobView, StepView, kind_of
from rekindle.domain.states import may_have_started
from rekindle.domain.texts.substitution import render_text
from rekindle.journal.encoding import from_json
from rekindle.store.derived import given_up_among
from rekindle.store.dynamic_actions import parameter_changes, sets_in_force
from rekindle.store.queries import Row, ValueSet, as_set, load
from rekindle.store.rows import STATES, next_attempt_of
from rekindle.store.templates import template_by_id

if TYPE_CHECKING:
    from rekindle.domain.definition import JobTemplate
    from rekindle.store.database import Database

SQL = load("reruns")


class PlanViews:
    """What planning a rerun reads."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def of(self, selected: Sequence[int], alone: Collection[int] = ()) -> tuple[JobTable, JobGraph]:
        """Return the selected jobs, the descendants of all but those `alone`, and the parents of these, with the edges
        among them.

        A job that is only a parent has nothing but its name, state and version. The steps and folders of attempts are
        read of selected jobs. Jobs that the actions of these jobs have held or canceled are included, wherever they
        are.
        """
        database = self._db
        starts = [job for job in selected if job not in alone]
        below = database.rows(SQL["reached"], jobs=as_set(starts)) if starts else ()
        reached = sorted({*selected, *(job for (job,) in below)})
        acting = sets_in_force(database, reached)
        stopped = {patch.job for one in acting.values() for patch in one.patches if patch.kind in (CANCEL, HOLD)}
        wanted = as_set(sorted({*reached, *stopped}))
        children: dict[int, list[int]] = {}
        edges = database.batches(database.text(SQL["edges_into"]), {"jobs": wanted})
        for parent, child in chain.from_iterable(edges):
            if parent in children:
                children[parent].append(child)
            else:
                children[parent] = [child]
        views = _read_kinds(database, wanted, selected)
        outside = sorted(children.keys() - views.keys())
        lenient = views.any(lambda view: view.when_finished)
        gave_up = given_up_among(database, outside) if outside and lenient else ()
        kinds: dict[tuple[int, bool, int], int] = {}
        for job, name, state, version, undecided in database.rows(SQL["parent_views"], jobs=as_set(outside)):
            key = state, job in gave_up, undecided
            if key not in kinds:
                kinds[key] = len(views.kinds)
                parent = JobView(job, name, STATES[state], version, given_up=key[1], undecided=undecided != 0)
                views.kinds.append(kind_of(parent))
            views.rows[job] = kinds[key], name, version, OWN, 0, "{}"
        views = views.with_views({job: replace(views[job], action_set=one) for job, one in acting.items()})
        return views, JobGraph(children)

    def sources(self, attempts: Sequence[int]) -> dict[int, tuple[int, AttemptView]]:
        """Return (job, view) of attempts, live or archived, that a rerun may continue from."""
        database = self._db
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

    def defined_by(self, views: Mapping[int, JobView], attempts: Mapping[int, int]) -> dict[int, JobView]:
        """Return the views of the jobs mapped to attempts, each with the definition of its attempt.

        Resources and `aggregate` stay those of the latest definition. Dynamic actions in force change the parameters of
        the earlier definition too.
        """
        database = self._db
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


_COMMON, _NEXT = 6, 8
"""In a row of `full_views`: the first column that decides the kind of a job, and that of its next attempt."""


def _read_kinds(database: Database, wanted: ValueSet, selected: Sequence[int]) -> JobTable:
    """Return the views of jobs as kinds: jobs with equal columns are alike, unless dynamic actions have changed their
    parameters. Of selected jobs also the steps and folders of their live attempts are equal."""
    definitions, changes = _Definitions(database), parameter_changes(database, wanted)
    chosen = as_set(selected)
    steps = _steps(database.rows(SQL["live_steps"], jobs=chosen))
    folders = _folders(
        database,
        [
            (row.id, row.folder, row.builds_on)
            for row in database.named_rows(SQL["live_folders"], jobs=chosen)
            if row.ran_as != row.template or definitions.template(row.template)[1].workdir == "attempt"
        ],
    )
    table, kinds, looked_at = JobTable([], {}), dict[object, int](), set(selected)
    for row in chain.from_iterable(database.batches(database.text(SQL["full_views"]), {"jobs": wanted})):
        job, name, version, unmet, binding, own = row[:_COMMON]
        key: tuple[object, ...] = row[_COMMON:]
        if row[_NEXT] is not None:
            following = next_attempt_of(row[_NEXT], database.paths)
            key = (*key, following if own is None else following.with_attempt(own, OWN))
            key = (*key[: _NEXT - _COMMON], *key[_NEXT - _COMMON + 1 :])
        if job in looked_at:
            key = (*key, steps.get(own, ()), folders.get(own, ()))
        if job in changes:
            key = (*key, job)
        number = kinds.get(key)
        if number is None:
            number = kinds[key] = len(table.kinds)
            table.kinds.append(kind_of(_view(row, definitions, steps, folders, changes.get(job, ()))))
        table.rows[job] = number, name, version, OWN if own is None else own, unmet, binding
    return table


def _view(
    row: Row,
    definitions: _Definitions,
    steps: Mapping[int, tuple[StepView, ...]],
    folders: Mapping[int, tuple[str, ...]],
    changes: Sequence[ParameterChange],
) -> JobView:
    """Return the view of a row of `full_views`, without outputs: these follow from what it declares."""
    job, name, version, unmet, binding, own, number, state, following, held, in_workflow, flags, *rest = row
    ran, cause, started, recovered, undecided = rest
    workflow, (names, body) = definitions.workflow(in_workflow), definitions.template(number)
    params = definitions.params(workflow.id, workflow.revision)
    live = own if ran is not None else None
    return JobView(
        id=job,
        name=name,
        state=STATES[state],
        version=version,
        steps=names,
        held=held,
        canceled=bool(flags & 1),
        retired=bool(flags & 2),
        unmet=unmet,
        attempt=None
        if live is None
        else AttemptView(
            live,
            STATES[ran],
            cause,
            steps.get(live, ()),
            folders.get(live, ()),
            may_have_started(STATES[ran], cause, started or None),
        ),
        next=next_attempt_of(following, definitions.paths),
        archived_workflow=workflow.archived != 0,
        workdir=body.workdir,
        directory=definitions.paths.decode(workflow.directory),
        binding=binding,
        resources=body.resources,
        params=effective_params(params, changes) if changes else params,
        env=body.env,
        declared=tuple(body.outputs.values()),
        added=bool(flags & 8),
        last=None if live is not None else own,
        aggregate=body.aggregate,
        when_finished=bool(flags & 4),
        template=number,
        recovered=recovered == "recovery",
        definition=body.definition,
        rerun_forbidden=body.rerun_forbidden,
        undecided=undecided != 0,
    )


class _Definitions:
    """Workflows, templates and parameters, each read once."""

    def __init__(self, database: Database) -> None:
        self._db, self.paths = database, database.paths
        self._templates: dict[int, tuple[tuple[str, ...], JobTemplate]] = {}
        self._params: dict[tuple[int, int], Mapping[str, Any]] = {}
        self._workflows: dict[int, Any] = {}

    def workflow(self, number: int) -> Any:
        """Return a row of `workflow_views`."""
        if number not in self._workflows:
            self._workflows[number] = self._db.named_row(SQL["workflow_views"], workflow=number)
        return self._workflows[number]

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
