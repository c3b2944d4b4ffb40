"""Dynamic actions in the archive: what was staged, the sets in force, and putting sets in and out of force."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rekindle.domain.acting import CANCEL, HOLD, SET, ActingSet, Effects, Patch
from rekindle.domain.actions import Change
from rekindle.domain.definition import JobNode, JobTemplate
from rekindle.journal.encoding import from_json, to_json
from rekindle.store.classes import reclassify
from rekindle.store.counts import CountKey, add_counts
from rekindle.store.database import Database
from rekindle.store.deriving import derive_afresh
from rekindle.store.port_attempts import Adder, StagedAction
from rekindle.store.queries import as_set, load
from rekindle.store.templates import Templates, binding_text

SQL = load("acts")

_KINDS = (SET, HOLD, CANCEL)

RemovedEdge = tuple[int, int, int | None]
"""(parent, child, the attempt whose set brought it)."""


class Acts:
    """See rekindle.store.port.Acts."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def staged(self, attempts: Sequence[int]) -> dict[int, list[StagedAction]]:
        found: dict[int, list[StagedAction]] = {}
        for attempt, position, name, action in self._db.rows(SQL["staged"], attempts=as_set(attempts)):
            found.setdefault(attempt, []).append((position, name, action))
        return found

    def in_force(self, jobs: Iterable[int]) -> dict[int, ActingSet]:
        return sets_in_force(self._db, jobs)

    def patches(self, jobs: Sequence[int]) -> dict[int, list[tuple[Patch, int]]]:
        found: dict[int, list[tuple[Patch, int]]] = {}
        for job, change, attempt in self._db.rows(SQL["patches_of_jobs"], jobs=as_set(jobs)):
            found.setdefault(job, []).append((_patch(job, change), attempt))
        return found

    def own(self, job: int) -> dict[str, int]:
        return dict(self._db.rows(SQL["own"], job=job))

    def adders(self, jobs: Sequence[int]) -> dict[int, Adder]:
        return {row[0]: Adder(*row[1:]) for row in self._db.rows(SQL["adders"], jobs=as_set(jobs))}

    def names(self, workflow: int) -> list[str]:
        return [row[0] for row in self._db.rows(SQL["dynamic_names"], workflow=workflow)]

    def has_edges(self, workflow: int) -> bool:
        return bool(self._db.value(SQL["dynamic_edges"], workflow=workflow))

    def below(self, jobs: Iterable[int]) -> set[int]:
        return {row[0] for row in self._db.rows(SQL["below"], jobs=as_set(jobs))}

    def idle(self, workflow: int) -> list[int]:
        return [row[0] for row in self._db.rows(SQL["idle"], workflow=workflow)]

    def next_job(self) -> int:
        return int(self._db.value(SQL["next_job"]))

    def put(
        self,
        workflow: int,
        revision: int,
        attempt: int,
        effects: Effects,
        templates: Sequence[JobTemplate],
        nodes: Mapping[str, JobNode],
    ) -> None:
        touched = {*effects.ids.values(), *effects.retired, *(patch.job for patch in effects.patches)}
        touched |= {child for _, child in effects.edges}
        touched |= self._touched_by_end(effects.ended, effects.retired)
        with _counted(self._db, touched):
            take_out(self._db, effects.ended, effects.retired)
            self._define(workflow, revision, attempt, effects, templates, nodes)
            reclassify(self._db, effects.redefined, counts=False)  # what a rerun has modified stays so
            self._db.change_each(SQL["insert_edge"], [(*edge, attempt) for edge in effects.edges])
            self._patch(attempt, effects.patches)
            acts = bool(effects.ids or effects.patches)
            self._db.change(SQL["set_acts"], attempts=as_set([attempt]), acts=int(acts))
            ends = {job for edge in effects.edges for job in edge}
            self._db.change(SQL["bump_versions"], jobs=as_set(sorted(ends | {one.job for one in effects.patches})))
            derive_afresh(self._db, touched, counts=False)

    def end(self, attempts: Sequence[int], retired: Sequence[int]) -> None:
        touched = {*retired, *self._touched_by_end(attempts, retired)}
        with _counted(self._db, touched):
            take_out(self._db, attempts, retired)
            derive_afresh(self._db, touched, counts=False)

    def _touched_by_end(self, attempts: Sequence[int], retired: Sequence[int]) -> set[int]:
        """Those whose needs or flags change when sets end."""
        patched = {row[1] for row in self._db.rows(SQL["patches_of_attempts"], attempts=as_set(attempts))}
        return patched | {child for _, child, _ in _touched_edges(self._db, attempts, retired)}

    def _define(
        self,
        workflow: int,
        revision: int,
        attempt: int,
        effects: Effects,
        templates: Sequence[JobTemplate],
        nodes: Mapping[str, JobNode],
    ) -> None:
        if not effects.ids:
            return
        stored = Templates(self._db, workflow, revision, templates)
        new, redefined = [], []
        fresh = set(effects.new)
        for name, job in effects.ids.items():
            template, binding = stored[nodes[name].template], binding_text(nodes[name].binding)
            rest = (template.priority, template.resource_class, template.when_finished, attempt)
            if job in fresh:
                new.append((job, workflow, name, template.id, binding, *rest))
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


