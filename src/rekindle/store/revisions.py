"""Revisions: making a definition the next revision of a workflow, and restoring the outline of an earlier one.

The jobs and edges in the store are those of the latest revision. Each later revision keeps a delta that leads back to
the one before it, so that a revision takes as much room as it changed. A job that a revision leaves out keeps its row.
"""

from __future__ import annotations

import zlib
from array import array
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import starmap
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from rekindle.domain.changes.differences import parameter_differences, template_differences
from rekindle.domain.changes.revisions import (
    DroppedOverride,
    RevisedJob,
    RevisionOutline,
    SpecValues,
    dropped_overrides,
    outdated_overrides,
    pair_by_name,
    revision_reason,
)
from rekindle.domain.expansion import job_texts
from rekindle.domain.overrides import AppliedOverrides, decode_overrides
from rekindle.domain.rerun.plan import Reason, ReasonKind
from rekindle.domain.states import State
from rekindle.journal.encoding import from_json, json_reader, to_json
from rekindle.store.derived import derive_states, reclassify
from rekindle.store.predicates import workflow_scope
from rekindle.store.queries import Row, ValueSet, as_set, load
from rekindle.store.rows import STATES, next_attempt_of, next_attempt_text
from rekindle.store.templates import (
    StoredTemplate,
    TemplateRows,
    binding_text,
    decode_template,
    step_names,
    template_by_id,
)

if TYPE_CHECKING:
    from rekindle.domain.definition import Definition, JobTemplate
    from rekindle.domain.next_attempt import NextAttempt
    from rekindle.store.database import Database

SQL = load("revisions")
SUBMIT_SQL = load("submitting")

Edge = tuple[int, int]
"""(parent, child): job ids."""


class RevisionChanges(msgspec.Struct, frozen=True):
    """What a revision changed: names of the jobs added, retired, and changed (another template body or binding), and
    every job that it touched, those with changed edges included."""

    revision: int
    added: tuple[str, ...]
    retired: tuple[str, ...]
    changed: tuple[str, ...]
    jobs: tuple[RevisedJob, ...] = ()
    dropped: tuple[DroppedOverride, ...] = ()  # overrides that the revision has outdated


class RevisionDelta(msgspec.Struct, array_like=True):
    """How to get from a revision back to the one before it: the jobs it added and retired, the former (job, template,
    binding) of those it redefined, and the edges that it added and removed."""

    added: list[int]
    retired: list[int]
    redefined: list[tuple[int, int, str]]
    gained: list[Edge]
    lost: list[Edge]


_DELTA = json_reader(RevisionDelta)


def read_delta(earlier: bytes) -> RevisionDelta:
    """Decode how jobs and edges were before a revision. Raise ValueError if the column is damaged."""
    try:
        delta: RevisionDelta = _DELTA(zlib.decompress(earlier))
    except zlib.error as error:
        raise ValueError(str(error)) from error
    return delta


def outline_of(database: Database, workflow: int, revision: int) -> RevisionOutline:
    """Return the jobs and edges of a revision, without those that actions have added since."""
    names: dict[int, str] = {}
    defined: dict[int, tuple[int, str]] = {}
    present: set[int] = set()
    for row in database.named_rows(SQL["jobs"], workflow=workflow):
        names[row.id], defined[row.id] = row.name, (row.template, row.binding)
        if not row.retired:
            present.add(row.id)
    edges: set[Edge] = set(database.rows(SUBMIT_SQL["submitted_edges"], workflow=workflow))
    for row in database.named_rows(SQL["deltas"], workflow=workflow, number=revision):
        delta = read_delta(row.earlier)
        present = (present - set(delta.added)) | set(delta.retired)
        defined |= {job: (template, binding) for job, template, binding in delta.redefined}
        edges = (edges - set(delta.gained)) | set(delta.lost)
    jobs = {names[job]: defined[job] for job in sorted(present)}
    text = database.value(SUBMIT_SQL["params"], workflow=workflow, revision=revision)
    return RevisionOutline(
        params=msgspec.json.decode(text, type=dict[str, Any]),
        templates=_templates(database, {template for template, _ in jobs.values()}),
        jobs=jobs,
        edges={(names[parent], names[child]) for parent, child in edges},
    )


def _templates(database: Database, wanted: Collection[int]) -> dict[int, JobTemplate]:
    rows = database.rows(SQL["templates"], templates=as_set(sorted(wanted)))
    return {number: decode_template(body) for number, body in rows}


