"""A selection as a condition on jobs: for whoever wants to know of jobs that are not there yet, too."""

from __future__ import annotations

from collections.abc import Sequence

from rekindle.domain.selection import AnyOf, Compare, Every, Key, Op, Predicate, Selection
from rekindle.engine.looking.look import selected
from rekindle.engine.session import Session
from rekindle.query.words import has_wildcard


def condition(session: Session, selection: Selection) -> Predicate | None:
    """What holds for the jobs that are meant, as they come; None: for all. What is named must be there (NotFound, see
    look.select); patterns take in the jobs that are added later."""
    named = (selection.jobs, *selection.also)
    parts: list[Predicate] = [_named(session, selection.workflow, keys) for keys in named if keys]
    if selection.where != Every():
        parts.append(selection.where)
    return Every(tuple(parts)) if parts else None


def _named(session: Session, workflow: str | None, keys: Sequence[Key]) -> Predicate:
    with session.store.read() as archive:
        wild = [key for key in keys if isinstance(key, str) and has_wildcard(key)]
        known = archive.jobs.named(wild, None)
        patterns = [key for key in wild if key not in known]
        exact = tuple(key for key in keys if key not in patterns)
        ids = selected(archive, Selection(workflow=workflow, jobs=exact), session.note) if exact else []
    parts: list[Predicate] = [Compare("name", Op.GLOB, pattern) for pattern in patterns]
    if ids:
        parts.append(Compare("id", Op.IN, tuple(ids)))
    return AnyOf(tuple(parts))
