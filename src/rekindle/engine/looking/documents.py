"""Looking at jobs and workflows as documents, for who asks in another system's shapes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from rekindle.domain.documents.shapes import Shape
from rekindle.domain.selection import Predicate
from rekindle.engine.session import Session
from rekindle.store.port_documents import Outlined


def holding(session: Session, where: Predicate) -> list[int]:
    """The ids of the jobs for which that holds. Archived workflows and retired jobs are left out unless it speaks of
    them."""
    with session.store.read() as archive:
        return archive.jobs.select(where, None)


def documents(
    session: Session, document: Shape, where: Predicate, jobs: Collection[int] | None = None
) -> list[tuple[int, Any]]:
    """The same, each with its document; with `jobs` of those among these."""
    with session.store.read() as archive:
        return archive.documents.of_jobs(document, where, jobs)


def outlines(session: Session, param: str) -> list[Outlined]:
    """The workflows that have a parameter of this name, archived ones too, with the jobs of each."""
    with session.store.read() as archive:
        return archive.documents.outlines(param)
