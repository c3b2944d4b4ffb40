"""What the rerun planner reads: in a handful of queries, however many jobs there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from rekindle.domain.definition import JobTemplate
from rekindle.domain.rerun import AttemptView, Graph, JobView, StepView
from rekindle.domain.substitution import render
from rekindle.store.database import Database, Row
from rekindle.store.queries import as_set, load
from rekindle.store.rowshape import STATES
from rekindle.store.templates import template_by_id

SQL = load("reruns")


def rerun_views(database: Database, selected: Sequence[int]) -> tuple[dict[int, JobView], Graph]:
    """The selected jobs, all their descendants, and every parent of either, with the edges among them. Of a job
    that is only a parent no more is told than its name, state and version."""
    reached = sorted(row[0] for row in database.rows(SQL["reached"], jobs=as_set(selected)))
    wanted = as_set(reached)
    children: dict[int, list[int]] = {}
    parents: dict[int, list[int]] = {}
    for parent, child in database.rows(SQL["edges_into"], jobs=wanted):
        children.setdefault(parent, []).append(child)
        parents.setdefault(child, []).append(parent)
    steps = _steps(database.rows(SQL["live_steps"], jobs=wanted))
    definitions = _Definitions(database)
    views = {row[0]: _view(row, definitions, steps) for row in database.rows(SQL["full_views"], jobs=wanted)}
    outside = as_set(sorted(children.keys() - views.keys()))
    for number, name, state, version in database.rows(SQL["parent_views"], jobs=outside):
        views[number] = JobView(number, name, STATES[state], version)
    return views, Graph(children, parents)


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
            found = self._params[workflow, revision] = msgspec.json.decode(text)
        return found


def _view(row: Row, definitions: _Definitions, steps: Mapping[int, tuple[StepView, ...]]) -> JobView:
    number, name, state, version, template, binding, held, canceled, retired, unmet, *rest = row
    reserve, resume_attempt, resume_step, overrides, not_before, workflow, revision, archived, *live = rest
    attempt, attempt_state, cause, seconds = live
    names, body = definitions.template(template)
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
        else AttemptView(attempt, STATES[attempt_state], cause, seconds, steps.get(attempt, ())),
        reserve,
        resume_attempt,
        resume_step,
        overrides,
        not_before,
        _outputs(body, number, name, binding, definitions.params(workflow, revision)) if body.outputs else (),
        archived != 0,
    )


def _outputs(template: JobTemplate, number: int, name: str, binding: str, params: Mapping[str, Any]) -> tuple[str, ...]:
    scope = {"params": params, "matrix": msgspec.json.decode(binding), "job": {"name": name, "id": number}}
    return tuple(render(path, scope) for path in template.outputs.values())


def _steps(rows: Iterable[Row]) -> dict[int, tuple[StepView, ...]]:
    found: dict[int, list[StepView]] = {}
    for attempt, position, name, state, kept_from in rows:
        found.setdefault(attempt, []).append(StepView(position, name, STATES[state], kept_from))
    return {attempt: tuple(steps) for attempt, steps in found.items()}
