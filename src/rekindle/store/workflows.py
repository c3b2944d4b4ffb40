"""Workflows: submitting, revising, reading, archiving and deleting them."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from rekindle.domain.models import Revision, Workflow
from rekindle.store.queries import Row, as_set, load
from rekindle.store.rows import STATES
from rekindle.store.templates import TemplateRows, binding_text, decode_template, template_by_id

if TYPE_CHECKING:
    from rekindle.domain.changes.revisions import RevisionOutline
    from rekindle.domain.definition import Definition, JobTemplate
    from rekindle.domain.states import State
    from rekindle.store.database import Database
    from rekindle.store.derived import CountKey
    from rekindle.store.revisions import RevisionChanges

SQL = load("workflows")
SUBMIT_SQL = load("submitting")
DELETE_SQL = [query for name, query in load("deleting").items() if name != "own_attempts"]

_T = TypeVar("_T")

StoreProgress = Callable[[int, int], None]
"""Called with the number of stored rows and that of all rows."""

_REPORTED_ROWS = 1_000


def _counted(rows: Iterable[_T], before: int, whole: int, progress: StoreProgress | None) -> Iterator[_T]:
    """Yield the rows, and report after each thousand; `before` of the whole are stored already."""
    for number, row in enumerate(rows):
        if progress is not None and number % _REPORTED_ROWS == 0:
            progress(before + number, whole)
        yield row


class Workflows:
    """Workflows, their revisions and templates."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(
        self, definition: Definition, now: float, ids: Sequence[int] = (), progress: StoreProgress | None = None
    ) -> int:
        """Insert a workflow at revision 1 with its templates, jobs (READY or WAITING), edges and counts. Return its id.

        `ids`, which must be free, are the ids of the jobs (default: the next ones). 100,000 jobs take seconds;
        `progress` is called meanwhile.
        """
        from rekindle.domain.expansion import job_texts
        from rekindle.store.revisions import first_version, insert_revision, job_row

        workflow = int(self._db.value(SUBMIT_SQL["highest_workflow"])) + 1
        self._db.change(
            SUBMIT_SQL["insert_workflow"],
            id=workflow,
            name=definition.name,
            project=definition.project,
            directory=self._db.paths.encode(definition.directory),
            source=self._db.paths.encode(definition.source),
            source_digest=definition.source_digest,
            submitted=now,
        )
        insert_revision(self._db, workflow, 1, definition, now)
        templates = TemplateRows(self._db, workflow, 1, definition.templates)
        unmet = array("i", bytes(4 * len(definition.jobs)))
        for _, child in definition.edges:
            unmet[child] += 1
        first = int(self._db.value(SUBMIT_SQL["highest_job"])) + 1
        numbers, version = ids or range(first, first + len(definition.jobs)), first_version(self._db)
        counts: Counter[tuple[int, int]] = Counter()  # by template and state

        def rows() -> Iterator[Row]:
            jobs = job_texts(definition.jobs, binding_text)
            for number, (name, template, binding), needs in zip(numbers, jobs, unmet, strict=True):
                counts[template, 0 if needs else 1] += 1
                yield job_row(number, workflow, name, templates[template], binding, needs, version)

        whole = len(definition.jobs) + len(definition.edges)
        self._db.change_each(SUBMIT_SQL["insert_job"], _counted(rows(), 0, whole, progress))
        from rekindle.store.derived import add_counts

        by_class: Counter[CountKey] = Counter()
        for (template, state), number in counts.items():
            by_class[workflow, templates[template].resource_class, STATES[state]] += number
        add_counts(self._db, by_class)
        edges = sorted(definition.edges)  # in the order of the table, so that it is written page by page
        pairs = ((numbers[parent], numbers[child]) for parent, child in edges)
        self._db.change_each(SUBMIT_SQL["insert_edge"], _counted(pairs, len(definition.jobs), whole, progress))
        return workflow

    def revise(self, workflow: int, definition: Definition, now: float) -> RevisionChanges:
        """Make `definition` the next revision of a workflow. The caller has checked that no removed job is active.

        Jobs are matched by name: new ones are added and missing ones retired; the others take the new template, binding
        and priority. Edges are replaced; unmet counts and the states WAITING and READY follow. Attempts are not
        touched. A template with an unchanged body keeps its row. Overrides of values that the definition changes are
        dropped, from jobs and from what undo would restore; pinned jobs keep theirs.
        """
        from rekindle.store.revisions import revise

        return revise(self._db, workflow, definition, now)

    def set_source(self, workflow: int, source: str | None) -> None:
        """Set the path of the spec file of an unchanged definition."""
        self._db.change(SQL["set_source"], id=workflow, source=self._db.paths.encode(source))

    def of_jobs(self, jobs: Sequence[int]) -> list[Workflow]:
        """Return the workflows of jobs, each once, in order, with their counts."""
        rows = self._db.named_rows(SQL["workflows_of_jobs"], jobs=as_set(jobs))
        counts = _counts(self._db.rows(SQL["counts_of_some"], workflows=as_set(row.id for row in rows)))
        return [self._workflow(row, counts.get(row.id, {})) for row in rows]

    def find(self, key: int | str) -> Workflow | None:
        """Return a workflow by id, or the newest of a name, with its counts."""
        if isinstance(key, int):
            row = self._db.named_row(SQL["workflow_by_id"], id=key)
        else:
            row = self._db.named_row(SQL["workflow_by_name"], name=key)
        if row is None:
            return None
        counts = self._db.rows(SQL["counts_of_one"], workflow=row.id)
        return self._workflow(row, {STATES[state]: n for state, n in counts})

    def listing(self, archived: bool = False) -> list[Workflow]:
        """Return all workflows with their counts, oldest first; archived ones only if `archived`."""
        counts = _counts(self._db.rows(SQL["counts_of_all"]))
        rows = self._db.named_rows(SQL["workflow_listing"], archived=archived)
        return [self._workflow(row, counts.get(row.id, {})) for row in rows]

    def directories(self) -> list[str]:
        """Return the folders of the workflows that are not archived, each once."""
        return [self._db.paths.decode(directory) for (directory,) in self._db.rows(SQL["directories"])]

    def total_counts(self) -> dict[State, int]:
        """Return how many jobs of all workflows that are not archived are in each state."""
        return {STATES[state]: n for state, n in self._db.rows(SQL["total_counts"])}

    def template(self, template: int) -> JobTemplate:
        """Return a template by id."""
        return template_by_id(self._db, template)

    def templates_by_id(self, templates: Iterable[int]) -> dict[int, tuple[str, JobTemplate]]:
        """Return these templates by id, each with its text. Equal templates have equal texts and are one object."""
        rows = self._db.rows(SQL["templates"], templates=as_set(templates))
        decoded = {body: decode_template(body) for body in {body for _, body in rows}}
        return {number: (body, decoded[body]) for number, body in rows}

    def templates(self, workflow: int) -> list[tuple[int, JobTemplate]]:
        """Return (id, template) of the templates that the workflow's jobs use now."""
        rows = self._db.rows(SQL["templates_in_use"], workflow=workflow)
        return [(number, decode_template(body)) for number, body in rows]

    def params(self, workflow: int, revision: int) -> dict[str, Any]:
        """Return the parameters of a revision."""
        text = self._db.value(SQL["params"], workflow=workflow, revision=revision)
        return msgspec.json.decode(text, type=dict[str, Any])

    def revisions(self, workflow: int) -> list[Revision]:
        """Return the revisions of a workflow, oldest first."""
        return [Revision(**row._asdict()) for row in self._db.named_rows(SQL["revisions"], workflow=workflow)]

    def outline(self, workflow: int, revision: int) -> RevisionOutline:
        """Return the jobs and edges of a revision, without those that actions have added since."""
        from rekindle.store.revisions import outline_of

        return outline_of(self._db, workflow, revision)

    def job_status(self, jobs: Collection[int]) -> dict[int, tuple[str, State, int]]:
        """Return (name, state, unmet count) of jobs."""
        rows = self._db.named_rows(SQL["job_status"], jobs=as_set(jobs))
        return {row.id: (row.name, STATES[row.state], row.unmet) for row in rows}

    def set_rerun(self, workflow: int, revision: int, rerun: int) -> None:
        """Record the rerun that holds the plan of a revision."""
        self._db.change(SQL["set_rerun"], workflow=workflow, number=revision, rerun=rerun)

    def archive(self, workflow: int, at: float | None) -> None:
        """Archive a workflow, or with None bring it back."""
        self._db.change(SQL["set_archived"], id=workflow, at=at)

    def delete(self, workflow: int) -> None:
        """Delete every row of a workflow, history included."""
        for query in DELETE_SQL:
            self._db.change(query, workflow=workflow)

    def span(self, workflow: int) -> tuple[float | None, float | None]:
        """Return when the first attempt of a workflow started and the last one ended, archived attempts included."""
        started, ended = self._db.row(SQL["span"], id=workflow) or (None, None)
        return started, ended

    def edges(self, workflow: int) -> list[tuple[int, int]]:
        """Return the edges of a workflow as (parent, child) job ids."""
        return [(parent, child) for parent, child in self._db.rows(SQL["edges"], workflow=workflow)]

    def _workflow(self, row: Any, counts: dict[State, int]) -> Workflow:
        decode = self._db.paths.decode
        return Workflow(
            row.id,
            row.name,
            decode(row.directory),
            row.revision,
            row.submitted,
            row.project,
            decode(row.source),
            row.source_digest,
            row.archived,
            counts,
        )


def _counts(rows: Iterable[tuple[int, int, int]]) -> dict[int, dict[State, int]]:
    """Return job counts by workflow and state."""
    found: dict[int, dict[State, int]] = {}
    for workflow, state, n in rows:
        found.setdefault(workflow, {})[STATES[state]] = n
    return found
