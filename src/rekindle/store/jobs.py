"""Looking at jobs, and the flags beside their states."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rekindle.domain.definition import Resources
from rekindle.domain.models import Attempt, Failure, Job, JobFlags, Needed
from rekindle.domain.selection import Chosen, Predicate
from rekindle.store.attempts import ATTEMPT_COLUMNS, live_attempts
from rekindle.store.database import NO_LIMIT, Database, Row
from rekindle.store.predicates import compile_chosen, compile_selection
from rekindle.store.queries import as_set, load
from rekindle.store.rowshape import STATES, attempt_of, job_of, resources_of, verdict_of

SQL = load("jobs")

_LIVE = 1 + len(Job._fields)
"""Where the columns of the live attempt begin in a row of `list_jobs`."""


class Jobs:
    """See rekindle.store.port.Jobs."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def select(self, where: Predicate, workflow: int | None, retired: bool = False) -> list[int]:
        compiled = compile_selection(where, workflow, self._db.paths, retired)
        return [row[0] for row in self._db.select(compiled.text, compiled.values)]

    def listing(self, chosen: Chosen, limit: int | None, offset: int) -> Iterator[tuple[str, Job, Attempt | None]]:
        compiled = compile_chosen(chosen, "list_jobs", self._db.paths)
        text = compiled.text.replace("{columns}", f"{SQL['job_columns'].text}, {ATTEMPT_COLUMNS}")
        page = {"limit": NO_LIMIT if limit is None else limit, "offset": offset}
        paths = self._db.paths
        for row in self._db.stream(text, {**compiled.values, **page}):
            live = row[_LIVE:]
            yield row[0], job_of(row[1:_LIVE], paths), None if live[0] is None else attempt_of(live, paths)

    def count(self, chosen: Chosen) -> int:
        compiled = compile_chosen(chosen, "count_jobs", self._db.paths)
        return int(self._db.select(compiled.text, compiled.values)[0][0])

    def named(self, keys: Sequence[int | str], workflow: int | None) -> dict[int | str, list[int]]:
        ids = as_set(key for key in keys if isinstance(key, int))
        names = as_set(key for key in keys if isinstance(key, str))
        if workflow is None:
            by_id = self._db.rows(SQL["ids_that_exist"], jobs=ids)
            by_name = self._db.rows(SQL["named"], names=names)
        else:
            by_id = self._db.rows(SQL["ids_in_workflow"], jobs=ids, workflow=workflow)
            by_name = self._db.rows(SQL["named_in_workflow"], names=names, workflow=workflow)
        found: dict[int | str, list[int]] = {number: [number] for (number,) in by_id}
        for gone in (0, 1):  # a retired job is meant only where no other has the name
            fresh: dict[int | str, list[int]] = {}
            for name, number, retired in by_name:
                if retired == gone and name not in found:
                    fresh.setdefault(name, []).append(number)
            found |= fresh
        return found

    def templates(self, workflow: int | None) -> list[str]:
        rows = self._db.rows(SQL["template_names"], workflow=workflow)
        return [name for (name,) in rows]

    def get(self, ids: Sequence[int]) -> list[Job]:
        rows = self._db.rows(SQL["jobs_by_id"], jobs=as_set(ids))
        known = {row[0]: job_of(row, self._db.paths) for row in rows}
        return [known[number] for number in ids if number in known]

    def flags(self, ids: Sequence[int]) -> Iterator[JobFlags]:
        for number, workflow, name, state, taken, held, retired, attempt in self._db.stream(
            SQL["flags"].text, {"jobs": as_set(ids)}
        ):
            yield JobFlags(number, workflow, name, STATES[state], taken, held, retired != 0, attempt)

    def workflows(self, ids: Sequence[int]) -> list[int]:
        return [row[0] for row in self._db.rows(SQL["workflows_of"], jobs=as_set(ids))]

    def live(self, ids: Sequence[int]) -> dict[int, Attempt]:
        return live_attempts(self._db, ids)

    def hold(self, ids: Sequence[int], reason: str | None) -> None:
        self._db.change(SQL["hold"], jobs=as_set(ids), reason=reason)

    def held_back(self, workflow: int | None) -> dict[str, int]:
        if workflow is None:
            return dict(self._db.rows(SQL["held_back"]))
        return dict(self._db.rows(SQL["held_back_in_workflow"], workflow=workflow))

    def cancel(self, ids: Sequence[int]) -> None:
        self._db.change(SQL["cancel"], jobs=as_set(ids))

    def parents(self, ids: Sequence[int]) -> dict[int, list[int]]:
        return _grouped(self._db.rows(SQL["parents"], jobs=as_set(ids)), ids)

    def children(self, ids: Sequence[int]) -> dict[int, list[int]]:
        return _grouped(self._db.rows(SQL["children"], jobs=as_set(ids)), ids)

    def resources(self, classes: Iterable[int]) -> dict[int, Resources]:
        return known_resources(self._db, set(classes))

    def upstream(self, ids: Sequence[int]) -> dict[int, list[Needed]]:
        found: dict[int, list[Needed]] = {}
        for child, name, result, job, attempt, state, number, word, message, *error in self._db.rows(
            SQL["upstream"], jobs=as_set(ids)
        ):
            verdict = verdict_of(word, message)
            failure = None if error[0] is None else Failure(*(one or "" for one in error))
            found.setdefault(child, []).append(
                Needed(name, result, job, attempt, STATES[state], number, verdict, failure)
            )
        return found


def known_resources(database: Database, classes: set[int]) -> dict[int, Resources]:
    """What resource classes take; each is read once."""
    missing = classes - database.resources.keys()
    if missing:
        for number, *taken in database.rows(SQL["resources"], classes=as_set(missing)):
            database.resources[number] = resources_of(tuple(taken))
    return {number: database.resources[number] for number in classes}


def _grouped(rows: Sequence[Row], ids: Sequence[int]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {number: [] for number in ids}
    for number, other in rows:
        found[number].append(other)
    return found
