"""History: attempts, their steps, and how they failed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec

from rekindle.domain.causes import Cause
from rekindle.domain.errors import UsageError
from rekindle.domain.models import Attempt, Earlier, Failure, FailureGroup, StepOutcome
from rekindle.domain.rerunning.costs import Past
from rekindle.domain.selection import Chosen
from rekindle.domain.signatures import headline
from rekindle.domain.states import State
from rekindle.domain.verdicts import Word
from rekindle.store.database import NO_LIMIT, Database, Row
from rekindle.store.past import past_of
from rekindle.store.predicates import compile_chosen
from rekindle.store.queries import Query, as_set, load
from rekindle.store.rowshape import CAUSES, STATES, attempt_of, step_of

SQL = load("attempts")

ATTEMPT_COLUMNS = SQL["attempt_columns"].text

_CHUNK = 1_000
"""Attempts whose steps are read together."""

BEYOND = "\U0010ffff"
"""Sorts behind every text that begins as what stands before it."""


class Attempts:
    """See rekindle.store.port.Attempts."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def listing(self, jobs: Sequence[int] | None, workflow: int | None, live: bool = False) -> list[Attempt]:
        if jobs is not None:
            wanted = as_set(jobs)
            rows = self._db.rows(SQL["attempts_of_jobs"], jobs=wanted, live=live)
            steps = self._db.rows(SQL["steps_of_jobs"], jobs=wanted, live=live)
            if workflow is not None:
                rows = [row for row in rows if row[2] == workflow]
        elif workflow is not None:
            rows = self._db.rows(SQL["attempts_of_workflow"], workflow=workflow, live=live)
            steps = self._db.rows(SQL["steps_of_workflow"], workflow=workflow, live=live)
        else:
            rows = self._db.rows(SQL["attempts_of_all"], live=live)
            steps = self._db.rows(SQL["steps_of_all"], live=live)
        return self._with_steps(rows, steps)

    def page(self, chosen: Chosen | None, live: bool, limit: int | None, offset: int) -> Iterator[tuple[str, Attempt]]:
        page = {"live": live, "limit": NO_LIMIT if limit is None else limit, "offset": offset}
        rows = self._of_chosen(SQL["attempts_page"], SQL["attempts_page_of_jobs"], chosen, page)
        while chunk := list(islice(rows, _CHUNK)):
            ids = as_set(row[1] for row in chunk)
            steps = _steps(self._db.rows(SQL["steps_of_attempts"], attempts=ids))
            for name, *row in chunk:
                yield name, attempt_of(tuple(row), self._db.paths, steps.get(row[0], ()))

    def count(self, chosen: Chosen | None, live: bool) -> int:
        rows = self._of_chosen(SQL["count_attempts"], SQL["count_attempts_of_jobs"], chosen, {"live": live})
        return int(next(rows)[0])

    def _of_chosen(
        self, of_all: Query, of_jobs: Query, chosen: Chosen | None, values: Mapping[str, Any]
    ) -> Iterator[Row]:
        if chosen is None:
            return self._db.stream(of_all.text, values)
        compiled = compile_chosen(chosen, "select_jobs", self._db.paths)
        text = of_jobs.text.replace("{jobs}", compiled.text)
        return self._db.stream(text, {**compiled.values, **values})

    def get(self, attempt: int) -> Attempt | None:
        rows = self._db.rows(SQL["attempt"], attempt=attempt)
        steps = self._db.rows(SQL["steps_of_attempts"], attempts=as_set([attempt]))
        return next(iter(self._with_steps(rows, steps)), None)

    def active(self, runner: int | None = None) -> list[Attempt]:
        rows = self._db.rows(SQL["active"]) if runner is None else self._active_of(runner)
        return [attempt_of(row, self._db.paths) for row in rows]

    def want_cancel(self, attempts: Sequence[int]) -> None:
        self._db.change(SQL["want_cancel"], attempts=as_set(attempts))

    def wanted_cancel(self, runner: int) -> list[tuple[int, str]]:
        return [(number, token) for number, token in self._db.rows(SQL["wanted_cancel"], runner=runner)]

    def interrupted(self, workflow: int) -> list[int]:
        return [row[0] for row in self._db.rows(SQL["interrupted"], workflow=workflow)]

    def some(self, attempts: Collection[int]) -> list[Attempt]:
        wanted = as_set(attempts)
        rows = self._db.rows(SQL["attempts_by_id"], attempts=wanted)
        return self._with_steps(rows, self._db.rows(SQL["steps_of_attempts"], attempts=wanted))

    def earlier(self, jobs: Sequence[int]) -> dict[int, Earlier]:
        found = {}
        for job, number, state, cause, *error in self._db.rows(SQL["earlier"], jobs=as_set(jobs)):
            failure = Failure(*(one or "" for one in error)) if STATES[state] is State.FAILED else None
            found[job] = Earlier(number, STATES[state], CAUSES[cause], failure)
        return found

    def failures(self, workflow: int | None, archived: bool = False) -> list[FailureGroup]:
        if workflow is None:
            rows = self._db.rows(SQL["failures"], archived=archived)
        else:
            rows = self._db.rows(SQL["failures_of_workflow"], workflow=workflow, archived=archived)
        kinds: dict[str, list[Row]] = {}
        for row in rows:
            kinds.setdefault(row[0], []).append(row)
        messages = raw_messages(self._db, [max(row[8] for row in alike) for alike in kinds.values()])
        groups = [_failure_group(alike, messages) for alike in kinds.values()]
        return sorted(groups, key=lambda group: (-group.count, group.signature))

    def found(self, workflow: int) -> dict[Word, int]:
        return {Word(word): n for word, n in self._db.rows(SQL["found"], workflow=workflow)}

    def signature(self, prefix: str) -> str | None:
        found = [row[0] for row in self._db.rows(SQL["signatures"], prefix=prefix, beyond=prefix + BEYOND)]
        if len(found) > 1 and prefix not in found:
            listed = ", ".join(found[:10]) + (" …" if len(found) > 10 else "")
            raise UsageError(f"several signatures begin with {prefix}: {listed}", hint="give more of its digits")
        return found[0] if found else None

    def past(self, jobs: Collection[int], resuming: Collection[int], cores: float) -> Past:
        return past_of(self._db, jobs, resuming, cores)

    def _active_of(self, runner: int) -> list[Row]:
        return self._db.rows(SQL["active_of_runner"], runner=runner)

    def _with_steps(self, rows: Sequence[Row], steps: Sequence[Row]) -> list[Attempt]:
        known = _steps(steps)
        return [attempt_of(row, self._db.paths, known.get(row[0], ())) for row in rows]


