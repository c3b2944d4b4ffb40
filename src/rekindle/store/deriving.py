"""States and unmet counts derived afresh from live attempts and edges, where pointers or edges have changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from rekindle.domain.lifecycle import derive_state
from rekindle.domain.states import State
from rekindle.store.database import Database
from rekindle.store.queries import as_set, load
from rekindle.store.queue import CountKey, add_counts
from rekindle.store.rowshape import STATES

SQL = load("deriving")


def derive_afresh(database: Database, jobs: Collection[int], *, counts: bool = True) -> None:
    """Give these jobs the states and unmet counts that follow. `jobs` holds every job whose live attempt or whose
    edges have changed, and the children of those whose attempt has. With `counts` false the caller counts afresh."""
    wanted = as_set(sorted(jobs))
    rows = database.rows(SQL["pointers"], jobs=wanted)
    own = {row[0]: row[7] for row in rows}
    unmet = dict.fromkeys(own, 0)
    for child, parent, state in database.rows(SQL["needs"], jobs=wanted):
        if own.get(parent, state) != State.COMPLETED:  # of those that are derived here, the attempt tells
            unmet[child] += 1
    changed = []
    deltas: Counter[CountKey] = Counter()
    for job, workflow, number, before, before_unmet, canceled, retired, attempt in rows:
        after = derive_state(None if attempt is None else STATES[attempt], canceled != 0, unmet[job])
        if (after, unmet[job]) == (before, before_unmet):
            continue
        changed.append((int(after), unmet[job], job))
        if not retired:
            deltas[workflow, number, before] -= 1
            deltas[workflow, number, after] += 1
    database.change_each(SQL["set_derived"], changed)
    if counts:
        add_counts(database, deltas)
