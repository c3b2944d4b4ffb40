"""Lists that may be long: one page of them, read row by row within one snapshot, in memory that does not grow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from rekindle.domain.models import Attempt, Event, Job, PartialOutput
from rekindle.domain.rerunning.rerun import Reason, RerunRecord
from rekindle.domain.selection import Selection
from rekindle.domain.states import State
from rekindle.engine.changes.reading import Tell
from rekindle.engine.looking import look
from rekindle.engine.looking.whereabouts import workdirs_in
from rekindle.engine.results import JobRow
from rekindle.engine.session import Session
from rekindle.store.port import Archive

Row = TypeVar("Row")

_CHUNK = 1_000
"""Attempts whose retries, folders and subtasks are read together."""


@dataclass(frozen=True, slots=True)
class Page:
    """Which rows of a list are wanted. `limit` None: all from `offset` on."""

    limit: int | None = None
    offset: int = 0

    def of(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Return the wanted ones of all rows."""
        return rows[self.offset : None if self.limit is None else self.offset + self.limit]


@dataclass(frozen=True, slots=True)
class Listed(Generic[Row]):
    """The rows of a page, which can be iterated over once, and how many rows the whole list has."""

    rows: Iterator[Row]
    total: int


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """An attempt in a list: its job's name and its working directory; and of it and of the attempts around it, how many
    subtasks of each step are in which state, which attempts are retries, and the partial outputs."""

    attempt: Attempt
    name: str
    workdir: str | None
    subtasks: Mapping[tuple[int, int], Mapping[State, int]]
    retries: Mapping[int, Reason]
    partial: Mapping[int, Sequence[PartialOutput]]


@contextmanager
def jobs(session: Session, selection: Selection, page: Page, tell: Tell | None = None) -> Iterator[Listed[JobRow]]:
    """Give a page of the jobs of a selection, by id; its rows are read within the block. NotFound as `look.select`."""
    chosen = look.chosen(session, selection, tell)
    with session.store.read() as archive:
        found = archive.jobs.listing(chosen, page.limit, page.offset)
        yield Listed(_job_rows(archive, found), archive.jobs.count(chosen))


def _job_rows(archive: Archive, found: Iterator[tuple[str, Job, Attempt | None]]) -> Iterator[JobRow]:
    partial, awaited = archive.subtasks.partial(None), archive.queue.awaited(None)
    resources = archive.jobs.resources({})
    for workflow, job, live in found:
        takes = resources.get(job.resource_class)
        if takes is None:
            resources |= archive.jobs.resources([job.resource_class])
            takes = resources[job.resource_class]
        yield JobRow(job, workflow, live, takes, job.id in partial, tuple(awaited.get(job.id, ())))


@contextmanager
def attempts(session: Session, selection: Selection, page: Page, *, live: bool) -> Iterator[Listed[AttemptRow]]:
    """Give a page of the attempts of a selection's jobs (of all, retired ones too, where it is empty), oldest first;
    its rows are read within the block. NotFound as `look.select`."""
    chosen = None if selection.empty else look.chosen(session, selection)
    with session.store.read() as archive:
        found = archive.attempts.page(chosen, live, page.limit, page.offset)
        yield Listed(_attempt_rows(archive, found), archive.attempts.count(chosen, live))


def _attempt_rows(archive: Archive, found: Iterator[tuple[str, Attempt]]) -> Iterator[AttemptRow]:
    while chunk := list(islice(found, _CHUNK)):
        several = [one for _, one in chunk]
        counts = archive.subtasks.counts([one.id for one in several])
        told = archive.reruns.retried(sorted({one.job for one in several}))
        retries = {attempt: why for _, attempt, why in told if attempt is not None}
        folders = workdirs_in(archive, several)
        partial = archive.fingerprints.partial([one.id for one in several])
        for name, one in chunk:
            yield AttemptRow(one, name, folders[one.id], counts, retries, partial)


def reruns(session: Session, workflow: str | None, page: Page) -> Listed[tuple[RerunRecord, int]]:
    """Return a page of the applied reruns, newest first, each with the number of jobs it touched."""
    number = None if workflow is None else look.find_workflow(session, workflow).id
    with session.store.read() as archive:
        found = archive.reruns.listing(number, page.limit, page.offset)
        return Listed(iter(found), archive.reruns.count(number))


def events(session: Session, workflow: str | None, page: Page) -> Listed[Event]:
    """Return a page of what happened, oldest first: the newest events of all but the `offset` newest."""
    number = None if workflow is None else look.find_workflow(session, workflow).id
    with session.store.read() as archive:
        found = archive.events.listing(number, 0, page.limit, page.offset)
        return Listed(iter(found), archive.events.count(number))