def live_attempts(database: Database, jobs: Sequence[int]) -> dict[int, Attempt]:
    """The live attempts (without steps) of jobs, by job."""
    rows = database.rows(SQL["live_of_jobs"], jobs=as_set(jobs))
    return {row[1]: attempt_of(row, database.paths) for row in rows}


def raw_messages(database: Database, attempts: Collection[int]) -> dict[int, tuple[int, str]]:
    """By attempt that failed: its job, and its message as it wrote it, in one line."""
    rows = database.rows(SQL["said"], attempts=as_set(attempts))
    return {row[0]: (row[1], headline(*(text or "" for text in row[2:]))[1]) for row in rows}


def _failure_group(rows: Sequence[Row], messages: Mapping[int, tuple[int, str]]) -> FailureGroup:
    """The rows of one signature, one for each host."""
    digest, cause, name, message, *_ = rows[0]
    hosts = sorted(((row[4], row[5]) for row in rows if row[4] is not None), key=lambda one: (-one[1], one[0]))
    newest = max(row[8] for row in rows)
    newest_job, newest_message = messages[newest]
    jobs = {job for row in rows for job in msgspec.json.decode(row[9], type=list[int])}
    return FailureGroup(
        digest,
        Cause(cause),
        name,
        message,
        count=sum(row[5] for row in rows),
        jobs=tuple(sorted(jobs)),
        first=min((row[6] for row in rows if row[6] is not None), default=None),
        last=max((row[7] for row in rows if row[7] is not None), default=None),
        hosts=tuple(hosts),
        newest=newest,
        newest_job=newest_job,
        newest_message=newest_message,
    )


def _steps(rows: Sequence[Row]) -> dict[int, list[StepOutcome]]:
    found: dict[int, list[StepOutcome]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(step_of(row))
    return found
