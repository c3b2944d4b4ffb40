"""What a launch does with a `_dupefinder`: find a completed launch of a firework that is alike."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rekindle.dialects.fireworks.duplicates import EXACT, SHARED_LAUNCH, WITH_FINDER, finder_name, shared_launch
from rekindle.dialects.fireworks.queries import select_fireworks
from rekindle.dialects.fireworks.spec_changes import combined_action
from rekindle.dialects.fireworks.stored_fireworks import current_specs
from rekindle.dialects.fireworks.tasks.task_parameters import BadTask
from rekindle.dialects.fireworks.tasks.user_tasks import find_dupefinder
from rekindle.domain.errors import NotFound
from rekindle.domain.states import State
from rekindle.engine.queries import job_queries

if TYPE_CHECKING:
    from rekindle.domain.models import Attempt
    from rekindle.engine.session import Session


def duplicate_action(session: Session, job: int, spec: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the FWAction of the newest launch that completed a firework with the same spec, or with one that a user's
    duplicate finder takes for the same; None without one. Wait for such launches that were reserved before this one.

    As in FireWorks duplicates are found at launch, when the changes of earlier fireworks are known. A firework that has
    completed before takes only what began since."""
    own = job_queries.attempts(session, [job])
    since = max((one.ended or 0 for one in own if one.state is State.COMPLETED), default=0)
    finder, this, begun, pause = _Finder(spec), max(one.id for one in own), time.monotonic(), 0.05
    while True:
        idle = time.monotonic() - begun > _RESERVED_SECONDS
        waits = False
        for attempt in reversed(_alike(session, job, finder)):
            shared = shared_launch(attempt)
            if since and _began(session, attempt, shared) < since:
                continue
            if attempt.state is State.COMPLETED:
                return {**combined_action(attempt.steps), SHARED_LAUNCH: shared}
            waits |= attempt.id < this and not (idle and attempt.state is State.QUEUED)
        if not waits:
            return None
        time.sleep(pause)
        pause = min(2 * pause, _PAUSE_SECONDS)


_RESERVED_SECONDS = 30.0
"""Wait at most this long for a launch that was reserved earlier and does not start: it may be behind this one."""

_PAUSE_SECONDS = 1.0
"""The longest time between two looks."""


def _alike(session: Session, job: int, finder: _Finder) -> list[Attempt]:
    """Return the live launches, oldest first, of fireworks that are alike and have completed, run or are reserved."""
    states = {"state": {"$in": ["COMPLETED", "RUNNING", "RESERVED"]}}
    known = select_fireworks(session, {"$and": [states, finder.query()]})
    specs = current_specs(session, [row.job for row in job_queries.jobs(session, known) if row.job.id != job])
    alike = [number for number, spec in specs.items() if finder.verifies(spec)]
    return job_queries.attempts(session, alike, live=True) if alike else []


class _Finder:
    """The duplicate finder of a spec. A user's class may lack `query` (all launched fireworks are compared) or `verify`
    (its query decides)."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._spec = spec
        self._own: Any = None
        if (name := finder_name(spec)) != EXACT:
            self._own = find_dupefinder(name)()

    def query(self) -> Mapping[str, Any]:
        """Return the filter for fireworks that may be alike."""
        if self._own is None:
            return {**WITH_FINDER, "spec._tasks": self._spec["_tasks"]}
        found: Mapping[str, Any] | None = _implemented(self._own, "query", dict(self._spec))
        return {"launches": {"$ne": []}} if found is None else found

    def verifies(self, spec: Mapping[str, Any]) -> bool:
        """Return whether this spec is alike."""
        if self._own is None:
            return spec == self._spec
        found = _implemented(self._own, "verify", dict(self._spec), dict(spec))
        return True if found is None else bool(found)


def _implemented(finder: Any, name: str, *arguments: object) -> Any:
    """Return what a method of a user's class returns, or None if the class does not implement the method."""
    method = getattr(finder, name, None)
    if method is None:
        return None
    try:
        found = method(*arguments)
    except NotImplementedError:
        return None
    return False if found is None else found


def _began(session: Session, attempt: Attempt, shared: int | str) -> float:
    """Return when the launch that an attempt shares began, or was reserved; 0 if it was deleted with its workflow."""
    try:
        found = job_queries.attempt(session, shared) if isinstance(shared, int) else attempt
    except NotFound:
        return 0
    return found.started or found.queued or 0


def report_finder(name: str) -> None:
    """End the process with the reason, if there is no such duplicate finder."""
    try:
        find_dupefinder(name)
    except BadTask as error:
        sys.exit(error.message)