def insert_revision(database: Database, workflow: int, number: int, definition: Definition, now: float) -> None:
    """Insert the row of a revision."""
    database.change(
        SUBMIT_SQL["insert_revision"],
        workflow=workflow,
        number=number,
        submitted=now,
        params=to_json(dict(definition.params)).decode(),
        source_digest=definition.source_digest,
        hooks=to_json(definition.hooks).decode() if definition.hooks else None,
    )


def first_version(database: Database) -> int:
    """Return the version of a new job."""
    return int(database.value(SUBMIT_SQL["first_version"]))


_VERSION = 7
"""The position of the version in a new job's row."""


def job_row(
    number: int, workflow: int, name: str, template: StoredTemplate, binding: str, unmet: int, version: int
) -> Row:
    """Return the row of a new job."""
    state = 0 if unmet else 1  # WAITING, READY: plain numbers are faster for a hundred thousand jobs
    copied = (template.priority, template.resource_class, template.when_finished)
    return (number, workflow, name, template.id, binding, state, unmet, version, *copied)


def revise(database: Database, workflow: int, definition: Definition, now: float) -> RevisionChanges:
    """Make a definition the next revision of a workflow: see Workflows.revise."""
    revision = int(database.value(SUBMIT_SQL["latest_revision"], id=workflow)) + 1
    params_before = from_json(database.value(SUBMIT_SQL["params"], workflow=workflow, revision=revision - 1))
    database.change(
        SUBMIT_SQL["advance_workflow"],
        id=workflow,
        revision=revision,
        project=definition.project,
        source=database.paths.encode(definition.source),
        source_digest=definition.source_digest,
    )
    insert_revision(database, workflow, revision, definition, now)
    templates = TemplateRows(database, workflow, revision, definition.templates)
    matched = _match(database, workflow, definition, templates)
    gone = matched.gone
    ids = matched.ids
    edges = _moved_edges(database, workflow, {(ids[parent], ids[child]) for parent, child in definition.edges})
    others = as_set(edges.children - matched.rows.keys())
    rows = matched.rows | {row.id: row for row in starmap(_StoredJob, _some_submitted(database, others))}
    database.change_each(SUBMIT_SQL["insert_job"], matched.new)
    database.change_each(SUBMIT_SQL["keep_binding"], matched.rebound)
    database.change_each(SUBMIT_SQL["redefine_job"], matched.redefined)
    database.change(SUBMIT_SQL["retire_jobs"], jobs=as_set(gone))
    _replace_edges(database, edges)
    delta = RevisionDelta(sorted(matched.added_ids), gone, matched.former, edges.gained, edges.lost)
    earlier = zlib.compress(to_json(delta), 1)
    database.change(SQL["set_delta"], workflow=workflow, number=revision, earlier=earlier)
    derive_states(database, edges.children | matched.added_ids | matched.when_changed | set(gone), counts=False)
    dropped = _drop_outdated(database, workflow, matched.former, params_before, definition.params)
    overridden = [row.id for row in database.named_rows(SUBMIT_SQL["overridden_jobs"], workflow=workflow)]
    reclassify(database, overridden, counts=False)
    database.change(SUBMIT_SQL["clear_counts"], workflow=workflow)
    database.change(SUBMIT_SQL["count_again"], workflow=workflow)
    return RevisionChanges(
        revision,
        added=tuple(matched.added[position] for position in sorted(matched.added)),
        retired=tuple(rows[job].name for job in sorted(gone)),
        changed=tuple(matched.changed[position] for position in sorted(matched.changed)),
        jobs=_revised_jobs(revision, matched, edges, rows),
        dropped=dropped,
    )


