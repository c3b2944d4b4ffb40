"""Whether a rerun can be taken back, and which pointers come back when it is. States are derived from them."""

from __future__ import annotations

from collections.abc import Sequence

from rekindle.domain.errors import UndoRefused
from rekindle.domain.rerunning.rerun import Pointers, UndoView

Restore = tuple[int, int, Pointers, tuple[int, ...]]
"""(job, its version now, the pointers it had, the attempts that become live again)."""

_NAMED = 5


def decide_undo(views: Sequence[UndoView]) -> list[Restore]:
    """What to write for each job of a rerun, by id. UndoRefused, naming the jobs, when a later rerun that stands
    has touched any of them, or when any has started since."""
    jobs = sorted(views, key=lambda view: view.id)
    refuse_later(jobs)
    started = [view for view in jobs if view.attempt not in (None, view.restore.attempt)]
    if started:
        verb = "has" if len(started) == 1 else "have"
        raise UndoRefused(
            f"{_names(started)} {verb} started since the rerun",
            hint="what has started cannot be taken back; `rekindle attempts list` shows the earlier attempts",
        )
    return [(view.id, view.version, view.restore, view.archives) for view in jobs]


def refuse_later(views: Sequence[UndoView]) -> None:
    """UndoRefused, naming the jobs, when a later rerun that stands has touched any of them. It is all that keeps an
    `accept` from being taken back, which has reset nothing."""
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
