"""Resource classes: what a job's attempts take, which follows from its template and from what a rerun has modified."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from rekindle.domain.definition import Resources
from rekindle.domain.overrides import modified_of
from rekindle.store.counts import CountKey, add_counts
from rekindle.store.database import Database, Row
from rekindle.store.jobs import known_resources
from rekindle.store.queries import as_set, load
from rekindle.store.templates import class_of, template_by_id

SQL = load("classes")


def reclassify(database: Database, jobs: Collection[int], *, counts: bool = True) -> None:
    """Give these jobs, whose template or whose modifications have changed, the class that follows, and move their
    counts with them. With `counts` false the caller counts afresh."""
    if not jobs:
        return
    bodies: dict[int, Resources] = {}
    wanted: dict[tuple[int, str | None], int] = {}
    changed: list[Row] = []
    deltas: Counter[CountKey] = Counter()
    for job, workflow, before, state, retired, template, overrides in database.rows(SQL["classed"], jobs=as_set(jobs)):
        after = wanted.get((template, overrides))
        if after is None:
            if template not in bodies:
                bodies[template] = template_by_id(database, template).resources
            after = class_of(database, modified_of(overrides).resources(bodies[template]))
            wanted[template, overrides] = after
        if after == before:
            continue
        changed.append((after, job))
        if not retired:
            deltas[workflow, before, state] -= 1
            deltas[workflow, after, state] += 1
    database.change_each(SQL["set_class"], changed)
    if counts:
        add_counts(database, deltas)


def misclassified(database: Database) -> list[tuple[int, str, Resources, Resources]]:
    """(job, name, what its class takes, what follows from its template and modifications) where they differ."""
    found = []
    for job, name, number, template, overrides in database.rows(SQL["doubtful"]):
        derived = modified_of(overrides).resources(template_by_id(database, template).resources)
        kept = known_resources(database, {number})[number]
        if derived != kept:
            found.append((job, name, kept, derived))
    return found
