"""Pages of long lists. Rows are streamed from one snapshot, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from rekindle.engine.queries import selections
from rekindle.engine.queries.job_queries import jobs_in, workdirs_in
from rekindle.engine.queries.job_table import count_jobs
from rekindle.engine.results import JobRow, PageRequest

if TYPE_CHECKING:
    from rekindle.domain.models import Attempt, Job, LoggedEvent, PartialOutput
    from rekindle.domain.rerun.plan import Reason, RerunRecord
    from rekindle.domain.selection import Selection
    from rekindle.domain.states import State
    from rekindle.engine.session import Session
    from rekindle.engine.staleness.contents import ReadProgress
    from rekindle.store.archive import Snapshot
    from rekindle.store.queries import Row

Item = TypeVar("Item")

_CHUNK_ROWS = 1_000
"""The number of attempts whose retries, folders and subtasks are read together."""


class ListPage(msgspec.Struct, Generic[Item], frozen=True):
    """The rows of a page, which can be iterated once, and the number of rows of the whole list."""

    rows: Iterator[Item]
    total: int


class AttemptRow(msgspec.Struct, frozen=True):
    """An attempt in a list, with its job's name and working directory. `subtasks` (counts by attempt and step),
    `retries` and `partial` also cover the attempts near it."""

    attempt: Attempt
    name: str
    workdir: str | None
    subtasks: Mapping[tuple[int, int], Mapping[State, int]]
    retries: Mapping[int, Reason]
    partial: Mapping[int, Sequence[PartialOutput]]


@contextmanager
def jobs(
    session: Session, selection: Selection, page: PageRequest, progress: ReadProgress | None = None
) -> Iterator[ListPage[JobRow]]:
    """Yield a page of the jobs of a selection, by id. Rows are read within the block. NotFound as `select`."""
    chosen = selections.resolve_selection(session, selection, progress)
    with session.store.read() as archive:
        found = archive.jobs.listing(chosen, page.limit, page.offset)
        yield ListPage(_job_rows(archive, found), count_jobs(archive, chosen))


class AlikeJobs(msgspec.Struct, frozen=True):
    """The jobs of a page, which can be iterated once, as rows of `rekindle.store.job_pages.JobPages.rows`. Jobs with
    equal columns after the first OWN_COLUMNS are alike: one of them, from `get`, shows what their documents have in
    common. Jobs in `single` are not like others."""

    blocks: Iterator[Sequence[Row]]
    single: Collection[int]
    get: Callable[[Sequence[int]], list[JobRow]]


@contextmanager
def alike_jobs(
    session: Session, selection: Selection, page: PageRequest, progress: ReadProgress | None = None
) -> Iterator[AlikeJobs]:
    """Yield a page of the jobs of a selection, by id, for documents. Rows are read within the block. NotFound as
    `select`."""
    chosen = selections.resolve_selection(session, selection, progress)
    with session.store.read() as archive:
        single = archive.subtasks.partial(None) | archive.attempts.blocking(None).keys()
        blocks = archive.job_pages.rows(chosen, page.limit, page.offset)
        yield AlikeJobs(blocks, single, partial(jobs_in, archive))


def _job_rows(archive: Snapshot, found: Iterator[tuple[str, Job, Attempt | None]]) -> Iterator[JobRow]:
    partly, awaited = archive.subtasks.partial(None), archive.attempts.blocking(None)
    resources = archive.jobs.resources({})
    for workflow, job, live in found:
        takes = resources.get(job.resource_class)
        if takes is None:
            resources |= archive.jobs.resources([job.resource_class])
            takes = resources[job.resource_class]
        yield JobRow(job, workflow, live, takes, job.id in partly, tuple(awaited.get(job.id, ())))


@contextmanager
def attempts(
    session: Session, selection: Selection, page: PageRequest, *, live: bool
) -> Iterator[ListPage[AttemptRow]]:
    """Yield a page of the attempts of a selection's jobs, oldest first; an empty selection means all jobs, retired ones
    included. Rows are read within the block. NotFound as `select`."""
    chosen = None if selection.empty else selections.resolve_selection(session, selection)
    with session.store.read() as archive:
        found = archive.attempts.page(chosen, live, page.limit, page.offset)
        yield ListPage(_attempt_rows(archive, found), archive.attempts.count(chosen, live))


def attempt_rows(session: Session, attempts: Sequence[Attempt]) -> list[AttemptRow]:
    """Return attempts with what a list of attempts has, but without the names of their jobs."""
    with session.store.read() as archive:
        return list(_attempt_rows(archive, (("", one) for one in attempts)))


def _attempt_rows(archive: Snapshot, found: Iterator[tuple[str, Attempt]]) -> Iterator[AttemptRow]:
    while chunk := list(islice(found, _CHUNK_ROWS)):
        several = [one for _, one in chunk]
        counts = archive.subtasks.counts([one.id for one in several])
        retried = archive.reruns.retried(sorted({one.job for one in several}))
        retries = {attempt: why for _, attempt, why in retried if attempt is not None}
        folders = workdirs_in(archive, several)
        outputs = archive.fingerprints.partial([one.id for one in several])
        for name, one in chunk:
            yield AttemptRow(one, name, folders[one.id], counts, retries, outputs)


def reruns(session: Session, workflow: str | None, page: PageRequest) -> ListPage[tuple[RerunRecord, int]]:
    """Return a page of the applied reruns, newest first, each with the number of its jobs."""
    number = None if workflow is None else selections.find_workflow(session, workflow).id
    with session.store.read() as archive:
        found = archive.reruns.listing(number, page.limit, page.offset)
        return ListPage(iter(found), archive.reruns.count(number))


@contextmanager
def events(session: Session, workflow: str | None, page: PageRequest) -> Iterator[ListPage[LoggedEvent]]:
    """Yield a page of events, oldest first; `offset` skips the newest events. Rows are read within the block."""
    number = None if workflow is None else selections.find_workflow(session, workflow).id
    with session.store.read() as archive:
        found = archive.events.page(number, 0, page.limit, page.offset)
        yield ListPage(found, archive.events.count(number))
