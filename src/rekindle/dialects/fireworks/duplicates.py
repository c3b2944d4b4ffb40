"""Duplicates: a firework with a `_dupefinder` is not run where one that was given the same spec has completed.

As in FireWorks this is found out when it is launched: only then is known what those before it have changed in its
spec. What is rerun is run, whatever it is like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rekindle.dialects.fireworks.flows import Flow
from rekindle.dialects.fireworks.fwactions import done_by
from rekindle.domain.errors import NotFound, Problem, SpecError
from rekindle.domain.states import State

_EXACT, _EXACT_ONCE = "DupeFinderExact", "Dupe Finder Exact"
"""The finder that there is, and its name in old files."""


def done_alike(job: int, given: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the newest firework that was given this spec did, as one FWAction. None: there is none, or the launch does
    not know its store (see `stores`)."""
    from rekindle.dialects.fireworks.queries import select_fireworks
    from rekindle.dialects.fireworks.stored import specs
    from rekindle.dialects.fireworks.tasks.given import BadTask
    from rekindle.dialects.fireworks.tasks.stores import nearest_store
    from rekindle.engine.looking import look
    from rekindle.engine.session import open_session

    try:
        opened = open_session(nearest_store("the `_dupefinder`"), create=False)
    except (BadTask, NotFound):
        return None
    query = {"state": "COMPLETED", "spec._dupefinder": {"$exists": True}, "spec._tasks": given["_tasks"]}
    with opened as session:
        found = [row.job for row in look.jobs(session, select_fireworks(session, query)) if row.job.id != job]
        known = specs(session, found)
        alike = [one.id for one in found if known.get(one.id) == given]
        for attempt in reversed(look.attempts(session, alike, live=True) if alike else []):
            if attempt.state is State.COMPLETED:
                return done_by(attempt.steps)
    return None


def check_finders(flow: Flow, where: str) -> None:
    """SpecError names each finder that is not there; `where` stands for the file."""
    problems = [
        Problem(0, 0, f"the firework {one.id} has the `_dupefinder` {name!r:.60}", f"{_EXACT} is the one there is")
        for one in flow.fireworks
        if one.spec.get("_dupefinder") and (name := _finder(one.spec)) != _EXACT
    ]
    if problems:
        raise SpecError(where, problems)


def _finder(spec: Mapping[str, Any]) -> str:
    finder = spec["_dupefinder"]
    name = finder.get("_fw_name") if isinstance(finder, Mapping) else finder
    found = str(name).strip("{} ").rsplit(".", 1)[-1].rsplit("::", 1)[-1]
    return _EXACT if found == _EXACT_ONCE else found
