"""Remove the files that imports have left whose processes were killed. `rekindle import`, `rekindle store vacuum` and
the deletion of the last workflow do it first; `rekindle store check` names what is there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rekindle.domain.errors import Refused
from rekindle.journal.import_drafts import PART_SECONDS, forget, forget_parts, remove_files, unfinished
from rekindle.store.bundles import has_imported

if TYPE_CHECKING:
    from rekindle.engine.session import Session


def remove_unfinished_imports(session: Session) -> int:
    """Remove the files of imports that have died before their rows were committed; of the others, their records. Return
    the number of the former. Raise Refused if a file cannot be removed: the next time goes on."""
    count, store = 0, session.store.folder
    for draft in unfinished(store):
        with session.store.read() as archive:
            imported = has_imported(archive.database, draft.token, draft.first if draft.count else None)
        if not imported:
            try:
                remove_files(store, draft)
            except OSError as error:
                raise Refused(
                    f"{error.filename} is left of an import that was killed, and cannot be removed: {error.strerror}",
                    hint="mend that; the next `rekindle import` or `rekindle store vacuum` goes on",
                ) from error
            count += 1
        forget(store, draft)
    forget_parts(store, time.time() - PART_SECONDS)
    return count