def _drop_outdated(
    database: Database,
    workflow: int,
    former: Sequence[tuple[int, int, str]],
    params_before: Mapping[str, Any],
    params: Mapping[str, Any],
) -> tuple[DroppedOverride, ...]:
    """Drop the overrides of values that the revision has changed, also from what undo would restore.

    `former` holds the redefined jobs with their former templates. A job pinned to an earlier definition keeps its
    overrides with that definition, and a running attempt keeps its own.
    """
    if not former and not parameter_differences(params_before, params):
        return ()
    templates_before = {job: template for job, template, _ in former}
    known: dict[tuple[int, int, str], tuple[AppliedOverrides, dict[str, tuple[Any, Any]]]] = {}

    def outdated_of(job: int, template: int, overrides: str) -> tuple[AppliedOverrides, dict[str, tuple[Any, Any]]]:
        key = (templates_before.get(job, template), template, overrides)
        if key not in known:
            modified = decode_overrides(overrides)
            before, now = (template_by_id(database, number) for number in key[:2])
            known[key] = (
                modified,
                outdated_overrides(modified, SpecValues(before, params_before), SpecValues(now, params)),
            )
        return known[key]

    dropped: list[DroppedOverride] = []
    jobs: list[Row] = []
    for row in database.named_rows(SUBMIT_SQL["overridden_jobs"], workflow=workflow):
        following = next_attempt_of(row.next_attempt, database.paths)
        modified, found = outdated_of(row.id, row.template, str(following.overrides))
        if found and following.pinned_to is None:
            following = replace(following, overrides=modified.without(found).text())
            jobs.append((next_attempt_text(following, database.paths), row.id))
            dropped += dropped_overrides(row.name, modified, found)
    restored: list[Row] = []
    for row in database.named_rows(SUBMIT_SQL["overridden_pointers"], workflow=workflow):
        following = next_attempt_of(row.next_before, database.paths)
        modified, found = outdated_of(row.job, row.template, str(following.overrides))
        if found and following.pinned_to is None:
            following = replace(following, overrides=modified.without(found).text())
            restored.append((next_attempt_text(following, database.paths), row.rerun, row.number))
    database.change_each(SUBMIT_SQL["set_overrides"], jobs)
    database.change_each(SUBMIT_SQL["set_next_before"], restored)
    return tuple(dropped)


def _revised_jobs(
    revision: int,
    matched: _Matched,
    edges: _ReplacedEdges,
    rows: Mapping[int, _StoredJob],
) -> tuple[RevisedJob, ...]:
    """Return every job that the revision touched, by id, with the reasons."""
    reasons: dict[int, tuple[Reason, ...]] = dict.fromkeys(
        matched.added_ids, (revision_reason(ReasonKind.ADDED, revision),)
    )
    reasons |= dict.fromkeys(matched.gone, (revision_reason(ReasonKind.RETIRED, revision),))
    shared: dict[int, tuple[Reason, ...]] = {}  # one tuple for all jobs that changed in the same way
    for job, fields in matched.fields.items():
        if id(fields) not in shared:
            shared[id(fields)] = (revision_reason(ReasonKind.REDEFINED, revision, fields=fields),)
        reasons[job] = shared[id(fields)]
    gained, lost = Counter(child for _, child in edges.gained), Counter(child for _, child in edges.lost)
    for job in edges.children - matched.added_ids - set(matched.gone):
        more = revision_reason(ReasonKind.REWIRED, revision, gained=gained[job], lost=lost[job])
        reasons[job] = (*reasons.get(job, ()), more)
    found, new = [], {row[0]: (row[2], row[_VERSION]) for row in matched.new}
    for job in sorted(reasons):
        row = rows.get(job)
        name, version = new[job] if row is None else (row.name, row.version)
        before = State.WAITING if row is None else STATES[row.state]
        found.append(RevisedJob(job, name, version, before, reasons[job]))
    return tuple(found)


class _StoredJob(msgspec.Struct, frozen=True, gc=False):
    """A job before the revision: the columns of `submitted_columns`."""

    id: int
    name: str
    template: int
    binding: str
    retired: int
    next_attempt: str | None
    state: int
    version: int
    when_finished: int


class _Matched(msgspec.Struct):
    """How the jobs of a definition match those in the store."""

    ids: array[int]  # of every job of the definition
    rows: dict[int, _StoredJob] = msgspec.field(default_factory=dict)  # of jobs that the revision changes
    gone: list[int] = msgspec.field(default_factory=list)  # no longer in the definition
    new: list[Row] = msgspec.field(default_factory=list)
    redefined: list[Row] = msgspec.field(default_factory=list)
    former: list[tuple[int, int, str]] = msgspec.field(
        default_factory=list
    )  # of redefined jobs: job, template, binding
    fields: dict[int, list[str]] = msgspec.field(default_factory=dict)  # by changed job: the fields that differ
    rebound: list[Row] = msgspec.field(default_factory=list)  # jobs with other matrix values
    added_ids: set[int] = msgspec.field(default_factory=set)  # new, or no longer retired
    when_changed: set[int] = msgspec.field(default_factory=set)  # another `when`
    added: dict[int, str] = msgspec.field(default_factory=dict)  # names, by position in the definition
    changed: dict[int, str] = msgspec.field(default_factory=dict)


def _some_submitted(database: Database, jobs: ValueSet) -> list[Row]:
    return database.rows(SUBMIT_SQL["some_submitted_jobs"], jobs=jobs)


