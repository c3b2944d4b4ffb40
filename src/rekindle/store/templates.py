"""Rows of templates and resource classes. A matrix is one template and many bindings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.definition import JobTemplate, Resources
from rekindle.journal.encoding import json_reader, to_json
from rekindle.store.queries import Row, as_set, load
from rekindle.store.rows import licences_text, resources_of

if TYPE_CHECKING:
    from rekindle.store.database import Database

SQL = load("templates")

_SORTED = msgspec.json.Encoder(order="deterministic")
_DECODER = json_reader(JobTemplate)


class StoredTemplate(msgspec.Struct, frozen=True):
    """A template's row id, and the columns that its jobs copy."""

    id: int
    resource_class: int
    priority: int
    when_finished: bool


class TemplateRows:
    """The rows of a definition's templates, by position. A template whose body the workflow has already keeps its row;
    the others are inserted."""

    def __init__(self, database: Database, workflow: int, revision: int, templates: Sequence[JobTemplate]) -> None:
        self._db = database
        self._classes: dict[Resources, int] = {}
        known = {body: number for number, body in database.rows(SQL["template_bodies"], workflow=workflow)}
        following = int(database.value(SQL["highest_template"])) + 1
        self._stored: list[StoredTemplate] = []
        new: list[Row] = []
        for template in templates:
            body = encode_template(template)
            number = known.get(body)
            resource_class = self._class_of(template.resources)
            if number is None:
                number = known[body] = following + len(new)
                new.append((number, workflow, revision, template.name, body, resource_class))
            self._stored.append(StoredTemplate(number, resource_class, template.priority, template.when == "finished"))
        database.change_each(SQL["insert_template"], new)

    def __getitem__(self, position: int) -> StoredTemplate:
        return self._stored[position]

    def _class_of(self, resources: Resources) -> int:
        found = self._classes.get(resources)
        if found is None:
            found = self._classes[resources] = resource_class_of(self._db, resources)
        return found


def resource_class_of(database: Database, resources: Resources) -> int:
    """Return the id of the class with exactly these resources; insert the class if there is none."""
    columns = {
        "cpus": resources.cpus,
        "memory": resources.memory,
        "gpus": resources.gpus,
        "time": resources.time or 0.0,
        "licences": licences_text(resources),
    }
    found: int | None = database.value(SQL["find_resource_class"], **columns)
    return database.insert(SQL["insert_resource_class"], **columns) if found is None else found


def class_resources(database: Database, classes: set[int]) -> dict[int, Resources]:
    """Return the resources of resource classes, by class. Each class is read once."""
    known = database.cache.resources
    missing = classes - known.keys()
    if missing:
        for row in database.named_rows(SQL["resources"], classes=as_set(missing)):
            known[row.id] = resources_of(row)
    return {number: known[number] for number in classes}


def template_by_id(database: Database, template: int) -> JobTemplate:
    """Return a template."""
    return decode_template(database.value(SQL["template_body"], id=template))


def step_names(database: Database, template: int) -> tuple[str, ...]:
    """Return the names of a template's steps, in order."""
    return tuple(step.name for step in template_by_id(database, template).steps)


def encode_template(template: JobTemplate) -> str:
    """Return a template as text; equal templates have equal texts."""
    return _SORTED.encode(template).decode()


def decode_template(body: str) -> JobTemplate:
    """Return the template that `encode_template` encoded."""
    template: JobTemplate = _DECODER(body)
    return template


def binding_text(binding: Mapping[str, Any]) -> str:
    """Return matrix values as text, in the order of the matrix."""
    return to_json(binding).decode() if binding else "{}"
