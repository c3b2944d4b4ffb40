"""Operations on stored FireWorks workflows: add, append, change specs, archive and remove. `lpad` and LaunchPad both
call these. A changed workflow becomes its own next revision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.dialects.fireworks.duplicates import check_dupefinders
from rekindle.dialects.fireworks.flow import UPDATES, Firework, Flow, define_flow, job_template
from rekindle.dialects.fireworks.flow_file import read_flow
from rekindle.dialects.fireworks.fw_documents import action_document
from rekindle.dialects.fireworks.fw_states import STATES
from rekindle.dialects.fireworks.spec_changes import apply_changes, apply_modification
from rekindle.dialects.fireworks.stored_fireworks import (
    StoredFirework,
    fireworks_workflows,
    read_fireworks,
    stored_binding,
    stored_flow,
)
from rekindle.domain.errors import BadValue, NotFound, Refused, UsageError
from rekindle.domain.selection import Selection
from rekindle.domain.states import ACTIVE, State
from rekindle.domain.texts.display import did_you_mean
from rekindle.engine.dynamic_actions import redefine_added
from rekindle.engine.queries import job_queries, selections, workflow_queries
from rekindle.engine.submit.submit import begin_ids_again, delete_workflow, submit

if TYPE_CHECKING:
    from rekindle.domain.definition import Definition, JobTemplate
    from rekindle.domain.models import Job, Workflow
    from rekindle.engine.session import Session

SpecChange = Sequence[Mapping[str, Any]]
"""Modifications of a spec, as in `mod_spec`."""

CHANGEABLE = ("READY", "WAITING", "FIZZLED", "DEFUSED", "PAUSED")
"""States in which a spec may be changed."""

_MAX_LISTED = 20


def add_flow(session: Session, flow: Flow, directory: str) -> dict[int, int]:
    """Store a new workflow. Returns the fw_id of each firework by its number in `flow`.

    `directory`: where functions and Firetasks are imported from, beside installed packages."""
    check_dupefinders(flow, flow.name, directory)
    done = submit(session, define_flow(flow, directory), new=True)
    ids = selections.select(session, Selection(workflow=str(done.workflow)))
    return {one.id: job for one, job in zip(flow.fireworks, ids, strict=True)}


def append_flow(
    session: Session, parents: Sequence[int], flow: Flow, *, detour: bool = False, pull: bool = True
) -> dict[int, int]:
    """Append a workflow to a stored one, as children of the fireworks `parents`.

    With `detour` the present children of the parents also need the new fireworks. With `pull` the new roots get the
    spec changes that the parents made for their children. Returns the new fw_ids by their numbers in `flow`."""
    base, workflow = _appendable_flow(session, parents)
    check_dupefinders(flow, flow.name, workflow.directory)
    first = max(one.id for one in base.fireworks) + 1
    numbers = {one.id: first + place for place, one in enumerate(flow.fireworks)}
    actions = _parent_actions(session, parents) if pull else []
    more = [_renumbered(one, numbers[one.id], actions if one.id in flow.roots else ()) for one in flow.fireworks]
    links = dict(base.links) | {numbers[one]: _new_numbers(numbers, every) for one, every in flow.links.items()}
    for parent in parents:
        links[parent] = tuple(dict.fromkeys((*base.links[parent], *_new_numbers(numbers, sorted(flow.roots)))))
    if detour:
        children = tuple(dict.fromkeys(child for parent in parents for child in base.links[parent]))
        links |= {numbers[leaf]: children for leaf in flow.leaves}
    extended = msgspec.structs.replace(base, fireworks=(*base.fireworks, *more), links=links)
    definition = _redefine(session, workflow, extended, [one.id for one in base.fireworks])
    submit(session, definition, revision_of=workflow.id)
    names = [node.name for node in definition.jobs[len(base.fireworks) :]]
    ids = selections.select(session, Selection(workflow=str(workflow.id), jobs=tuple(names)))
    by_name = {row.job.name: row.job.id for row in job_queries.jobs(session, ids)}
    return {one.id: by_name[name] for one, name in zip(flow.fireworks, names, strict=True)}


def _appendable_flow(session: Session, parents: Sequence[int]) -> tuple[Flow, Workflow]:
    """Return the workflow of the parents, as a Flow and as stored."""
    known = {row.job.id: row.job for row in job_queries.jobs(session, parents)}
    missing = [str(one) for one in parents if one not in known]
    if missing:
        raise NotFound(
            f"Could not find a Workflow with fw_id={', '.join(missing)}: nothing is appended",
            hint="these are the parents",
        )
    if not parents:
        raise UsageError("no parent is named: nothing is appended", hint="name one or more fireworks of a workflow")
    workflows = workflow_queries.owners(session, parents)
    if len(workflows) > 1:
        raise Refused(
            "these fireworks are of several workflows: nothing is appended", hint="name fireworks of one workflow"
        )
    added = [job.id for job in known.values() if job.added_by is not None]
    if added:
        raise Refused(
            f"firework {added[0]} was added by another while it ran, which would add it again without these",
            hint="append to a firework of the workflow's own, or `lpad add` a workflow",
        )
    return stored_flow(session, workflows[0]), workflows[0]


def _parent_actions(session: Session, parents: Sequence[int]) -> list[Mapping[str, Any]]:
    """Return the FWActions of the completed parents, in the order of `parents`."""
    live = {one.job: one for one in job_queries.attempts(session, parents, live=True) if one.state is State.COMPLETED}
    return [action_document(live[one], {}) or {} for one in parents if one in live]


def _renumbered(one: Firework, number: int, actions: Sequence[Mapping[str, Any]]) -> Firework:
    spec = dict(one.spec)
    for action in actions:
        spec = apply_changes(spec, action)
    return msgspec.structs.replace(one, id=number, spec=spec)


def _new_numbers(numbers: Mapping[int, int], every: Sequence[int]) -> tuple[int, ...]:
    return tuple(numbers[one] for one in every)


def update_specs(
    session: Session, ids: Sequence[int], change: SpecChange, states: Sequence[str] = CHANGEABLE
) -> dict[int, str]:
    """Change the specs of the fireworks that are in one of `states`; each workflow gets one new revision. Changes of
    fireworks that another one added are made again where that one adds them again.

    Returns the unchanged fireworks as `{fw_id: reason}`. Raises SpecError, and changes nothing, if a changed spec is
    not valid."""
    refused: dict[int, str] = {}
    chosen: dict[int, list[StoredFirework]] = {}
    added: list[Job] = []
    for one in read_fireworks(session, ids):
        if one.state not in states:
            refused[one.id] = f"Cannot update spec of fw_id: {one.id} with state: {one.state}. Try rerunning first."
        elif one.job.added_by is not None:
            added.append(one.job)
        else:
            chosen.setdefault(one.job.workflow, []).append(one)
    known = {one.id: one for one in workflow_queries.owners(session, ids)}
    definitions = {
        number: _changed_definition(session, known[number], {one.id for one in every}, change)
        for number, every in chosen.items()
    }
    templates = job_queries.templates_of(session, added) if added else {}
    redefined = {job.id: _changed_addition(job, templates[job.id], change) for job in added}
    for number, definition in definitions.items():
        submit(session, definition, revision_of=number)
    if redefined:
        redefine_added(session, redefined)
    return refused


def set_priority(session: Session, ids: Sequence[int], priority: int) -> dict[int, str]:
    """Set `_priority` in the specs of fireworks, whatever their states. Returns the unchanged ones as for
    `update_specs`."""
    return update_specs(session, ids, set_values({"_priority": priority}), STATES)


def set_values(values: Mapping[str, Any]) -> SpecChange:
    """Return a change that sets values at dotted paths: `{"_tasks.1.script": "…"}`."""
    return [{"_set": {_arrow_path(name): value for name, value in values.items()}}]


def mongo_update(document: Mapping[str, Any]) -> SpecChange:
    """Return the change that a MongoDB update makes: `{"$set": {"spec.alpha": 1}}`. Raises BadValue for an unknown
    operator and for a path outside the spec."""
    return [
        _modification(operator, path, value)
        for operator, every in document.items()
        for path, value in _operator_entries(operator, every)
    ]


_MODIFIERS = {
    "$set": "_set",
    "$unset": "_unset",
    "$inc": "_inc",
    "$push": "_push",
    "$pushAll": "_push_all",
    "$addToSet": "_add_to_set",
    "$pull": "_pull",
    "$pullAll": "_pull_all",
    "$pop": "_pop",
    "$rename": "_rename",
}


def _operator_entries(operator: str, every: object) -> list[tuple[str, Any]]:
    if operator not in _MODIFIERS:
        hint = did_you_mean(operator, _MODIFIERS) or """as in '{"$set": {"spec.alpha": 1}}'"""
        raise BadValue(f"there is no update operator {operator!r:.60}", hint=hint)
    if not isinstance(every, Mapping):
        raise BadValue(f"{operator} takes an object of names, not {every!r:.60}")
    return list(every.items())


def _modification(operator: str, path: str, value: Any) -> dict[str, Any]:
    modifier = _MODIFIERS[operator]
    if operator == "$push" and isinstance(value, Mapping) and "$each" in value:
        modifier, value = "_push_all", value["$each"]
    return {modifier: {_spec_path(path): _spec_path(value) if operator == "$rename" else value}}


def _spec_path(path: str) -> str:
    if not isinstance(path, str) or not path.startswith("spec."):
        raise BadValue(f"only the spec can be changed, not {path!r:.60}", hint="names begin with `spec.`")
    return _arrow_path(path.removeprefix("spec."))


def _arrow_path(name: str) -> str:
    return name.replace(".", "->")


def _changed_definition(session: Session, workflow: Workflow, ids: set[int], change: SpecChange) -> Definition:
    """Return the workflow's definition with the specs of these fireworks changed."""
    flow = stored_flow(session, workflow)
    fireworks = tuple(_changed_firework(one, change) if one.id in ids else one for one in flow.fireworks)
    kept = [one.id for one in fireworks if one.id not in ids]
    return _redefine(session, workflow, msgspec.structs.replace(flow, fireworks=fireworks), kept)


