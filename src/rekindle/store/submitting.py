"""A definition becomes a workflow, or the next revision of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from rekindle.domain.changes.differences import parameter_differences, template_differences
from rekindle.domain.changes.outdated import Dropped, Spec, dropped_of, outdated
from rekindle.domain.changes.revisions import RevisedJob, revision_reason
from rekindle.domain.definition import Definition
from rekindle.domain.overrides import Modified, modified_of
from rekindle.domain.rerunning.rerun import Pointers, Reason, ReasonKind
from rekindle.domain.states import State
from rekindle.journal.encoding import from_json, to_json
from rekindle.store.classes import reclassify
from rekindle.store.counts import CountKey, add_counts
from rekindle.store.database import Database, Row
from rekindle.store.deriving import derive_afresh
from rekindle.store.port import Revised
from rekindle.store.queries import as_set, load
from rekindle.store.revisions import Back, Edge, remember
from rekindle.store.rowshape import STATES
from rekindle.store.templates import StoredTemplate, Templates, binding_text, step_names, template_by_id

SQL = load("submitting")


def add(database: Database, definition: Definition, now: float, ids: Sequence[int] = ()) -> int:
    """A new workflow at revision 1; returns its id."""
    workflow = int(database.value(SQL["highest_workflow"])) + 1
    database.change(
        SQL["insert_workflow"],
        id=workflow,
        name=definition.name,
        project=definition.project,
        directory=database.paths.encode(definition.directory),
        source=database.paths.encode(definition.source),
        source_digest=definition.source_digest,
        submitted=now,
    )
    _insert_revision(database, workflow, 1, definition, now)
    templates = Templates(database, workflow, 1, definition.templates)
    unmet = [0] * len(definition.jobs)
    for _, child in definition.edges:
        unmet[child] += 1
    first = int(database.value(SQL["highest_job"])) + 1
    numbers = ids or range(first, first + len(definition.jobs))
    database.change_each(
        SQL["insert_job"],
        (
            _job(number, workflow, job.name, templates[job.template], binding_text(job.binding), needs)
            for number, job, needs in zip(numbers, definition.jobs, unmet, strict=True)
        ),
    )
    counts: Counter[CountKey] = Counter()
    for job, needs in zip(definition.jobs, unmet, strict=True):
        state = State.WAITING if needs else State.READY
        counts[workflow, templates[job.template].resource_class, state] += 1
    add_counts(database, counts)
    edges = sorted(definition.edges)  # in the order of the table, which is then written page by page
    database.change_each(SQL["insert_edge"], ((numbers[parent], numbers[child]) for parent, child in edges))
    return workflow


def revise(database: Database, workflow: int, definition: Definition, now: float) -> Revised:
    """Make a definition the next revision of a workflow: see rekindle.store.port.Workflows.revise."""
    revision = int(database.value(SQL["latest_revision"], id=workflow)) + 1
    before = from_json(database.value(SQL["params"], workflow=workflow, revision=revision - 1))
    database.change(
        SQL["advance_workflow"],
        id=workflow,
        revision=revision,
        project=definition.project,
        source=database.paths.encode(definition.source),
        source_digest=definition.source_digest,
    )
    _insert_revision(database, workflow, revision, definition, now)
    templates = Templates(database, workflow, revision, definition.templates)
    known = {row[1]: row for row in database.rows(SQL["submitted_jobs"], workflow=workflow)}
    matched = _match(database, workflow, definition, templates, known)
    gone = [row[0] for name, row in known.items() if name not in matched.ids and not row[_RETIRED]]
    database.change_each(SQL["insert_job"], matched.new)
    database.change_each(SQL["keep_binding"], matched.rebound)
    database.change_each(SQL["redefine_job"], matched.redefined)
    database.change(SQL["retire_jobs"], jobs=as_set(gone))
    ids = [matched.ids[job.name] for job in definition.jobs]
    rewired = _rewire(database, workflow, {(ids[parent], ids[child]) for parent, child in definition.edges})
    added = sorted(matched.touched)
    remember(database, workflow, revision, Back(added, gone, matched.former, rewired.gained, rewired.lost))
    derive_afresh(database, rewired.children | matched.touched | matched.rephrased | set(gone), counts=False)
    dropped = _drop_outdated(database, workflow, matched.former, before, definition.params)
    reclassify(database, [row[0] for row in database.rows(SQL["modified_jobs"], workflow=workflow)], counts=False)
    database.change(SQL["clear_counts"], workflow=workflow)
    database.change(SQL["count_afresh"], workflow=workflow)
    names = {row[_ID]: name for name, row in known.items()} | {row[0]: row[2] for row in matched.new}
    return Revised(
        revision,
        added=tuple(matched.added),
        retired=tuple(names[job] for job in sorted(gone)),
        changed=tuple(matched.changed),
        jobs=_told(revision, matched, gone, rewired, names, {row[0]: row for row in known.values()}),
        dropped=dropped,
    )


def _drop_outdated(
    database: Database,
    workflow: int,
    former: Sequence[tuple[int, int, str]],
    params_before: Mapping[str, Any],
    params: Mapping[str, Any],
) -> tuple[Dropped, ...]:
    """Drop the overrides of values that the revision has changed, also from what undo would restore. `former` are the
    jobs that it has redefined, with the templates that they had. A job that is pinned to an earlier definition keeps
    its overrides with that definition, and an attempt that runs keeps its own."""
    if not former and not parameter_differences(params_before, params):
        return ()
    was = {job: template for job, template, _ in former}
    known: dict[tuple[int, int, str], tuple[Modified, dict[str, tuple[Any, Any]]]] = {}

    def outdated_of(job: int, template: int, overrides: str) -> tuple[Modified, dict[str, tuple[Any, Any]]]:
        key = (was.get(job, template), template, overrides)
        if key not in known:
            modified = modified_of(overrides)
            one, other = (template_by_id(database, number) for number in key[:2])
            known[key] = modified, outdated(modified, Spec(one, params_before), Spec(other, params))
        return known[key]

    dropped: list[Dropped] = []
    jobs: list[Row] = []
    for job, name, template, overrides, pinned_to in database.rows(SQL["overridden_jobs"], workflow=workflow):
        modified, found = outdated_of(job, template, overrides)
        if found and pinned_to is None:
            jobs.append((modified.without(found).text(), job))
            dropped += dropped_of(name, modified, found)
    restored: list[Row] = []
    for rerun, job, template, text in database.rows(SQL["overridden_pointers"], workflow=workflow):
        pointers = msgspec.json.decode(text, type=Pointers)
        modified, found = outdated_of(job, template, str(pointers.overrides))
        if found and pointers.pinned_to is None:
            after = replace(pointers, overrides=modified.without(found).text())
            restored.append((to_json(after).decode(), rerun, job))
    database.change_each(SQL["set_overrides"], jobs)
    database.change_each(SQL["set_pointers"], restored)
    return tuple(dropped)


def _told(
    revision: int, matched: _Matched, gone: list[int], rewired: _Rewiring, names: dict[int, str], rows: dict[int, Row]
) -> tuple[RevisedJob, ...]:
    """What the revision did to each job, for the record."""
    reasons: dict[int, tuple[Reason, ...]] = dict.fromkeys(
        matched.touched, (revision_reason(ReasonKind.ADDED, revision),)
    )
    reasons |= dict.fromkeys(gone, (revision_reason(ReasonKind.RETIRED, revision),))
    alike: dict[int, tuple[Reason, ...]] = {}  # one for all jobs that changed in the same way
    for job, fields in matched.fields.items():
        if id(fields) not in alike:
            alike[id(fields)] = (revision_reason(ReasonKind.REDEFINED, revision, fields=fields),)
        reasons[job] = alike[id(fields)]
    gained, lost = Counter(child for _, child in rewired.gained), Counter(child for _, child in rewired.lost)
    for job in rewired.children - matched.touched - set(gone):
        more = revision_reason(ReasonKind.REWIRED, revision, gained=gained[job], lost=lost[job])
        reasons[job] = (*reasons.get(job, ()), more)
    found = []
    for job in sorted(reasons):
        row = rows.get(job)
        version, before = (0, State.WAITING) if row is None else (row[_VERSION], STATES[row[_STATE]])
        found.append(RevisedJob(job, names[job], version, before, reasons[job]))
    return tuple(found)


_ID, _TEMPLATE, _BINDING, _RETIRED, _RESUME_ATTEMPT, _RESUME_STEP, _SUBTASKS, _PINNED_TO = 0, *range(2, 9)
_STATE, _VERSION, _WHEN_FINISHED = 9, 10, 11
"""Columns of `submitted_jobs`."""


@dataclass(slots=True)
class _Matched:
    """How a definition's jobs meet those that are there."""

    ids: dict[str, int] = field(default_factory=dict)  # of every job of the definition
    new: list[Row] = field(default_factory=list)
    redefined: list[Row] = field(default_factory=list)
    former: list[tuple[int, int, str]] = field(default_factory=list)  # of those redefined: job, template, binding
    fields: dict[int, list[str]] = field(default_factory=dict)  # by job that was changed: in which
    rebound: list[Row] = field(default_factory=list)  # jobs that get other matrix values
    touched: set[int] = field(default_factory=set)  # new, or back from retirement
    rephrased: set[int] = field(default_factory=set)  # they say otherwise when they run
    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)