def _match(database: Database, workflow: int, definition: Definition, templates: TemplateRows) -> _Matched:
    """Match jobs by name. Of jobs that are as they were, only the ids are kept."""
    matched, fields = _Matched(array("q", bytes(8 * len(definition.jobs)))), _DifferingFields(database)
    following, version = int(database.value(SUBMIT_SQL["highest_job"])) + 1, first_version(database)
    text = database.text(SUBMIT_SQL["submitted_jobs"]).replace("{scope}", workflow_scope(database, workflow))
    stored = ((row[1], row) for row in database.stream(text, {"workflow": workflow}))
    texts = job_texts(definition.jobs, binding_text)
    defined = ((name, (at, name, template, binding)) for at, (name, template, binding) in enumerate(texts))
    for found, job in pair_by_name(stored, defined):
        if job is None:
            assert found is not None
            row = _StoredJob(*found)
            if not row.retired:
                matched.gone.append(row.id)
                matched.rows[row.id] = row
            continue
        position, name, template, binding = job
        now = templates[template]
        if found is None:
            matched.ids[position] = following
            matched.new.append(job_row(following, workflow, name, now, binding, 0, version))
            matched.added[position] = name
            matched.added_ids.add(following)
            following += 1
            continue
        matched.ids[position] = found[0]
        if found[2] != now.id or found[3] != binding or found[4]:
            _redefine(database, matched, fields, _StoredJob(*found), position, now, binding)
    matched.gone.sort()
    return matched


def _redefine(
    database: Database,
    matched: _Matched,
    fields: _DifferingFields,
    row: _StoredJob,
    position: int,
    now: StoredTemplate,
    binding: str,
) -> None:
    """Record a job that gets another template or binding, or comes back."""
    differs = (row.template, row.binding) != (now.id, binding)
    matched.rows[row.id] = row
    copied = (now.priority, now.resource_class, now.when_finished)
    following = next_attempt_text(_next_attempt(database, row, now.id), database.paths)
    matched.redefined.append((row.id, now.id, binding, *copied, following))
    if row.when_finished != now.when_finished:
        matched.when_changed.add(row.id)
    if differs:
        matched.former.append((row.id, row.template, row.binding))
    if row.binding != binding:
        matched.rebound.append((row.id,))
    if row.retired:
        matched.added[position] = row.name
        matched.added_ids.add(row.id)
    elif differs:
        matched.changed[position] = row.name
        matched.fields[row.id] = fields(row.template, now.id, row.binding != binding)


class _DifferingFields:
    """The names of the fields in which two templates differ, computed once for each pair."""

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


def _next_attempt(database: Database, row: Any, template: int) -> NextAttempt:
    """Return what the next attempt of a redefined job does. The job resumes as planned while the steps that it would
    keep are still its first ones. A pinned job does not use the new definition."""
    following = next_attempt_of(row.next_attempt, database.paths)
    if following.resume_attempt is None or template == row.template or following.pinned_to is not None:
        return following
    step = following.resume_step
    before, now = step_names(database, row.template), step_names(database, template)
    if before[:step] != now[:step] or len(now) <= step:
        return replace(following, resume_attempt=None, resume_step=0, subtasks=None)
    return following if before[step : step + 1] == now[step : step + 1] else replace(following, subtasks=None)


class _ReplacedEdges(msgspec.Struct, frozen=True):
    """The edges that a revision added and removed."""

    gained: list[Edge]
    lost: list[Edge]

    @property
    def children(self) -> set[int]:
        """The jobs whose needs have changed."""
        return {child for _, child in self.gained + self.lost}


def _moved_edges(database: Database, workflow: int, wanted: set[Edge]) -> _ReplacedEdges:
    """Return how the workflow's submitted edges differ from these."""
    present: set[Edge] = set(database.rows(SUBMIT_SQL["submitted_edges"], workflow=workflow))
    return _ReplacedEdges(sorted(wanted - present), sorted(present - wanted))


def _replace_edges(database: Database, moved: _ReplacedEdges) -> None:
    """Add and remove submitted edges. Plans depend on what is below a job, so the parents' versions increase too."""
    database.change_each(SUBMIT_SQL["delete_edge"], moved.lost)
    database.change_each(SUBMIT_SQL["insert_edge"], moved.gained)
    ends = as_set({job for edge in moved.gained + moved.lost for job in edge})
    database.change(SUBMIT_SQL["bump_versions"], jobs=ends)
