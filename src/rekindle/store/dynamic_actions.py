"""Dynamic actions: what the steps of attempts staged, and the action sets in force.

An attempt's set adds jobs and edges and patches existing jobs (parameters, holds, cancellations). A job has at most
one set in force.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.actions import CANCEL, HOLD, SET, ActionEffects, ActionSet, ParameterChange, Patch
from rekindle.journal.encoding import from_json, to_json
from rekindle.store.derived import CountKey, add_counts, derive_states, reclassify
from rekindle.store.predicates import workflow_scope
from rekindle.store.queries import ValueSet, as_set, load
from rekindle.store.revisions import first_version
from rekindle.store.templates import TemplateRows, binding_text, step_names

if TYPE_CHECKING:
    from rekindle.domain.definition import JobNode, JobTemplate
    from rekindle.store.database import Database

SQL = load("dynamic_actions")
SUBMIT_SQL = load("submitting")

_PATCH_KINDS = (SET, HOLD, CANCEL)

StagedAction = tuple[int, str, str]
"""(position of the step, its name, the JSON text of its action)."""

RemovedEdge = tuple[int, int, int | None]
"""(parent, child, the attempt whose set added the edge)."""


class AddedBy(msgspec.Struct, frozen=True):
    """The attempt that added a job."""

    attempt: int
    number: int
    job: int
    name: str  # of the job whose attempt it is


class DynamicActions:
    """The actions that attempts staged, and the action sets in force."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def staged(self, attempts: Iterable[int]) -> dict[int, list[StagedAction]]:
        """Return the actions that completed steps staged, by attempt, in order; kept steps are included."""
        found: dict[int, list[StagedAction]] = {}
        for row in self._db.named_rows(SQL["staged"], attempts=as_set(attempts)):
            found.setdefault(row.attempt, []).append((row.position, row.name, row.action))
        return found

    def in_force(self, jobs: Iterable[int]) -> dict[int, ActionSet]:
        """Return the action sets in force, by the job that brought each."""
        return sets_in_force(self._db, jobs)

    def patches(self, jobs: Sequence[int]) -> dict[int, list[tuple[Patch, int]]]:
        """Return the patches in force on these jobs, in order, each with the attempt that brought it."""
        found: dict[int, list[tuple[Patch, int]]] = {}
        for row in self._db.named_rows(SQL["patches_of_jobs"], jobs=as_set(jobs)):
            found.setdefault(row.job, []).append((_patch(row.job, row.change), row.attempt))
        return found

    def last_patches(self, jobs: Sequence[int], without: int | None) -> dict[int, Patch]:
        """Return the last patch in force on each of these jobs, leaving out those of the attempt `without`."""
        rows = self._db.named_rows(SQL["last_patches"], jobs=as_set(jobs), without=without or 0)
        return {row.job: _patch(row.job, row.change) for row in rows}

    def added_by_job(self, job: int) -> dict[str, int]:
        """Return every job that a job's attempts have added, retired ones included, by name."""
        return dict(self._db.rows(SQL["added_by_job"], job=job))

    def adders(self, jobs: Sequence[int]) -> dict[int, AddedBy]:
        """Return which attempt added each of these jobs. Jobs of the spec are left out."""
        rows = self._db.named_rows(SQL["adders"], jobs=as_set(jobs))
        return {row.added: AddedBy(row.attempt, row.number, row.job, row.name) for row in rows}

    def submitted_names(self, workflow: int) -> Iterator[str]:
        """Yield the names of the jobs of a workflow's latest revision, without those that actions have added, by id."""
        text = self._db.text(SUBMIT_SQL["submitted_jobs"]).replace("{scope}", workflow_scope(self._db, workflow))
        return (row[1] for row in self._db.stream(text, {"workflow": workflow}) if not row[4])

    def names(self, workflow: int) -> list[str]:
        """Return the names of all jobs that actions have added to a workflow, retired ones included."""
        return [row[0] for row in self._db.rows(SQL["dynamic_names"], workflow=workflow)]

    def has_edges(self, workflow: int) -> bool:
        """Return whether an action added any edge of the workflow."""
        return bool(self._db.value(SQL["count_dynamic_edges"], workflow=workflow))

    def descendants(self, jobs: Iterable[int]) -> set[int]:
        """Return all jobs below these."""
        return {row[0] for row in self._db.rows(SQL["descendants"], jobs=as_set(jobs))}

    def unstarted(self, workflow: int) -> list[int]:
        """Return the jobs of a workflow that have not started and are not canceled."""
        return [row[0] for row in self._db.rows(SQL["unstarted"], workflow=workflow)]

    def next_job(self) -> int:
        """Return the first free job id. The transaction may use it and all ids above."""
        return int(self._db.value(SQL["next_job"]))

    def put(
        self,
        workflow: int,
        revision: int,
        attempt: int,
        effects: ActionEffects,
        templates: Sequence[JobTemplate],
        nodes: Mapping[str, JobNode],
    ) -> None:
        """Put an attempt's set in force in place of the sets that end.

        Jobs are added, redefined and retired, edges added (the parents' versions increase), parameters patched, jobs
        held and canceled; then states, unmet counts and counts follow. `nodes` are the set's jobs by name; their
        templates are positions in `templates`.
        """
        touched = {*effects.ids.values(), *effects.retired, *(one.job for one in effects.patches if one.kind != SET)}
        touched |= {child for _, child in effects.edges}
        touched |= self._touched_by_end(effects.ended, effects.retired)
        with _counts_kept(self._db, touched):
            end_sets(self._db, effects.ended, effects.retired)
            self._define(workflow, revision, attempt, effects, templates, nodes)
            reclassify(self._db, effects.redefined, counts=False)  # overrides of a rerun stay in force
            self._db.change_each(SQL["insert_edge"], [(*edge, attempt) for edge in effects.edges])
            self._patch(attempt, effects.patches)
            acts = bool(effects.ids or effects.patches)
            self._db.change(SQL["set_acts"], attempts=as_set([attempt]), acts=int(acts))
            ends = {job for edge in effects.edges for job in edge}
            self._db.change(SQL["bump_versions"], jobs=as_set(sorted(ends | {one.job for one in effects.patches})))
            derive_states(self._db, touched, counts=False)

    def end(self, attempts: Sequence[int], retired: Sequence[int]) -> None:
        """End the sets of attempts and retire jobs; states, unmet counts and counts follow."""
        touched = {*retired, *self._touched_by_end(attempts, retired)}
        with _counts_kept(self._db, touched):
            end_sets(self._db, attempts, retired)
            derive_states(self._db, touched, counts=False)

    def redefine(
        self, workflow: int, revision: int, changed: Mapping[int, tuple[JobTemplate, Mapping[str, Any]]]
    ) -> None:
        """Give jobs that actions added to a workflow other templates and matrix values. Their attempts keep those that
        they ran with; states, unmet counts and counts follow."""
        stored = TemplateRows(self._db, workflow, revision, [template for template, _ in changed.values()])
        before = {row.id: row.template for row in self._db.named_rows(SQL["templates_of"], jobs=as_set(changed))}
        rows = []
        for at, (job, (template, binding)) in enumerate(changed.items()):
            one, steps = stored[at], tuple(step.name for step in template.steps)
            resumes = step_names(self._db, before[job]) == steps
            copied = (one.priority, one.resource_class, one.when_finished)
            rows.append((job, one.id, binding_text(binding), *copied, int(resumes)))
        with _counts_kept(self._db, changed):
            self._db.change(SQL["keep_bindings"], jobs=as_set(changed))
            self._db.change_each(SQL["change_added"], rows)
            reclassify(self._db, list(changed), counts=False)
            derive_states(self._db, set(changed), counts=False)

    def _touched_by_end(self, attempts: Sequence[int], retired: Sequence[int]) -> set[int]:
        """Return the jobs whose needs or flags change when sets end."""
        patched = {row.job for row in self._db.named_rows(SQL["patches_of_attempts"], attempts=as_set(attempts))}
        return patched | {child for _, child, _ in _edges_of_sets(self._db, attempts, retired)}

    def _define(
        self,
        workflow: int,
        revision: int,
        attempt: int,
        effects: ActionEffects,
        templates: Sequence[JobTemplate],
        nodes: Mapping[str, JobNode],
    ) -> None:
        """Insert the jobs that are new, and redefine those that an earlier attempt had added."""
        if not effects.ids:
            return
        stored = TemplateRows(self._db, workflow, revision, templates)
        new, redefined = [], []
        new_ids, version = set(effects.new), first_version(self._db)
        for name, job in effects.ids.items():
            template, binding = stored[nodes[name].template], binding_text(nodes[name].binding)
            rest = (template.priority, template.resource_class, template.when_finished, attempt)
            if job in new_ids:
                new.append((job, workflow, name, version, template.id, binding, *rest))
            else:
                redefined.append((job, template.id, binding, *rest))
        self._db.change_each(SQL["insert_added"], new)
        self._db.change(SQL["keep_bindings"], jobs=as_set(row[0] for row in redefined))
        self._db.change_each(SQL["redefine_added"], redefined)

    def _patch(self, attempt: int, patches: Sequence[Patch]) -> None:
        rows = [(attempt, one.job, to_json({one.kind: one.content}).decode()) for one in patches]
        self._db.change_each(SQL["insert_patch"], rows)
        self._db.change_each(SQL["hold"], [(one.content, one.job) for one in patches if one.kind == HOLD])
        canceled = [one.job for one in patches if one.kind == CANCEL]
        self._db.change(SQL["set_canceled"], jobs=as_set(canceled), canceled=1)


