"""Undo: the job pointers that a rerun changes, and whether they can be restored. States are derived from pointers."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from rekindle.domain.errors import UndoRefused
from rekindle.domain.next_attempt import DEFAULT_NEXT_ATTEMPT, NextAttempt
from rekindle.domain.rerun.plan import JobView, PlannedJob, SavedFile
from rekindle.domain.states import State


class JobPointers(msgspec.Struct, frozen=True):
    """The pointers of a job that a rerun changes and undo restores."""

    attempt: int | None = None
    held: str | None = None
    canceled: bool = False
    next: NextAttempt = DEFAULT_NEXT_ATTEMPT


class UndoView(msgspec.Struct, frozen=True):
    """A job of a rerun, as undo reads it."""

    id: int
    name: str
    version: int
    state: State
    attempt: int | None  # the live attempt now; not None: the job has started since the rerun
    restore: JobPointers
    restored_state: State | None  # of the restored attempt; None: no attempt is restored
    archives: tuple[int, ...] = ()
    later_reruns: tuple[int, ...] = ()  # newer reruns of the same job that are not undone
    saved: tuple[SavedFile, ...] = ()  # the files that undo restores


RestoredJob = tuple[int, int, JobPointers, tuple[int, ...]]
"""(job, its current version, its restored pointers, the attempts that become live again)."""


_NAMED = 5


def decide_undo(views: Sequence[UndoView]) -> list[RestoredJob]:
    """Return what to write for each job of a rerun, by id.

    Raise UndoRefused, naming the jobs, if a later rerun in force touched any of them, or if any has started since."""
    jobs = sorted(views, key=lambda view: view.id)
    refuse_if_touched_later(jobs)
    started = [view for view in jobs if view.attempt not in (None, view.restore.attempt)]
    if started:
        verb = "has" if len(started) == 1 else "have"
        raise UndoRefused(
            f"{_names(started)} {verb} started since the rerun",
            hint="the earlier attempts are kept: rekindle attempts list",
        )
    return [(view.id, view.version, view.restore, view.archives) for view in jobs]


def refuse_if_touched_later(views: Sequence[UndoView]) -> None:
    """Raise UndoRefused, naming the jobs, if a later rerun in force touched any of them. An accepted change has no
    other check, since it resets nothing."""
    later = [view for view in views if view.later_reruns]
    if later:
        newest = max(rerun for view in later for rerun in view.later_reruns)
        raise UndoRefused(
            f"rerun {newest} came later and touched {_names(later)}",
            hint=f"undo {newest} first: rekindle undo {newest}",
        )


def _names(views: Sequence[UndoView]) -> str:
    shown = ", ".join(f"`{view.name}`" for view in views[:_NAMED])
    return shown if len(views) <= _NAMED else f"{shown} and {len(views) - _NAMED} more"


def pointers_before(view: JobView) -> JobPointers:
    """Return a job's pointers before a plan is applied."""
    return JobPointers(view.attempt.id if view.attempt else None, view.held, view.canceled, view.next)


def pointers_after(job: PlannedJob, before: JobPointers) -> JobPointers:
    """Return a job's pointers after a plan is applied. A hold stays unless the plan changes it."""
    held = None if job.releases else job.holds or before.held
    return replace(before, held=held) if job.stays else JobPointers(held=held, next=job.next)
