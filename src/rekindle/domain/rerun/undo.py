"""Undo: the job pointers that a rerun changes, and what prevents restoring them. States are derived from pointers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from rekindle.domain.errors import UndoRefused
from rekindle.domain.next_attempt import DEFAULT_NEXT_ATTEMPT, NextAttempt

if TYPE_CHECKING:
    from rekindle.domain.rerun.plan import PlannedJob
    from rekindle.domain.rerun.views import JobView


class JobPointers(msgspec.Struct, frozen=True):
    """The pointers of a job that a rerun changes and undo restores."""

    attempt: int | None = None
    held: str | None = None
    canceled: bool = False
    next: NextAttempt = DEFAULT_NEXT_ATTEMPT


class UndoConflicts(msgspec.Struct, frozen=True):
    """What may prevent undoing a rerun."""

    started: Sequence[str]  # its jobs that have a live attempt other than the one it archived, by id
    touched: Mapping[str, Sequence[int]]  # the newer reruns in force of its jobs, by name


_NAMED = 5


def refuse_undo(conflicts: UndoConflicts) -> None:
    """Raise UndoRefused, naming the jobs, if a later rerun in force touched any job of a rerun, or if any has started
    since."""
    refuse_if_touched_later(conflicts)
    if conflicts.started:
        verb = "has" if len(conflicts.started) == 1 else "have"
        raise UndoRefused(
            f"{_names(conflicts.started)} {verb} started since the rerun",
            hint="the earlier attempts are kept: rekindle attempts list",
        )


def refuse_if_touched_later(conflicts: UndoConflicts) -> None:
    """Raise UndoRefused, naming the jobs, if a later rerun in force touched any job of a rerun. An accepted change has
    no other check, since it resets nothing."""
    if conflicts.touched:
        newest = max(rerun for reruns in conflicts.touched.values() for rerun in reruns)
        raise UndoRefused(
            f"rerun {newest} came later and touched {_names([*conflicts.touched])}",
            hint=f"undo {newest} first: rekindle undo {newest}",
        )


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"


def pointers_before(view: JobView) -> JobPointers:
    """Return a job's pointers before a plan is applied."""
    return JobPointers(view.attempt.id if view.attempt else None, view.held, view.canceled, view.next)


def pointers_after(job: PlannedJob, before: JobPointers) -> JobPointers:
    """Return a job's pointers after a plan is applied. A hold stays unless the plan changes it."""
    held = None if job.releases else job.holds or before.held
    return replace(before, held=held) if job.stays else JobPointers(held=held, next=job.next)
