"""Failures that wait for a decision, and the questions that judges are asked: each is answered once."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.judging import JUDGE, UNKNOWN
from rekindle.domain.models import ProcessIdentity
from rekindle.journal.encoding import from_json, json_reader, to_json
from rekindle.store.queries import as_set, load

if TYPE_CHECKING:
    from rekindle.store.database import Database

SQL = load("judgements")

_OWNER = json_reader(ProcessIdentity)


class Question(msgspec.Struct, frozen=True):
    """A question about a failed attempt. `token` is the same in each try. `owner` is the process that asks it, since
    `taken`; None: no process does. `starts`: how many have."""

    id: int
    workflow: int
    job: int
    name: str  # the job's
    attempt: int
    command: str | tuple[str, ...]
    token: str
    starts: int
    owner: ProcessIdentity | None
    taken: float | None
    directory: str  # the project's folder


class AskedQuestion(msgspec.Struct, frozen=True):
    """A question to ask."""

    workflow: int
    job: int
    attempt: int
    command: str | tuple[str, ...]


class Judgements:
    """Undecided failures and questions."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def known_signatures(self, digests: Collection[str], attempts: Collection[int]) -> set[str]:
        """Return which of these signatures are known: an attempt other than `attempts` has had it, and does not wait
        for a person because of it."""
        rows = self._db.rows(
            SQL["known_signatures"], digests=as_set(digests), attempts=as_set(attempts), unknown=UNKNOWN
        )
        return {digest for (digest,) in rows}

    def leave_undecided(self, attempts: Mapping[int, str]) -> None:
        """Set what failed attempts wait for."""
        self._db.change_each(SQL["set_undecided"], [(why, attempt) for attempt, why in attempts.items()])

    def decide(self, attempts: Iterable[int]) -> None:
        """Let failed attempts wait for nothing any more."""
        self._db.change(SQL["decide"], attempts=as_set(attempts))

    def undecided(self, jobs: Collection[int]) -> dict[int, tuple[int, str]]:
        """Return, by job, (live attempt, what it waits for) of the jobs whose failure waits for a decision."""
        rows = self._db.rows(SQL["undecided"], jobs=as_set(jobs))
        return {job: (attempt, why) for job, attempt, why in rows}

    def ask(self, questions: Sequence[AskedQuestion], now: float) -> None:
        """Add questions. Their attempts wait for the answers."""
        rows = [
            (one.workflow, one.job, one.attempt, to_json(one.command).decode(), os.urandom(16).hex(), now)
            for one in questions
        ]
        self._db.change_each(SQL["ask"], rows)
        self.leave_undecided({one.attempt: JUDGE for one in questions})

    def open(self, workflow: int | None) -> list[Question]:
        """Return the questions of one or all workflows without an answer, oldest first."""
        return [
            Question(
                row.id,
                row.workflow,
                row.job,
                row.name,
                row.attempt,
                command if isinstance(command := from_json(row.command), str) else tuple(command),
                row.token,
                row.starts,
                None if row.owner is None else _OWNER(row.owner),
                row.taken,
                self._db.paths.decode(row.directory),
            )
            for row in self._db.named_rows(SQL["open"], workflow=workflow)
        ]

    def count_open(self, workflow: int) -> int:
        """Return how many questions of a workflow have no answer."""
        return int(self._db.value(SQL["count_open"], workflow=workflow))

    def take(self, question: Question, owner: ProcessIdentity, now: float) -> bool:
        """Make a process the owner, unless another one has become it since `question` was read."""
        return bool(
            self._db.change(SQL["take"], id=question.id, owner=to_json(owner).decode(), now=now, starts=question.starts)
        )

    def give_back(self, question: Question) -> None:
        """Let another process ask a question that was taken."""
        self._db.change(SQL["give_back"], id=question.id, starts=question.starts + 1)

    def waits_for_judge(self, attempt: int) -> bool:
        """Return whether an attempt is live and waits for its judge."""
        return self._db.value(SQL["waits_for_judge"], attempt=attempt, judge=JUDGE) is not None

    def conclude(self, question: Question, answer: str, reason: str, now: float) -> bool:
        """Record the answer to a question that was taken as read. Return False if it has an answer, or another process
        has taken it since."""
        return bool(
            self._db.change(
                SQL["conclude"], id=question.id, starts=question.starts + 1, answer=answer, reason=reason, now=now
            )
        )
