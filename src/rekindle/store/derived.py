"""Columns that follow from other rows: states, unmet counts, resource classes, and the counts of workflows.

States and unmet counts follow from live attempts and edges. A job with `when: finished` needs others only finished:
a parent that gave up counts as met. Workflows without such jobs pay one lookup in an empty index.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.graph import unreachable_jobs
from rekindle.domain.overrides import decode_overrides
from rekindle.domain.states import derive_state
from rekindle.store.queries import Row, as_set, load
from rekindle.store.rows import STATES
from rekindle.store.templates import class_resources, resource_class_of, template_by_id

if TYPE_CHECKING:
    from rekindle.domain.definition import Resources
    from rekindle.store.database import Database

SQL = load("derived")

CountKey = tuple[int, int, int]
"""Workflow, resource class, state."""

Span = tuple[int, float | None, float | None]
"""A workflow, with the first start and the last end of some of its attempts; None: none has started, or ended."""

_NEVER = (None, None)


def add_counts(database: Database, deltas: Mapping[CountKey, int]) -> None:
    """Add to the job counts of (workflow, resource class, state). In a turn they are added at its end."""
    if not database.is_turn:
        _write_counts(database, deltas)
        return
    counts = database.counts
    for key, n in deltas.items():
        counts[key] = counts.get(key, 0) + n


def extend_spans(database: Database, spans: Iterable[Span]) -> None:
    """Extend the times between the first starts and last ends of workflows. In a turn this is done at its end."""
    found = database.spans
    for workflow, started, ended in spans:
        first, last = found.get(workflow, _NEVER)
        if started is not None and (first is None or started < first):
            first = started
        if ended is not None and (last is None or ended > last):
            last = ended
        found[workflow] = first, last
    if not database.is_turn:
        _write_spans(database)


def spans_of(database: Database, attempts: Iterable[int]) -> list[Span]:
    """Return the workflows of attempts, each with the first start and the last end of these attempts."""
    rows: list[Span] = database.rows(SQL["spans_of"], attempts=as_set(attempts))
    return rows


def write_shared_rows(database: Database) -> None:
    """Write the counts and spans that a turn has collected, in the order of their keys, and collect no more."""
    _write_spans(database)
    _write_counts(database, database.counts)
    database.is_turn = False


def _write_counts(database: Database, deltas: Mapping[CountKey, int]) -> None:
    rows = [(*key[:2], int(key[2]), database.part, n) for key, n in sorted(deltas.items()) if n]
    if rows:
        database.change_each(SQL["add_to_count"], rows)


def _write_spans(database: Database) -> None:
    if database.spans:
        rows = [(workflow, database.part, *span) for workflow, span in sorted(database.spans.items())]
        database.change_each(SQL["extend_span"], rows)
        database.spans.clear()


def derive_states(database: Database, jobs: Collection[int], *, counts: bool = True) -> None:
    """Write the states and unmet counts that follow for `jobs`, and for the jobs with `when: finished` below them.

    `jobs` holds every job whose live attempt, edges or `when` has changed, and the children of jobs whose live attempt
    has. Unless `counts`, the caller updates the counts of `jobs`.
    """
    wanted = as_set(sorted({*jobs, *finish_dependents(database, jobs).jobs}))
    rows = database.named_rows(SQL["underived"], jobs=wanted)
    needs = _lenient_needs(database, {row.id for row in rows if row.when_finished})
    changed = []
    deltas: Counter[CountKey] = Counter()
    uncounted = frozenset[int]() if counts else set(jobs)
    for row in rows:
        attempt, unmet = row.attempt_state, needs.get(row.id, row.needs)
        after = derive_state(None if attempt is None else STATES[attempt], row.canceled != 0, unmet)
        if (after, unmet) == (row.state, row.unmet):
            continue
        changed.append((int(after), unmet, row.id))
        if not row.retired and row.id not in uncounted:
            deltas[row.workflow, row.resource_class, row.state] -= 1
            deltas[row.workflow, row.resource_class, after] += 1
    database.change_each(SQL["set_derived"], changed)
    add_counts(database, deltas)


def _lenient_needs(database: Database, jobs: Collection[int]) -> dict[int, int]:
    """Return the unmet counts of jobs with `when: finished`: parents that gave up count as met."""
    if not jobs:
        return {}
    needs = database.rows(SQL["unmet_needs"], jobs=as_set(sorted(jobs)))
    gave_up = given_up_among(database, {parent for _, parent in needs})
    found = dict.fromkeys(jobs, 0)
    for child, parent in needs:
        found[child] += parent not in gave_up
    return found


class FinishDependents(msgspec.Struct, frozen=True):
    """Jobs that may be affected when other jobs finish or are reset.

    `jobs` have `when: finished`. `between` are unstarted jobs on the way to them, which can no longer run if a job
    above them gave up.
    """

    jobs: frozenset[int] = frozenset()
    between: frozenset[int] = frozenset()


def has_finish_dependents(database: Database, jobs: Collection[int]) -> bool:
    """Return whether the workflows of these jobs have any job with `when: finished`."""
    if not (jobs and database.value(SQL["has_lenient_jobs"])):
        return False
    return bool(database.value(SQL["has_finish_dependents"], jobs=as_set(sorted(jobs))))


def finish_dependents(database: Database, jobs: Collection[int]) -> FinishDependents:
    """Return the jobs that may be affected when these jobs finish or are reset."""
    if not has_finish_dependents(database, jobs):
        return FinishDependents()
    rows = database.named_rows(SQL["below"], jobs=as_set(sorted(jobs)))
    return FinishDependents(
        frozenset(row.id for row in rows if row.when_finished), frozenset(row.id for row in rows if row.idle)
    )


def given_up_among(database: Database, jobs: Collection[int]) -> set[int]:
    """Return which of these jobs have failed, were canceled, or can no longer run; by their live attempts."""
    wanted = as_set(sorted(jobs))
    rows = database.named_rows(SQL["ended_above"], jobs=wanted)
    children: dict[int, list[int]] = {}
    for parent, child in database.rows(SQL["edges_above"], jobs=wanted):
        children.setdefault(parent, []).append(child)
    idle = {row.id for row in rows if row.idle}
    return unreachable_jobs((row.id for row in rows if row.gave_up), idle, children) & set(jobs)


def reclassify(database: Database, jobs: Collection[int], *, counts: bool = True) -> None:
    """Write the resource classes of jobs whose template or overrides have changed, and move their counts. Unless
    `counts`, the caller updates the counts."""
    if not jobs:
        return
    resources: dict[int, Resources] = {}
    classes: dict[tuple[int, str | None], int] = {}
    changed: list[Row] = []
    deltas: Counter[CountKey] = Counter()
    for row in database.named_rows(SQL["class_inputs"], jobs=as_set(jobs)):
        after = classes.get((row.template, row.overrides))
        if after is None:
            if row.template not in resources:
                resources[row.template] = template_by_id(database, row.template).resources
            after = resource_class_of(database, decode_overrides(row.overrides).resources(resources[row.template]))
            classes[row.template, row.overrides] = after
        if after == row.resource_class:
            continue
        changed.append((after, row.id))
        if not row.retired:
            deltas[row.workflow, row.resource_class, row.state] -= 1
            deltas[row.workflow, after, row.state] += 1
    database.change_each(SQL["set_class"], changed)
    if counts:
        add_counts(database, deltas)


def misclassified(database: Database) -> list[tuple[int, str, Resources, Resources]]:
    """Return (job, name, resources of its class, resources that follow from its template and overrides) where the two
    differ."""
    found = []
    for row in database.named_rows(SQL["unusual_classes"]):
        derived = decode_overrides(row.overrides).resources(template_by_id(database, row.template).resources)
        kept = class_resources(database, {row.resource_class})[row.resource_class]
        if derived != kept:
            found.append((row.id, row.name, kept, derived))
    return found
