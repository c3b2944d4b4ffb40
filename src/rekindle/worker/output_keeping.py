"""Keep the outputs of completed attempts in the content store, for jobs with `cache: true`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rekindle.domain.errors import BadValue
from rekindle.files.store_files import cache_limit, is_fully_durable
from rekindle.journal.records import CachedOutputs

if TYPE_CHECKING:
    from rekindle.domain.changes.fingerprints import FileContent
    from rekindle.files.digests import FileReader, OnRead
    from rekindle.journal.orders import TaskTemplate


def keep_outputs(
    template: TaskTemplate,
    attempt: int,
    outputs: Sequence[FileContent],
    reader: FileReader,
    on_read: OnRead | None = None,
) -> CachedOutputs | None:
    """Keep what an attempt has left, before its end is journaled: until then nothing else writes its outputs. Return
    what is kept, or why nothing is, which never fails the attempt; None if its job has no `cache: true`.

    `outputs`: its fingerprint; `reader`: has read them; `on_read`: see `journal/kept_outputs.py:keep_outputs`."""
    if not (template.cache and outputs):
        return None
    from rekindle.journal import kept_outputs  # lazy: most jobs keep nothing
    from rekindle.journal.content_store import ContentStore

    try:
        store = ContentStore(template.store, durable=is_fully_durable(os.environ))
        kept = kept_outputs.keep_outputs(store, attempt, outputs, reader, cache_limit(os.environ), on_read)
    except kept_outputs.CannotKeep as error:
        return CachedOutputs(problem=str(error))
    except (OSError, BadValue) as error:
        return CachedOutputs(problem=str(error.strerror or error) if isinstance(error, OSError) else str(error))
    return CachedOutputs(len(kept.contents), sum(kept.contents.values()))
