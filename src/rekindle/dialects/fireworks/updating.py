"""Specs that a user changes: the next revision of a workflow, read back from the store with what is to be different."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rekindle.dialects.fireworks.defining import define
from rekindle.dialects.fireworks.flows import Firework, Flow
from rekindle.dialects.fireworks.reading import read_document
from rekindle.dialects.fireworks.spec_changes import modified
from rekindle.dialects.fireworks.standing import Standing, standing
from rekindle.dialects.fireworks.stored import binding_of, flow_of
from rekindle.domain.definition import Definition
from rekindle.domain.errors import BadValue
from rekindle.domain.models import Workflow
from rekindle.domain.texts.nearest import did_you_mean
from rekindle.engine.looking import look
from rekindle.engine.session import Session
from rekindle.engine.submitting.submit import submit

Spec = Mapping[str, Any]
Change = Callable[[Spec], dict[str, Any]]

CHANGEABLE = ("READY", "WAITING", "FIZZLED", "DEFUSED", "PAUSED")
"""States in which a spec may be changed."""


def update_specs(
    session: Session, ids: Sequence[int], change: Change, states: Sequence[str] = CHANGEABLE
) -> dict[int, str]:
    """Change the specs of fireworks, each workflow in one step. Those that are left as they are, and why. SpecError for
    a change after which one is no spec any more: then nothing is changed."""
    refused: dict[int, str] = {}
    chosen: dict[int, list[Standing]] = {}
    for one in standing(session, ids):
        if one.word not in states:
            refused[one.id] = f"Cannot update spec of fw_id: {one.id} with state: {one.word}. Try rerunning first."
        elif one.job.added_by is not None:
            refused[one.id] = "another firework has added it, and makes its spec: change that one, and rerun it"
        else:
            chosen.setdefault(one.job.workflow, []).append(one)
    known = {one.id: one for one in look.workflows(session, archived=True)}
    definitions = {
        number: _changed(session, known[number], {one.id for one in every}, change) for number, every in chosen.items()
    }
    for number, definition in definitions.items():
        submit(session, definition, revision_of=number)
    return refused


def setting(values: Mapping[str, Any]) -> Change:
    """Sets what lies at dotted names: `{"_tasks.1.script": "…"}`."""
    return lambda spec: modified(spec, {"_set": {_path(name): value for name, value in values.items()}})


def operating(document: Mapping[str, Any]) -> Change:
    """What a document of MongoDB's update operators does: `{"$set": {"spec.alpha": 1}}`. BadValue for what is none, and
    for what lies outside the spec."""
    modifications = [
        _operation(word, path, value) for word, every in document.items() for path, value in _entries(word, every)
    ]

    def change(spec: Spec) -> dict[str, Any]:
        now = dict(spec)
        for one in modifications:
            now = modified(now, one)
        return now

    return change


_WORDS = {
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


def _entries(word: str, every: object) -> list[tuple[str, Any]]:
    if word not in _WORDS:
        hint = did_you_mean(word, _WORDS) or """as in '{"$set": {"spec.alpha": 1}}'"""
        raise BadValue(f"there is no update operator {word!r:.60}", hint=hint)
    if not isinstance(every, Mapping):
        raise BadValue(f"{word} takes an object of names, not {every!r:.60}")
    return list(every.items())


def _operation(word: str, path: str, value: Any) -> dict[str, Any]:
    ours = _WORDS[word]
    if word == "$push" and isinstance(value, Mapping) and "$each" in value:
        ours, value = "_push_all", value["$each"]
    return {ours: {_inside(path): _inside(value) if word == "$rename" else value}}


def _inside(path: str) -> str:
    if not isinstance(path, str) or not path.startswith("spec."):
        raise BadValue(f"only the spec can be changed, and {path!r:.60} is none of it", hint="names begin with `spec.`")
    return _path(path.removeprefix("spec."))


def _path(name: str) -> str:
    return name.replace(".", "->")


def _changed(session: Session, workflow: Workflow, ids: set[int], change: Change) -> Definition:
    """The workflow with the specs of these fireworks changed; of all others nothing is different."""
    flow = flow_of(session, workflow)
    fireworks = tuple(_firework(one, change) if one.id in ids else one for one in flow.fireworks)
    kept = [one.id for one in fireworks if one.id not in ids]
    return redefined(session, workflow, dataclasses.replace(flow, fireworks=fireworks), kept)


def redefined(session: Session, workflow: Workflow, flow: Flow, kept: Sequence[int]) -> Definition:
    """What is to be a workflow's next revision; of the fireworks that are `kept` nothing is different."""
    definition = define(flow, workflow.directory)
    stored = {row.job.name: binding_of(row.job) for row in look.jobs(session, kept)}
    jobs = [dataclasses.replace(node, binding=stored.get(node.name, node.binding)) for node in definition.jobs]
    return dataclasses.replace(definition, name=workflow.name, jobs=tuple(jobs))


def _firework(one: Firework, change: Change) -> Firework:
    spec = change(one.spec)
    read_document({"name": one.name, "spec": spec}, f"the changed spec of firework {one.id}")
    return dataclasses.replace(one, spec=spec)
