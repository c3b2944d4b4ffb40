"""Jobs that need others only finished (`when: finished`): what counts as that, and whom it concerns.

Where there are no such jobs, all of this costs one look at an empty index.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from rekindle.domain.finishing import given_up
from rekindle.store.database import Database
from rekindle.store.queries import as_set, load

SQL = load("finishing")


@dataclass(frozen=True, slots=True)
class Concerned:
    """Who may be concerned when it changes whether jobs are finished: `jobs` need them only finished, some perhaps over
    `between`, idle jobs that they could no longer reach."""

    jobs: frozenset[int] = frozenset()
    between: frozenset[int] = frozenset()


def there_are(database: Database, jobs: Collection[int]) -> bool:
    """The workflows of some jobs have any that need others only finished."""
    return bool(jobs) and bool(database.value(SQL["there_are"], jobs=as_set(sorted(jobs))))


def concerned(database: Database, jobs: Collection[int]) -> Concerned:
    """Who may be concerned by how these jobs stand."""
    if not there_are(database, jobs):
        return Concerned()
    rows = database.rows(SQL["below"], jobs=as_set(sorted(jobs)))
    return Concerned(frozenset(row[0] for row in rows if row[2]), frozenset(row[0] for row in rows if row[1]))


def given_up_among(database: Database, jobs: Collection[int]) -> set[int]:
    """Those of these jobs that have failed, were canceled, or can no longer be reached; by their attempts."""
    wanted = as_set(sorted(jobs))
    rows = database.rows(SQL["standing_above"], jobs=wanted)
    children: dict[int, list[int]] = {}
    for parent, child in database.rows(SQL["edges_above"], jobs=wanted):
        children.setdefault(parent, []).append(child)
    idle = {row[0] for row in rows if row[1]}
    return given_up((row[0] for row in rows if row[2]), idle, children) & set(jobs)
