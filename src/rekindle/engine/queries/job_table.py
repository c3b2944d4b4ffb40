"""The jobs of a workflow as tables: a page of a sorted list, found by the position where it begins, so that all pages
are equally fast; and the progress of its groups."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from rekindle.domain.selection import AllOf, Compare, JobPage, Op
from rekindle.engine.queries.job_queries import jobs_in
from rekindle.engine.queries.selections import resolve_selection

if TYPE_CHECKING:
    from rekindle.domain.selection import JobFilter, Position, Selection
    from rekindle.domain.states import State
    from rekindle.engine.results import JobRow
    from rekindle.engine.session import Session
    from rekindle.store.archive import Snapshot


class JobTable(msgspec.Struct, frozen=True):
    """A page, and the number of jobs of the whole list. `first` and `last` are the positions of its first and last job;
    `before` and `after` say whether there are jobs before and after them."""

    rows: Sequence[JobRow]
    total: int
    first: Position | None
    last: Position | None
    before: bool
    after: bool


def job_table(session: Session, selection: Selection, page: JobPage) -> JobTable:
    """Return a page of the jobs of a selection. If fewer are left before its position than a page has, return the first
    page. NotFound as `select`."""
    chosen = resolve_selection(session, selection)
    with session.store.read() as archive:
        found = archive.job_pages.page(chosen, replace(page, limit=page.limit + 1))
        if page.backwards and page.position is not None and len(found) <= page.limit:
            page = replace(page, position=None, backwards=False)
            found = archive.job_pages.page(chosen, replace(page, limit=page.limit + 1))
        more = len(found) > page.limit
        found = found[-page.limit :] if page.backwards else found[: page.limit]
        return JobTable(
            rows=jobs_in(archive, [number for _, number in found]),
            total=count_jobs(archive, chosen),
            first=found[0] if found else None,
            last=found[-1] if found else None,
            before=more if page.backwards else page.position is not None,
            after=page.position is not None if page.backwards else more,
        )


def count_jobs(archive: Snapshot, chosen: JobFilter) -> int:
    """Return the number of chosen jobs. The store keeps those of whole workflows."""
    if chosen.ids is not None or chosen.where != AllOf():
        return archive.jobs.count(chosen)
    found = archive.workflows.listing() if chosen.workflow is None else [archive.workflows.find(chosen.workflow)]
    return sum(sum(one.counts.values()) for one in found if one is not None)


class JobWindow(msgspec.Struct, frozen=True):
    """Some jobs that follow each other in a list by id, and the number of the list's jobs before them and in all."""

    rows: Sequence[JobRow]
    before: int
    total: int


def job_window(session: Session, chosen: JobFilter, near: int | None, above: int, below: int) -> JobWindow:
    """Return the jobs of a list near an id: up to `above` with lower ids, and up to `below` others. `near` None: the
    last `above` jobs."""
    position = None if near is None else (near, near)
    with session.store.read() as archive:
        found = archive.job_pages.page(chosen, JobPage(position=position, backwards=True, limit=above))
        if near is not None:
            found += archive.job_pages.page(chosen, JobPage(position=(near - 1, near - 1), limit=below))
        ids = [number for _, number in found]
        before = _count_below(archive, chosen, ids[0]) if ids else 0
        return JobWindow(jobs_in(archive, ids), before, count_jobs(archive, chosen))


def _count_below(archive: Snapshot, chosen: JobFilter, job: int) -> int:
    """Return the number of chosen jobs with lower ids."""
    if chosen.ids is not None:
        return bisect_left(chosen.ids, job)
    return archive.jobs.count(replace(chosen, where=AllOf((chosen.where, Compare("id", Op.LT, job)))))


class JobGroup(msgspec.Struct, frozen=True):
    """The jobs of templates with one name: how many there are by state, and (completed, all) subtasks of the fan-outs
    of their live attempts."""

    name: str
    counts: Mapping[State, int]
    subtasks: tuple[int, int] | None


def job_groups(session: Session, workflow: int) -> list[JobGroup]:
    """Return the groups of a workflow in the order of their first jobs. Retired jobs are left out."""
    with session.store.read() as archive:
        names, counted = archive.graphs.names(workflow), archive.graphs.counts(workflow)
        found = archive.graphs.subtasks(workflow, ())
    counts: dict[str, Counter[State]] = defaultdict(Counter)
    for one in sorted(counted, key=lambda one: one.first):
        counts[names[one.template]][one.state] += one.n
    items: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for part, pair in found.items():
        items[names[part.template]].append(pair)
    return [
        JobGroup(name, states, (sum(done for done, _ in pairs), sum(n for _, n in pairs)) if pairs else None)
        for name, states in counts.items()
        for pairs in [items[name]]
    ]
