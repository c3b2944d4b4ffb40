"""A selection as a condition on jobs: for whoever wants to know of jobs that are not there yet, too."""

from __future__ import annotations

from rekindle.domain.selection import AnyOf, Compare, Every, Op, Predicate, Selection
from rekindle.engine.looking.look import selected
from rekindle.engine.session import Session


def condition(session: Session, selection: Selection) -> Predicate | None:
    """What holds for the jobs that are meant, as they come; None: for all. What is named must be there (NotFound, see
    look.select); patterns take in the jobs that are added later."""
    parts: list[Predicate] = []
    if selection.jobs:
        parts.append(_named(session, selection))
    if selection.where != Every():
        parts.append(selection.where)
    return Every(tuple(parts)) if parts else None


def _named(session: Session, selection: Selection) -> Predicate:
    with session.store.read() as archive:
        known = archive.jobs.named(selection.jobs, None)
        patterns = [key for key in selection.jobs if isinstance(key, str) and key not in known and set(key) & set("*?")]
        exact = tuple(key for key in selection.jobs if key not in patterns)
        ids = selected(archive, Selection(workflow=selection.workflow, jobs=exact)) if exact else []
    parts: list[Predicate] = [Compare("name", Op.GLOB, pattern) for pattern in patterns]
    if ids:
        parts.append(Compare("id", Op.IN, tuple(ids)))
    return AnyOf(tuple(parts))
