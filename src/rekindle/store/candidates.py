"""Jobs that a selection may match: SQL narrows them, and Python decides on each, the same for every database.

A candidate is one row of a query from rekindle.store.predicates. What few decisions need (attempts, changed
parameters, earlier errors) is read when first used, for many candidates at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from rekindle.domain.next_attempt import DEFAULT_NEXT_ATTEMPT, NextAttempt
from rekindle.journal.encoding import from_json
from rekindle.store.queries import Row, ValueSet, as_set, load
from rekindle.store.rows import STATES, attempt_of, next_attempt_of, step_of

if TYPE_CHECKING:
    from rekindle.domain.models import Attempt
    from rekindle.domain.states import State
    from rekindle.store.database import Database

SQL = load("candidates")
ATTEMPTS = load("attempts")


class AttemptTimes(msgspec.Struct, frozen=True, gc=False):
    """An attempt, with the last of the times when it was queued, started and ended."""

    id: int
    archived: bool
    last: float | None


class JobRecord:
    """A job, for the functions that decide on it or make a document of it. Its row begins with the id and the values
    that the query was extended by, and ends with the columns of the other properties, where the query has them."""

    __slots__ = ("_binding", "_chunk", "row")

    def __init__(self, row: Row, chunk: _Chunk) -> None:
        self.row = row
        self._chunk = chunk
        self._binding: dict[str, Any] | None = None

    @property
    def id(self) -> int:
        """The job's id."""
        number: int = self.row[0]
        return number

    @property
    def state(self) -> State:
        """The job's state."""
        return STATES[self.row[-4]]

    @property
    def held(self) -> str | None:
        """The reason for holding the job."""
        reason: str | None = self.row[-3]
        return reason

    @property
    def archived(self) -> bool:
        """Whether its workflow is archived."""
        return self.row[-2] is not None

    @property
    def binding(self) -> dict[str, Any]:
        """The job's matrix values."""
        if self._binding is None:
            self._binding = from_json(self.row[-1])
        return self._binding

    @property
    def params(self) -> Mapping[str, Any]:
        """The parameters of the workflow's latest revision, with the dynamic changes in force."""
        return self.effective_params(self.row[-6], self.row[-5])

    def effective_params(self, workflow: int, revision: int) -> Mapping[str, Any]:
        """Return the parameters of a revision, with the dynamic changes in force."""
        params, changes = self._chunk.params(workflow, revision), self._chunk.changes.get(self.row[0])
        if not changes:
            return params
        from rekindle.domain.actions import effective_params

        return effective_params(params, changes)

    @property
    def errors(self) -> Sequence[Row]:
        """The error texts of all its attempts."""
        return self._chunk.errors.get(self.row[0], ())

    @property
    def history(self) -> Sequence[AttemptTimes]:
        """Its attempts, oldest first, with few columns."""
        return self._chunk.history.get(self.row[0], ())

    @property
    def attempts(self) -> Sequence[Attempt]:
        """Its attempts with their steps, oldest first."""
        return self._chunk.attempts.get(self.row[0], ())

    @property
    def next(self) -> NextAttempt:
        """What its next attempt does."""
        return self._chunk.next_attempts.get(self.row[0], DEFAULT_NEXT_ATTEMPT)

    def runner_name(self, runner: int | None) -> str | None:
        """Return the label of the runner of one of its attempts, or the runner's host."""
        return self._chunk.runners.get(runner)


Decide: TypeAlias = Callable[[JobRecord], Any]


class Candidates(msgspec.Struct, frozen=True):
    """A query for jobs, and what decides on each of its rows; None if the query alone decides."""

    text: str
    values: Mapping[str, Any]
    decide: Decide | None = None


def find_records(database: Database, found: Candidates) -> Iterator[JobRecord]:
    """Yield the jobs that match, in the order of the query. Reading them after the block raises BlockEnded."""
    known: dict[tuple[int, int], dict[str, Any]] = {}
    for rows in database.batches(found.text, found.values):
        chunk = _Chunk(database, rows, known)
        records = [JobRecord(row, chunk) for row in rows]
        yield from records if found.decide is None else filter(found.decide, records)


def find_jobs(database: Database, found: Candidates) -> Iterator[int]:
    """Yield the ids of the jobs that match, in the order of the query."""
    if found.decide is None:
        return (row[0] for row in database.stream(found.text, found.values))
    return (record.row[0] for record in find_records(database, found))


class _Chunk:
    """Candidates that are read together. `known`: the parameters of workflows by id and revision."""

    def __init__(self, database: Database, rows: Sequence[Row], known: dict[tuple[int, int], dict[str, Any]]) -> None:
        self._db = database
        self._rows = rows
        self._known = known

    def params(self, workflow: int, revision: int) -> dict[str, Any]:
        key = workflow, revision
        if key not in self._known:
            self._known[key] = from_json(self._db.value(SQL["params"], workflow=workflow, revision=revision))
        return self._known[key]

    @cached_property
    def changes(self) -> dict[int, list[Any]]:
        if self._db.value(SQL["any_change"]) is None:
            return {}
        from rekindle.domain.actions import SET

        return _grouped(
            (row[0], change[SET]) for row in self._read(SQL["changes"]) if SET in (change := from_json(row[1]))
        )

    @cached_property
    def errors(self) -> dict[int, list[Row]]:
        return _grouped((row[0], row[1:]) for row in self._read(SQL["errors"]))

    @cached_property
    def history(self) -> dict[int, list[AttemptTimes]]:
        return _grouped((row[0], AttemptTimes(*row[1:])) for row in self._read(SQL["history"]))

    @cached_property
    def attempts(self) -> dict[int, list[Attempt]]:
        steps = _grouped((row[0], step_of(row)) for row in self._read(ATTEMPTS["steps_of_jobs"], live=False))
        rows = self._read(ATTEMPTS["attempts_of_jobs"], live=False)
        found = (attempt_of(row, self._db.paths, steps.get(row[0], ())) for row in rows)
        return _grouped((attempt.job, attempt) for attempt in found)

    @cached_property
    def next_attempts(self) -> dict[int, NextAttempt]:
        return {row[0]: next_attempt_of(row[1], self._db.paths) for row in self._read(SQL["next_attempts"])}

    @cached_property
    def runners(self) -> dict[int | None, str]:
        wanted = {attempt.runner for attempts in self.attempts.values() for attempt in attempts}
        return dict(self._db.rows(SQL["runners"], runners=as_set(one for one in wanted if one is not None)))

    @cached_property
    def _ids(self) -> ValueSet:
        return as_set(row[0] for row in self._rows)

    def _read(self, query: Any, **values: Any) -> list[Row]:
        return self._db.rows(query, jobs=self._ids, **values)


def _grouped(pairs: Iterator[tuple[int, Any]]) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found
