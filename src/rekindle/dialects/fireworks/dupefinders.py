"""What a launch does with a `_dupefinder`: find a completed launch of a firework that is alike."""

from __future__ import annotations

import sys
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
    from rekindle.engine.session import Session


def duplicate_action(session: Session, job: int, spec: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the FWAction of the newest launch that completed a firework with the same spec, or with one that a user's
    duplicate finder takes for the same; None without one.

    As in FireWorks duplicates are found at launch, when the changes of earlier fireworks are known. A firework that has
    completed before takes only what began since."""
    own = job_queries.attempts(session, [job])
    since = max((one.ended or 0 for one in own if one.state is State.COMPLETED), default=None)
    finder = _Finder(spec)
    known = select_fireworks(session, {"$and": [{"state": "COMPLETED"}, finder.query()]})
    specs = current_specs(session, [row.job for row in job_queries.jobs(session, known) if row.job.id != job])
    for attempt in reversed(job_queries.attempts(session, list(specs), live=True) if specs else []):
        if attempt.state is not State.COMPLETED or not finder.verifies(specs[attempt.job]):
            continue
        shared = shared_launch(attempt)
        if since is None or _began(session, shared) >= since:
            return {**combined_action(attempt.steps), SHARED_LAUNCH: shared}
    return None


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


def _began(session: Session, launch: int) -> float:
    """Return when a launch started; 0 if it was deleted with its workflow."""
    try:
        return job_queries.attempt(session, launch).started or 0
    except NotFound:
        return 0


def report_finder(name: str) -> None:
    """End the process with the reason, if there is no such duplicate finder."""
    try:
        find_dupefinder(name)
    except BadTask as error:
        sys.exit(error.message)
