"""What the screen reads from the store. Each function runs in the store's thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.errors import NotFound
from rekindle.engine.queries import lists, logs, selections, workflow_queries
from rekindle.engine.queries.details import JobDetails, job_details
from rekindle.engine.queries.job_table import job_window
from rekindle.engine.queries.log_reading import last_piece, log_size
from rekindle.engine.results import PageRequest
from rekindle.engine.running.reconcile import DeadRunnerWatch

if TYPE_CHECKING:
    from rekindle.domain.models import Attempt
    from rekindle.domain.selection import JobFilter, Selection
    from rekindle.engine.queries.job_table import JobWindow
    from rekindle.engine.results import LogFile, WorkflowStatus
    from rekindle.engine.session import Session
    from rekindle.tui.picked_jobs import PickedJobs

_MOST_FILES = 40


class Near(msgspec.Struct, frozen=True):
    """The part of a list of jobs to read: up to `above` jobs with ids below `job`, and up to `below` others. Without a
    job: the last `above` ones."""

    job: int | None
    above: int
    below: int


def statuses(session: Session, workflow: str | None) -> list[WorkflowStatus]:
    """Return the status of each workflow, or of one. Attempts of dead runners are resolved first if no runner is
    alive, as `rekindle status` does."""
    DeadRunnerWatch(session).look()
    return workflow_queries.status(session, workflow, specs=False)


def chosen_jobs(session: Session, selection: Selection) -> JobFilter:
    """Return the jobs of a filter, in the form that lists are read by. NotFound for what does not exist."""
    return selections.resolve_selection(session, selection)


def window(session: Session, chosen: JobFilter, near: Near, picked: PickedJobs) -> tuple[JobWindow, int]:
    """Return the jobs near one, and the number of picked jobs."""
    found = job_window(session, chosen, near.job, near.above, near.below)
    if picked.matching is None:
        return found, len(picked.ids)
    if not picked.ids:
        return found, found.total
    if chosen.ids is not None:
        return found, len(set(chosen.ids) - picked.ids)
    with lists.jobs(session, picked.selection, PageRequest(0)) as page:
        return found, page.total


def job(session: Session, number: int) -> JobDetails:
    """Return everything about a job. NotFound if it was deleted."""
    found = job_details(session, [number])
    if not found:
        raise NotFound(f"job {number} does not exist any more")
    return found[0]


class LogTail(msgspec.Struct, frozen=True):
    """The end of a log. `skipped`: the bytes before it."""

    heading: str
    text: str
    skipped: int


def log_tails(session: Session, job: int) -> tuple[Attempt, list[LogTail]]:
    """Return the newest attempt of a job, and the ends of the logs that are not empty. Of a fan-out, the items that
    failed come last, and few are shown. NotFound if it has not run."""
    attempt = logs.attempt_of(session, job)
    files = [*logs.log_files(session, job), *logs.item_log_files(session, job)]
    written = [one for one in files if log_size(one)]
    written.sort(key=lambda one: one.subtask is not None and one.subtask.cause is not None)
    return attempt, [_tail(one) for one in written[-_MOST_FILES:]]


def _tail(one: LogFile) -> LogTail:
    item = f" {one.subtask.index}" if one.subtask is not None else ""
    ended = f", {one.subtask.state.label}" if one.subtask is not None and one.subtask.cause is not None else ""
    piece = last_piece(one)
    text = piece.data.decode(errors="surrogateescape").strip("\n")
    return LogTail(f"{one.step}{item} {one.stream}{ended}", text, piece.start)
