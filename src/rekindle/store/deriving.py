"""States and unmet counts derived afresh from live attempts and edges, where pointers or edges have changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from rekindle.domain.lifecycle import derive_state
from rekindle.domain.states import State
from rekindle.store.counts import CountKey, add_counts
from rekindle.store.database import Database
from rekindle.store.finishing import concerned, given_up_among
from rekindle.store.queries import as_set, load
from rekindle.store.rowshape import STATES

SQL = load("deriving")


def derive_afresh(database: Database, jobs: Collection[int], *, counts: bool = True) -> None:
    """Give these jobs, and those for which what changed of them counts as finished or does so no more, the states and
    unmet counts that follow. `jobs` holds every job whose live attempt, edges or `when` have changed, and the children
    of those whose attempt has. With `counts` false the caller counts `jobs` afresh."""
    wanted = as_set(sorted({*jobs, *concerned(database, jobs).jobs}))
    rows = database.rows(SQL["pointers"], jobs=wanted)
    own = {row[0]: row[7] for row in rows}
    lenient = {row[0] for row in rows if row[8]}
    needs = database.rows(SQL["needs"], jobs=wanted)
    hopeless = given_up_among(database, {parent for child, parent, _ in needs if child in lenient}) if lenient else ()
    unmet = dict.fromkeys(own, 0)
    for child, parent, state in needs:
        if child in lenient and parent in hopeless:
            continue
        if own.get(parent, state) != State.COMPLETED:  # of those that are derived here, the attempt tells
            unmet[child] += 1
    changed = []
    deltas: Counter[CountKey] = Counter()
    uncounted = frozenset[int]() if counts else set(jobs)
    for job, workflow, number, before, before_unmet, canceled, retired, attempt, _ in rows:
        after = derive_state(None if attempt is None else STATES[attempt], canceled != 0, unmet[job])
        if (after, unmet[job]) == (before, before_unmet):
            continue
        changed.append((int(after), unmet[job], job))
        if not retired and job not in uncounted:
            deltas[workflow, number, before] -= 1
            deltas[workflow, number, after] += 1
    database.change_each(SQL["set_derived"], changed)
    add_counts(database, deltas)
