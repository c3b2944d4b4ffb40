"""What a runner removes while it works: temporary outputs that no job needs any more, and cached outputs above the
bound of the content store."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection
from typing import TYPE_CHECKING

from rekindle.engine.retention.cache import plan_prune, prune
from rekindle.engine.retention.temporary import TemporaryRemover
from rekindle.files.store_files import cache_limit
from rekindle.journal.content_store import ContentStore

if TYPE_CHECKING:
    from rekindle.engine.session import Session
    from rekindle.store.archive import Snapshot

TRIM_SECONDS = 30.0
"""Seconds between two looks at the size of the content store. Until the next one, it may be above its bound."""

_TRIM_TO = 0.9  # of the bound: so that it is not reached again at once


class Cleanup:
    """Removes what is not needed any more, in the thread of a runner between two iterations."""

    def __init__(self, session: Session) -> None:
        """Raise BadValue if $REKINDLE_CACHE_SIZE is no size."""
        self._session, self._limit = session, cache_limit(os.environ)
        self._temporary_outputs = TemporaryRemover(session)
        self._due = 0.0  # monotonic: the next look at the content store
        self._fits = 0  # the total with which everything fitted: contents that attempts share count for each

    def note_templates(self, archive: Snapshot, ended: Collection[int]) -> None:
        """Read whether there are templates with temporary outputs since the last look, if jobs have ended."""
        self._temporary_outputs.note_templates(archive, ended)

    def look(self, ended: Collection[int]) -> None:
        """Remove what the jobs that have just ended were the last to need, and, if it is time to look, what is too
        much. `ended`: these jobs."""
        self._temporary_outputs.look(ended)
        if ended and time.monotonic() >= self._due:
            self._due = time.monotonic() + TRIM_SECONDS
            self._trim_cache()

    def finish(self) -> None:
        """At the end of a run: remove all of that, also what others have left, and wait for it."""
        self._temporary_outputs.finish()
        self._trim_cache()

    def _trim_cache(self) -> None:
        """Remove the least recently used outputs if the content store is above its bound."""
        with self._session.store.read() as archive:
            total = archive.cached_outputs.total()
        if total <= max(self._limit, self._fits):
            return
        size = sum(one.size for one in ContentStore(self._session.store.folder).contents())
        if size <= self._limit:
            self._fits = total + (self._limit - size)
            return
        with contextlib.suppress(OSError):  # tried again at the next look
            prune(self._session, plan_prune(self._session, max_size=int(self._limit * _TRIM_TO)))