def _redefine(session: Session, workflow: Workflow, flow: Flow, kept: Sequence[int]) -> Definition:
    """Return the definition of a workflow's next revision. The fireworks `kept` keep their stored bindings, so that
    the revision does not make them stale."""
    definition = define_flow(flow, workflow.directory)
    stored = {row.job.name: stored_binding(row.job) for row in job_queries.jobs(session, kept)}
    jobs = [msgspec.structs.replace(node, binding=stored.get(node.name, node.binding)) for node in definition.jobs]
    return msgspec.structs.replace(definition, name=workflow.name, jobs=tuple(jobs))


def _changed_firework(one: Firework, change: SpecChange) -> Firework:
    return msgspec.structs.replace(one, spec=_changed_spec(one.spec, change, one.id))


def _changed_spec(spec: Mapping[str, Any], change: SpecChange, fw_id: int) -> Mapping[str, Any]:
    """Return the spec after a change. Raises SpecError if it is not valid."""
    for one in change:
        spec = apply_modification(spec, one)
    read_flow({"spec": spec}, f"the changed spec of firework {fw_id}")
    return spec


def _changed_addition(job: Job, template: JobTemplate, change: SpecChange) -> tuple[JobTemplate, dict[str, Any]]:
    """Return the template and binding of a firework that another one added, with its spec changed."""
    binding = stored_binding(job)
    spec = _changed_spec(binding["spec"], change, job.id)
    now = job_template(spec)
    if [step.name for step in now.steps] != [step.name for step in template.steps]:
        template = msgspec.structs.replace(template, name=now.name, steps=now.steps)
    template = msgspec.structs.replace(template, priority=now.priority, when=now.when)
    return template, {**binding, "spec": spec, UPDATES: [*binding.get(UPDATES, ()), *change]}


def remove_workflows(session: Session) -> bool:
    """Remove all FireWorks workflows with their history. Launch folders stay. Return whether the ids of fireworks and
    launches begin again: not while a runner is at work. Raises Refused, and removes nothing, while any of them
    runs."""
    workflows = fireworks_workflows(session)
    check_none_running(workflows)
    for one in workflows:
        delete_workflow(session, one.id)
    return begin_ids_again(session)


def check_none_running(workflows: list[Workflow]) -> None:
    """Raise Refused if any of these workflows runs."""
    running = [one for one in workflows if any(one.counts.get(state) for state in ACTIVE)]
    if running:
        raise Refused(f"nothing is removed: {workflow_list(running)} run now", hint="wait for them, or cancel them")


def workflow_list(workflows: list[Workflow]) -> str:
    """Return the ids and names of workflows as text, cut after the first 20."""
    listed = ", ".join(f"{one.id} {one.name}" for one in workflows[:_MAX_LISTED])
    return listed + (f" and {len(workflows) - _MAX_LISTED:,} more" if len(workflows) > _MAX_LISTED else "")