def _match(
    database: Database, workflow: int, definition: Definition, templates: Templates, known: dict[str, Row]
) -> _Matched:
    matched, fields = _Matched(), _Fields(database)
    following = int(database.value(SQL["highest_job"])) + 1
    for job in definition.jobs:
        stored, binding, row = templates[job.template], binding_text(job.binding), known.get(job.name)
        if row is None:
            number, following = following, following + 1
            matched.new.append(_job(number, workflow, job.name, stored, binding, 0))
        else:
            number = row[_ID]
            differs = (row[_TEMPLATE], row[_BINDING]) != (stored.id, binding)
            if differs or row[_RETIRED]:
                resume = _resume(database, row, stored.id)
                taken = (stored.priority, stored.resource_class, stored.when_finished)
                matched.redefined.append((number, stored.id, binding, *taken, *resume))
            if row[_WHEN_FINISHED] != stored.when_finished:
                matched.rephrased.add(number)
            if differs:
                matched.former.append((number, row[_TEMPLATE], row[_BINDING]))
            if row[_BINDING] != binding:
                matched.rebound.append((number,))
            if differs and not row[_RETIRED]:
                matched.changed.append(job.name)
                matched.fields[number] = fields(row[_TEMPLATE], stored.id, row[_BINDING] != binding)
        if row is None or row[_RETIRED]:
            matched.added.append(job.name)
            matched.touched.add(number)
        matched.ids[job.name] = number
    return matched


