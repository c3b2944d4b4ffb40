"""Revisions as they were: of each but the first the store keeps how jobs and edges were before it.

A revision costs as much room as it changed. The latest is what the jobs and edges are now; an earlier one follows from
going back from there. A job that a revision leaves out keeps its row.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection
from typing import Any

import msgspec

from rekindle.domain.changes.revisions import Outline
from rekindle.domain.definition import JobTemplate
from rekindle.domain.models import Revision
from rekindle.domain.states import State
from rekindle.journal.encoding import to_json
from rekindle.store.database import Database
from rekindle.store.queries import as_set, load
from rekindle.store.rowshape import STATES
from rekindle.store.templates import decode_template

SQL = load("revisions")

Edge = tuple[int, int]
"""(parent, child): jobs."""


class Back(msgspec.Struct, array_like=True):
    """What takes a revision back to the one before it: the jobs it added and left out, (job, template, binding) as
    those had it that it redefined, and the edges that it brought and took away."""

    added: list[int]
    retired: list[int]
    redefined: list[tuple[int, int, str]]
    gained: list[Edge]
    lost: list[Edge]


_BACK = msgspec.json.Decoder(Back)


def remember(database: Database, workflow: int, revision: int, back: Back) -> None:
    """Keep how it was before a revision."""
    earlier = zlib.compress(to_json(back), 1)
    database.change(SQL["set_earlier"], workflow=workflow, number=revision, earlier=earlier)


def outline_of(database: Database, workflow: int, revision: int) -> Outline:
    """See rekindle.store.port.Workflows.outline."""
    names: dict[int, str] = {}
    defined: dict[int, tuple[int, str]] = {}
    present: set[int] = set()
    for job, name, template, binding, retired in database.rows(SQL["jobs"], workflow=workflow):
        names[job], defined[job] = name, (template, binding)
        if not retired:
            present.add(job)
    edges: set[Edge] = set(database.rows(SQL["edges"], workflow=workflow))
    for _, earlier in database.rows(SQL["earlier"], workflow=workflow, number=revision):
        back = _BACK.decode(zlib.decompress(earlier))
        present = (present - set(back.added)) | set(back.retired)
        defined |= {job: (template, binding) for job, template, binding in back.redefined}
        edges = (edges - set(back.gained)) | set(back.lost)
    jobs = {names[job]: defined[job] for job in sorted(present)}
    return Outline(
        params=_params(database, workflow, revision),
        templates=_templates(database, {template for template, _ in jobs.values()}),
        jobs=jobs,
        edges={(names[parent], names[child]) for parent, child in edges},
    )


def _params(database: Database, workflow: int, revision: int) -> dict[str, Any]:
    text = database.value(SQL["params"], workflow=workflow, revision=revision)
    return msgspec.json.decode(text, type=dict[str, Any])


def _templates(database: Database, wanted: Collection[int]) -> dict[int, JobTemplate]:
    rows = database.rows(SQL["template_bodies"], templates=as_set(sorted(wanted)))
    return {number: decode_template(body) for number, body in rows}


def listing(database: Database, workflow: int) -> list[Revision]:
    """The revisions of a workflow, oldest first."""
    return [Revision(*row) for row in database.rows(SQL["revisions"], workflow=workflow)]


def standing(database: Database, jobs: Collection[int]) -> dict[int, tuple[str, State, int]]:
    """(name, state, how much of what it needs is not done) of jobs."""
    rows = database.rows(SQL["standing"], jobs=as_set(jobs))
    return {job: (name, STATES[state], unmet) for job, name, state, unmet in rows}