def sets_in_force(database: Database, jobs: Iterable[int]) -> dict[int, ActionSet]:
    """Return the action sets in force, by the job that brought each."""
    attempts: dict[int, int] = dict(database.rows(SQL["attempts_in_force"], jobs=as_set(jobs)))
    if not attempts:
        return {}
    wanted = as_set(attempts)
    added: dict[int, dict[int, str]] = {}
    for row in database.named_rows(SQL["added_jobs"], attempts=wanted):
        added.setdefault(row.added_by, {})[row.id] = row.name
    edges: dict[int, list[tuple[int, int]]] = {}
    for row in database.named_rows(SQL["added_edges"], attempts=wanted):
        edges.setdefault(row.added_by, []).append((row.parent, row.child))
    patches: dict[int, list[Patch]] = {}
    for row in database.named_rows(SQL["patches_of_attempts"], attempts=wanted):
        patches.setdefault(row.attempt, []).append(_patch(row.job, row.change))
    return {
        job: ActionSet(
            attempt, job, added.get(attempt, {}), tuple(edges.get(attempt, ())), tuple(patches.get(attempt, ()))
        )
        for attempt, job in attempts.items()
    }


def parameter_changes(database: Database, jobs: ValueSet) -> dict[int, list[ParameterChange]]:
    """Return the changes in force to the parameters of a set of jobs, in order. Most jobs have none."""
    found: dict[int, list[ParameterChange]] = {}
    for row in database.named_rows(SQL["patches_of_jobs"], jobs=jobs):
        patch = _patch(row.job, row.change)
        if patch.kind == SET:
            found.setdefault(row.job, []).append(patch.content)
    return found