class _Fields:
    """The names of the fields in which two templates differ, worked out once a pair."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._known: dict[tuple[int, int, bool], list[str]] = {}

    def __call__(self, before: int, after: int, bound: bool) -> list[str]:
        found = self._known.get((before, after, bound))
        if found is None:
            one, other = template_by_id(self._db, before), template_by_id(self._db, after)
            found = [each.field for each in template_differences(one, other)] + ["matrix"] * bound
            self._known[before, after, bound] = found
        return found


def _resume(database: Database, row: Row, template: int) -> tuple[int | None, int, str | None]:
    """Where the job's next attempt starts: as planned, while the steps that it would keep are still its first. What is
    pinned to an earlier definition does not ask for this one."""
    attempt, step, subtasks = row[_RESUME_ATTEMPT], row[_RESUME_STEP], row[_SUBTASKS]
    if attempt is None or template == row[_TEMPLATE] or row[_PINNED_TO] is not None:
        return attempt, step, subtasks
    before, now = step_names(database, row[_TEMPLATE]), step_names(database, template)
    if before[:step] != now[:step] or len(now) <= step:
        return None, 0, None
    return attempt, step, subtasks if before[step : step + 1] == now[step : step + 1] else None


@dataclass(frozen=True, slots=True)
class _Rewiring:
    """Edges that a revision brought and took away."""

    gained: list[Edge]
    lost: list[Edge]

    @property
    def children(self) -> set[int]:
        """The jobs whose needs have changed."""
        return {child for _, child in self.gained + self.lost}


def _rewire(database: Database, workflow: int, wanted: set[Edge]) -> _Rewiring:
    """Make these the workflow's submitted edges. Plans rest on what a job leads to, hence the versions of the
    parents."""
    present = {(parent, child) for parent, child in database.rows(SQL["submitted_edges"], workflow=workflow)}
    moved = _Rewiring(sorted(wanted - present), sorted(present - wanted))
    database.change_each(SQL["delete_edge"], moved.lost)
    database.change_each(SQL["insert_edge"], moved.gained)
    database.change(SQL["bump_versions"], jobs=as_set({job for edge in moved.gained + moved.lost for job in edge}))
    return moved


def _insert_revision(database: Database, workflow: int, number: int, definition: Definition, now: float) -> None:
    database.change(
        SQL["insert_revision"],
        workflow=workflow,
        number=number,
        submitted=now,
        params=to_json(dict(definition.params)).decode(),
        source_digest=definition.source_digest,
    )


def _job(number: int, workflow: int, name: str, template: StoredTemplate, binding: str, unmet: int) -> Row:
    state = 0 if unmet else 1  # WAITING, READY: as plain numbers, a hundred thousand times
    taken = (template.priority, template.resource_class, template.when_finished)
    return (number, workflow, name, template.id, binding, state, unmet, *taken)
