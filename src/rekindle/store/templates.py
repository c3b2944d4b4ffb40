"""Templates and bindings as text: a matrix is one template and many bindings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from rekindle.domain.definition import JobTemplate, Resources
from rekindle.journal.encoding import json_reader, to_json
from rekindle.store.database import Database, Row
from rekindle.store.queries import load

SQL = load("templates")

_SORTED = msgspec.json.Encoder(order="deterministic")
_DECODER = json_reader(JobTemplate)


@dataclass(frozen=True, slots=True)
class StoredTemplate:
    """A template's row, and what its jobs take from it."""

    id: int
    resource_class: int
    priority: int
    when_finished: bool


class Templates:
    """The rows of a definition's templates, by position; those whose body the workflow has already keep theirs."""

    def __init__(self, database: Database, workflow: int, revision: int, templates: Sequence[JobTemplate]) -> None:
        self._db = database
        self._classes: dict[Resources, int] = {}
        known = {body: number for number, body in database.rows(SQL["template_bodies"], workflow=workflow)}
        following = int(database.value(SQL["highest_template"])) + 1
        self._stored: list[StoredTemplate] = []
        fresh: list[Row] = []
        for template in templates:
            body = encode_template(template)
            number = known.get(body)
            resource_class = self._class_of(template.resources)
            if number is None:
                number = known[body] = following + len(fresh)
                fresh.append((number, workflow, revision, template.name, body, resource_class))
            self._stored.append(StoredTemplate(number, resource_class, template.priority, template.when == "finished"))
        database.change_each(SQL["insert_template"], fresh)

    def __getitem__(self, position: int) -> StoredTemplate:
        return self._stored[position]

    def _class_of(self, resources: Resources) -> int:
        found = self._classes.get(resources)
        if found is None:
            found = class_of(self._db, resources)
            self._classes[resources] = found
        return found


def class_of(database: Database, resources: Resources) -> int:
    """The class that takes exactly these resources, made when there is none."""
    taken = {
        "cpus": resources.cpus,
        "memory": resources.memory,
        "gpus": resources.gpus,
        "time": resources.time or 0.0,
        "licences": to_json(resources.licences).decode(),
    }
    found: int | None = database.value(SQL["find_resource_class"], **taken)
    return database.insert(SQL["insert_resource_class"], **taken) if found is None else found


def template_by_id(database: Database, template: int) -> JobTemplate:
    """A template by its id."""
    return decode_template(database.value(SQL["template_body"], id=template))


def step_names(database: Database, template: int) -> tuple[str, ...]:
    """The names of a template's steps, in order."""
    return tuple(step.name for step in template_by_id(database, template).steps)


def encode_template(template: JobTemplate) -> str:
    """A template as text; equal templates have equal texts."""
    return _SORTED.encode(template).decode()


def decode_template(body: str) -> JobTemplate:
    """The template that `encode_template` wrote."""
    template: JobTemplate = _DECODER(body)
    return template


def binding_text(binding: Mapping[str, Any]) -> str:
    """Matrix values as text, in the order of the matrix."""
    return to_json(binding).decode() if binding else "{}"
