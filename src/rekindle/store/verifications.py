"""Verifications: how attempts that were made again aside compared with what is recorded of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from rekindle.domain.batches.flakiness import Verification, VerifiedWord
from rekindle.journal.encoding import from_json, to_json
from rekindle.store.queries import as_set, load

if TYPE_CHECKING:
    from rekindle.store.database import Database

SQL = load("verifications")


class Verifications:
    """The verifications of attempts."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, attempt: int, at: float, outcome: VerifiedWord, detail: Mapping[str, Any]) -> None:
        """Record how an attempt came out aside. `detail`: why, as the command prints it."""
        self._db.change_each(SQL["add"], [(attempt, at, outcome, to_json(dict(detail)).decode())])

    def newest(self, jobs: Collection[int]) -> dict[int, Verification]:
        """Return the newest verification of each of these jobs that has any."""
        return {
            row.job: Verification(row.attempt, row.at, row.outcome, from_json(row.detail))
            for row in self._db.named_rows(SQL["of_jobs"], jobs=as_set(jobs))
        }
