"""Compact the store's database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rekindle.domain.errors import Refused
from rekindle.engine.retention.prune import finish_removals
from rekindle.engine.retention.unfinished_imports import remove_unfinished_imports

if TYPE_CHECKING:
    from rekindle.engine.session import Session


def vacuum_store(session: Session) -> tuple[int, int]:
    """Give the free pages of the store's database back to the file system, after the files that an interrupted prune
    or import has left are removed. Return the database's bytes before and after. Refused while a runner has not
    ended."""
    with session.store.read() as archive:
        running = archive.runners.alive()
    if running:
        raise Refused(
            f"runner {running[0].id} works on the store, and could not write meanwhile",
            hint="wait for it, or end it: `rekindle status` names its process",
        )
    finish_removals(session)
    remove_unfinished_imports(session)
    return session.store.compact()
