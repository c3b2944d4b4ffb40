"""Duplicates: fireworks with a `_dupefinder`, which take the action of a launch that has completed instead of running.

A duplicate has a launch of its own, whose first result names the shared launch. Fireworks that share a launch are rerun
together."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from rekindle.dialects.fireworks.spec_changes import combined_action
from rekindle.domain.errors import BadValue, NotFound, SpecError, SpecProblem
from rekindle.engine.queries import job_queries

if TYPE_CHECKING:
    from rekindle.dialects.fireworks.flow import Flow
    from rekindle.dialects.fireworks.stored_fireworks import StoredFirework
    from rekindle.domain.models import Attempt
    from rekindle.engine.session import Session

EXACT, _OLD_EXACT = "DupeFinderExact", "Dupe Finder Exact"
"""The built-in duplicate finder, and its name in old files."""

SHARED_LAUNCH = "_duplicate_of"
"""The key in a result with the launch that fireworks share: in that of a duplicate its id, in imported ones a text."""

WITH_FINDER: Mapping[str, Any] = {"spec._dupefinder": {"$exists": True}}
"""The filter for fireworks that look for duplicates."""


def finder_name(spec: Mapping[str, Any]) -> str:
    """Return the name of the `_dupefinder` of a spec: `DupeFinderExact`, or that of a user's class."""
    finder = spec["_dupefinder"]
    name = str(finder.get("_fw_name") if isinstance(finder, Mapping) else finder).strip("{} ")
    module, _, last = name.replace("::", ".").replace(":", ".").rpartition(".")
    return EXACT if last in (EXACT, _OLD_EXACT) and module.partition(".")[0] in ("", "fireworks") else name


def check_dupefinders(flow: Flow, where: str, directory: str) -> None:
    """Raise SpecError for each `_dupefinder` that is not found. `where` names the file. Users' classes are imported in
    a process of their own, from `directory` and the installed packages, as in launches."""
    problems = []
    for one in flow.fireworks:
        if one.spec.get("_dupefinder") and (name := finder_name(one.spec)) != EXACT:
            try:
                _import_finder(name, directory)
            except BadValue as wrong:
                said = f"the firework {one.id} has the `_dupefinder` {name!r:.60}: {wrong.message}"
                problems.append(SpecProblem(0, 0, said, _HINT))
    if problems:
        raise SpecError(where, problems)


_HINT = f"{EXACT}, or {{{{module.Class}}}} with a method `verify(self, spec1, spec2)` or `query(self, spec)`"
_SEARCH = (
    "import sys; sys.path.insert(0, ''); "
    "from rekindle.dialects.fireworks.dupefinders import report_finder; report_finder(sys.argv[1])"
)
_SEARCH_SECONDS = 120


@lru_cache(maxsize=64)
def _import_finder(name: str, directory: str) -> None:
    """Import a duplicate finder. Raises BadValue, which is not cached, if that fails."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _SEARCH, name],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SEARCH_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BadValue(f"it could not be imported within {_SEARCH_SECONDS} s") from None
    if done.returncode != 0:
        raise BadValue((done.stderr.strip().splitlines() or ["it could not be imported"])[-1][:300])


def shared_launch(attempt: Attempt) -> int | str:
    """Return the launch that a live attempt shares with its duplicates: its own, or the one that it duplicates. An
    imported one has MongoDB's id."""
    shared: int | str = combined_action(attempt.steps).get(SHARED_LAUNCH, attempt.id)
    return shared


def find_sharing(session: Session, fireworks: Sequence[StoredFirework]) -> dict[int, StoredFirework]:
    """Return the other fireworks, of all workflows, that share a launch with one of these that has a `_dupefinder`:
    each by its id with that one."""
    from rekindle.dialects.fireworks.queries import select_fireworks

    given = {one.id: one for one in fireworks}
    named = [one.id for one in fireworks if "_dupefinder" in one.job.binding]
    if not named:
        return {}
    launches = {shared_launch(at): given[at.job] for at in job_queries.attempts(session, named, live=True)}
    known = select_fireworks(session, WITH_FINDER)
    every = job_queries.attempts(session, known, live=True) if known else []
    every += [one for one in map(partial(_live_attempt, session), launches) if one is not None]
    return {
        at.job: launches[shared_launch(at)] for at in every if at.job not in given and shared_launch(at) in launches
    }


def _live_attempt(session: Session, number: int | str) -> Attempt | None:
    """Return an attempt that is not archived: the first of those that share a launch may have no `_dupefinder`."""
    if isinstance(number, str):
        return None
    try:
        found = job_queries.attempt(session, number)
    except NotFound:
        return None
    return found if found.archived_by is None else None