def sets_in_force(database: Database, jobs: Iterable[int]) -> dict[int, ActingSet]:
    """The sets of these jobs that are in force, by job."""
    acting: dict[int, int] = dict(database.rows(SQL["acting"], jobs=as_set(jobs)))
    if not acting:
        return {}
    wanted = as_set(acting)
    added: dict[int, dict[int, str]] = {}
    for attempt, job, name in database.rows(SQL["added_jobs"], attempts=wanted):
        added.setdefault(attempt, {})[job] = name
    edges: dict[int, list[tuple[int, int]]] = {}
    for attempt, *edge in database.rows(SQL["added_edges"], attempts=wanted):
        edges.setdefault(attempt, []).append((edge[0], edge[1]))
    patches: dict[int, list[Patch]] = {}
    for attempt, job, change in database.rows(SQL["patches_of_attempts"], attempts=wanted):
        patches.setdefault(attempt, []).append(_patch(job, change))
    return {
        job: ActingSet(
            attempt, job, added.get(attempt, {}), tuple(edges.get(attempt, ())), tuple(patches.get(attempt, ()))
        )
        for attempt, job in acting.items()
    }


def changes_of(database: Database, jobs: str) -> dict[int, list[Change]]:
    """The changes in force to the parameters of a set of jobs, in order; of most jobs there are none."""
    found: dict[int, list[Change]] = {}
    for job, change, _ in database.rows(SQL["patches_of_jobs"], jobs=jobs):
        patch = _patch(job, change)
        if patch.kind == SET:
            found.setdefault(job, []).append(patch.content)
    return found


def take_out(database: Database, attempts: Sequence[int], retired: Sequence[int]) -> list[RemovedEdge]:
    """Take sets out of force and retire jobs; returns the edges that go. States are for the caller to derive."""
    if not attempts and not retired:
        return []
    edges = _touched_edges(database, attempts, retired)
    database.change_each(SQL["delete_edge"], [(parent, child) for parent, child, _ in edges])
    wanted = as_set(attempts)
    patches = [_patch(job, change) for _, job, change in database.rows(SQL["patches_of_attempts"], attempts=wanted)]
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


def bring_back(
    database: Database, attempts: Sequence[int], retired: Sequence[int], edges: Sequence[RemovedEdge]
) -> set[int]:
    """Undo `take_out`, holds and cancellations excepted: those are pointers, and come back with them. Edges of what
    a revision has retired meanwhile stay away. Returns the jobs of which states are to be derived; those that come
    back from retirement are counted as they stand."""
    if not attempts and not retired:
        return set()
    counts: Counter[CountKey] = Counter()
    database.change(SQL["set_retired"], jobs=as_set(retired), retired=0)
    counts.update((row[0], row[1], row[2]) for row in database.rows(SQL["standing"], jobs=as_set(retired)))
    add_counts(database, counts)
    ends = {job for parent, child, _ in edges for job in (parent, child)}
    gone = {row[0] for row in database.rows(SQL["retired_among"], jobs=as_set(sorted(ends)))}
    kept = [edge for edge in edges if edge[0] not in gone and edge[1] not in gone]
    database.change_each(SQL["insert_edge"], kept)
    database.change(SQL["set_in_force"], attempts=as_set(attempts), in_force=1)
    database.change(SQL["set_acts"], attempts=as_set(attempts), acts=1)
    database.change(SQL["bump_versions"], jobs=as_set(sorted(ends | set(retired))))
    return set(retired) | {child for _, child, _ in kept}


def retired_among(database: Database, jobs: Iterable[int]) -> list[str]:
    """The names of those of some jobs that are retired."""
    return [row[1] for row in database.rows(SQL["retired_among"], jobs=as_set(jobs))]


def _touched_edges(database: Database, attempts: Sequence[int], retired: Sequence[int]) -> list[RemovedEdge]:
    rows = database.rows(SQL["touched_edges"], attempts=as_set(attempts), jobs=as_set(retired))
    return [(parent, child, by) for parent, child, by in rows]


@contextmanager
def _counted(database: Database, jobs: Iterable[int]) -> Iterator[None]:
    """Keep the counts right over whatever is done to these jobs."""
    wanted = as_set(jobs)
    before = Counter[CountKey](_standing(database, wanted))
    yield
    after = Counter[CountKey](_standing(database, wanted))
    after.subtract(before)
    add_counts(database, after)


def _standing(database: Database, jobs: str) -> Iterator[CountKey]:
    yield from database.rows(SQL["standing"], jobs=jobs)


def _patch(job: int, change: str) -> Patch:
    document: dict[str, Any] = from_json(change)
    kind = next(kind for kind in _KINDS if kind in document)
    return Patch(job, kind, document[kind])