def end_sets(database: Database, attempts: Sequence[int], retired: Sequence[int]) -> list[RemovedEdge]:
    """End the sets of attempts and retire jobs; return the removed edges. The caller derives the states."""
    if not attempts and not retired:
        return []
    edges = _edges_of_sets(database, attempts, retired)
    database.change_each(SQL["delete_edge"], [(parent, child) for parent, child, _ in edges])
    wanted = as_set(attempts)
    rows = database.named_rows(SQL["patches_of_attempts"], attempts=wanted)
    patches = [_patch(row.job, row.change) for row in rows]
    database.change_each(SQL["end_hold"], [(one.content, one.job) for one in patches if one.kind == HOLD])
    canceled = [one.job for one in patches if one.kind == CANCEL]
    database.change(SQL["set_canceled"], jobs=as_set(canceled), canceled=0)
    database.change(SQL["set_retired"], jobs=as_set(retired), retired=1)
    database.change(SQL["set_in_force"], attempts=wanted, in_force=0)
    database.change(SQL["set_acts"], attempts=wanted, acts=0)
    ends = {job for parent, child, _ in edges for job in (parent, child)}
    moved = ends | set(retired) | {one.job for one in patches}
    database.change(SQL["bump_versions"], jobs=as_set(sorted(moved)))
    return edges


def restore_sets(
    database: Database, attempts: Sequence[int], retired: Sequence[int], edges: Sequence[RemovedEdge]
) -> set[int]:
    """Undo `end_sets`, except holds and cancellations, which undo restores as pointers.

    Edges of jobs that a revision has retired since are not restored. Returned jobs are counted as they are; the caller
    derives their states. Return the jobs whose states are to be derived.
    """
    if not attempts and not retired:
        return set()
    counts: Counter[CountKey] = Counter()
    database.change(SQL["set_retired"], jobs=as_set(retired), retired=0)
    counts.update(_count_keys(database, as_set(retired)))
    add_counts(database, counts)
    ends = {job for parent, child, _ in edges for job in (parent, child)}
    gone = {row.id for row in database.named_rows(SQL["retired_among"], jobs=as_set(sorted(ends)))}
    kept = [edge for edge in edges if edge[0] not in gone and edge[1] not in gone]
    database.change_each(SQL["insert_edge"], kept)
    database.change(SQL["set_in_force"], attempts=as_set(attempts), in_force=1)
    database.change(SQL["set_acts"], attempts=as_set(attempts), acts=1)
    database.change(SQL["bump_versions"], jobs=as_set(sorted(ends | set(retired))))
    return set(retired) | {child for _, child, _ in kept}


def retired_among(database: Database, jobs: Iterable[int]) -> list[str]:
    """Return the names of those jobs that are retired."""
    return [row.name for row in database.named_rows(SQL["retired_among"], jobs=as_set(jobs))]


def _edges_of_sets(database: Database, attempts: Sequence[int], retired: Sequence[int]) -> list[RemovedEdge]:
    """Return the edges that are removed when sets end and jobs retire."""
    rows = database.named_rows(SQL["edges_of_sets"], attempts=as_set(attempts), jobs=as_set(retired))
    return [(row.parent, row.child, row.added_by) for row in rows]


@contextmanager
def _counts_kept(database: Database, jobs: Iterable[int]) -> Iterator[None]:
    """Update the counts by how these jobs differ after the block."""
    wanted = as_set(jobs)
    before = Counter[CountKey](_count_keys(database, wanted))
    yield
    after = Counter[CountKey](_count_keys(database, wanted))
    after.subtract(before)
    add_counts(database, after)


def _count_keys(database: Database, jobs: ValueSet) -> Iterator[CountKey]:
    for row in database.named_rows(SQL["count_keys"], jobs=jobs):
        yield row.workflow, row.resource_class, row.state


def _patch(job: int, change: str) -> Patch:
    document: dict[str, Any] = from_json(change)
    kind = next(kind for kind in _PATCH_KINDS if kind in document)
    return Patch(job, kind, document[kind])
