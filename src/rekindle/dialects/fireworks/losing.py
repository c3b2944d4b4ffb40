"""Launches of which the process is gone, and of which nobody has told: found, and taken in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rekindle.dialects.fireworks.queries import Filter, select_fireworks
from rekindle.dialects.fireworks.words import DEFUSED
from rekindle.engine.looking import look
from rekindle.engine.rerunning import control
from rekindle.engine.running import reconciling
from rekindle.engine.session import Session


@dataclass(frozen=True, slots=True)
class Gone:
    """What has become of fireworks that stand as running, and that no runner sees to. Lost: (fw_id, launch_id)."""

    lost: dict[int, int]
    finished: frozenset[int]  # have come to an end, which the store does not know of yet


def gone(session: Session) -> Gone:
    """Looked for, and nothing changed."""
    active = select_fireworks(session, {"state": {"$in": ["RESERVED", "RUNNING"]}})
    if not active:
        return Gone({}, frozenset())
    found = reconciling.plan_reattach(session, active).jobs
    attempts = {row.job.id: row.job.attempt or 0 for row in look.jobs(session, active)}
    return Gone(
        {one.id: attempts[one.id] for one in found if one.found == "gone"},
        frozenset(one.id for one in found if one.found == "finished"),
    )


def restricted(
    session: Session, ids: Sequence[int], query: Filter | None = None, launch_query: Filter | None = None
) -> set[int]:
    """Those for which these filters are, over fireworks and over launches."""
    wanted = set(ids)
    if query is not None:
        wanted &= set(select_fireworks(session, query))
    if launch_query is not None:
        wanted &= set(select_fireworks(session, launch_query, launches=True))
    return wanted


def aged(session: Session, ids: set[int], least: float, most: float | None = None) -> set[int]:
    """Those whose launches began so many seconds ago."""
    now = session.clock()
    found = set()
    for attempt in look.attempts(session, sorted(ids), live=True) if ids else ():
        age = now - (attempt.started or attempt.queued or now)
        if age >= least and (most is None or age <= most):
            found.add(attempt.job)
    return found


def take_in(session: Session, ids: Sequence[int]) -> None:
    """Record what has become of these: what finished has, what is lost fizzles and runs again."""
    reconciling.reattach(session, ids)


def fizzle(session: Session, ids: Sequence[int]) -> None:
    """The same, but what is lost does not run again."""
    free = [row.job.id for row in look.jobs(session, ids) if row.job.held is None]
    control.hold(session, free, DEFUSED)  # what is held does not run again by itself
    try:
        take_in(session, ids)
    finally:
        control.release(session, free)
