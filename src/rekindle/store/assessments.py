"""Blocks of a workflow's jobs: what changes when a job of a block moves, and what was found when the block was last
compared with the present."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from rekindle.store.queries import load

if TYPE_CHECKING:
    from rekindle.store.database import Database

SQL = load("assessments")

BLOCK = 4096
"""Job ids in a block."""


class BlockState(msgspec.Struct, frozen=True, gc=False):
    """What changes when a job of a block moves: each change of what a plan reads raises a version, and each attempt has
    a new id. So equal states mean that nothing has moved."""

    jobs: int
    versions: int
    attempts: int
    when_finished: bool  # a job of the block may start once its parents have finished


class BlockAttempt(msgspec.Struct, frozen=True, gc=False):
    """A job whose live attempt has ended."""

    job: int
    attempt: int
    version: int


class FoundBlock(msgspec.Struct, frozen=True, gc=False):
    """What was found of a block."""

    block: int
    basis: str
    document: bytes


class Assessments:
    """What was found when blocks of jobs were compared with the present."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def blocks(self, workflow: int) -> dict[int, BlockState]:
        """Return the state of each block of a workflow's jobs."""
        lowest, highest = self._db.row(SQL["job_ids"], workflow=workflow) or (None, None)
        if lowest is None:
            return {}
        rows = self._db.rows(SQL["blocks"], workflow=workflow, lowest=lowest, highest=highest, size=BLOCK)
        return {row[0]: BlockState(row[1], row[2], row[3], row[4] != 0) for row in rows}

    def ended(self, workflow: int, block: int) -> list[BlockAttempt]:
        """Return the jobs of a block whose live attempt has ended; retired ones are left out."""
        lowest = block * BLOCK
        rows = self._db.rows(SQL["ended"], workflow=workflow, lowest=lowest, highest=lowest + BLOCK - 1)
        return [BlockAttempt(*row) for row in rows]

    def found(self, workflow: int) -> Iterator[FoundBlock]:
        """Yield what was found of the blocks of a workflow."""
        for block, basis, document in self._db.stream(self._db.text(SQL["found"]), {"workflow": workflow}):
            yield FoundBlock(block, basis, bytes(document))

    def put(self, workflow: int, found: Iterable[FoundBlock]) -> None:
        """Store what was found of blocks."""
        self._db.change_each(SQL["put"], [(workflow, one.block, one.basis, one.document) for one in found])
