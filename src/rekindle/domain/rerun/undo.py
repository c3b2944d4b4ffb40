"""Undo: the job pointers that a rerun changes, and what prevents restoring them. States are derived from pointers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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

    started: Sequence[str]  # its jobs that have run a live attempt other than the one it archived, by id
    touched: Mapping[str, Sequence[int]]  # the newer reruns in force of its jobs, by name
    # attempts that it asked to cancel and that have completed, with the names of their jobs
    completed: Mapping[int, str] = msgspec.field(default_factory=dict)
    # its jobs, by name, that an earlier attempt has completed since without running (0: one that was deleted)
    reused: Mapping[str, int] = msgspec.field(default_factory=dict)


_NAMED = 5


def refuse_undo(conflicts: UndoConflicts) -> None:
    """Raise UndoRefused, naming the jobs, if a later rerun in force touched any job of a rerun, or if any has started,
    or was completed by an earlier attempt, since."""
    refuse_if_touched_later(conflicts)
    happened = []
    if conflicts.started:
        happened.append(f"{_names(conflicts.started)} {_verb(conflicts.started, 'has', 'have')} started")
    if conflicts.reused:
        sources = [str(number) for number in dict.fromkeys(conflicts.reused.values()) if number]
        which = f"attempt{'s' * (len(sources) > 1)} {_listed(sources)}" if sources else "attempts that were deleted"
        was = _verb(conflicts.reused, "was", "were")
        happened.append(f"{_names([*conflicts.reused])} {was} reused from {which}")
    if happened:
        raise UndoRefused(
            f"{', and '.join(happened)} since the rerun",
            hint="the earlier attempts are kept: rekindle attempts list",
        )


def _verb(names: Collection[str], one: str, several: str) -> str:
    return one if len(names) == 1 else several


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
    return _listed([f"`{name}`" for name in names])


def _listed(words: Sequence[str]) -> str:
    shown = ", ".join(words[:_NAMED])
    return shown if len(words) <= _NAMED else f"{shown} and {len(words) - _NAMED} more"


def pointers_before(view: JobView) -> JobPointers:
    """Return a job's pointers before a plan is applied."""
    return JobPointers(view.attempt.id if view.attempt else None, view.held, view.canceled, view.next)


def pointers_after(job: PlannedJob, before: JobPointers) -> JobPointers:
    """Return a job's pointers after a plan is applied. A hold stays unless the plan changes it."""
    held = None if job.releases else job.holds or before.held
    return replace(before, held=held) if job.stays else JobPointers(held=held, next=job.next)
