"""Hooks of workflows, and their deliveries: each event of each run once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.definition import Hook
from rekindle.domain.models import ProcessIdentity
from rekindle.journal.encoding import json_reader, to_json
from rekindle.store.queries import load

if TYPE_CHECKING:
    from rekindle.store.database import Database

SQL = load("hooks")

_HOOKS = json_reader(tuple[Hook, ...])
_HOOK = json_reader(Hook)
_OWNER = json_reader(ProcessIdentity)


class Delivery(msgspec.Struct, frozen=True):
    """A hook to run for an event. `token` is the same in each try. `owner` is the process that runs it, since `taken`;
    None: no process does."""

    id: int
    workflow: int
    directory: str
    token: str
    hook: Hook
    document: str  # JSON
    starts: int
    owner: ProcessIdentity | None
    taken: float | None


class Hooks:
    """Hooks and their deliveries."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def of_workflows(self, workflow: int | None) -> dict[int, tuple[Hook, ...]]:
        """Return the hooks of one or all workflows that are not archived, without those that have none."""
        return {row.id: _HOOKS(row.hooks) for row in self._db.named_rows(SQL["hooks"], workflow=workflow)}

    def run_to_end(self, workflow: int) -> int | None:
        """Return the newest live attempt of a workflow, which identifies a run. Return None if the end of that run is
        recorded, or nothing has run since the workflow has hooks."""
        found: int | None = self._db.value(SQL["run_to_end"], workflow=workflow)
        return found

    def add(
        self,
        workflow: int,
        attempt: int,
        hook: Hook,
        document: Mapping[str, Any],
        now: float,
        result: str | None = None,
    ) -> None:
        """Add a delivery for an event of the run that `attempt` identifies, if there is none. A delivery of `finished`
        records the end of the run; with a `result`, nothing is delivered."""
        token = os.urandom(16).hex()
        self._db.change(
            SQL["add"],
            workflow=workflow,
            attempt=attempt,
            event=hook.event,
            token=token,
            hook=to_json(hook).decode(),
            document=to_json({**document, "delivery": token}).decode(),
            now=now,
            result=result,
        )

    def pending(self, workflow: int | None) -> list[Delivery]:
        """Return the deliveries of one or all workflows without a result, oldest first."""
        return [self._delivery(row) for row in self._db.named_rows(SQL["pending"], workflow=workflow)]

    def take(self, delivery: Delivery, owner: ProcessIdentity, now: float) -> bool:
        """Make a process the owner, unless another one has become it since `delivery` was read."""
        return bool(
            self._db.change(SQL["take"], id=delivery.id, owner=to_json(owner).decode(), now=now, starts=delivery.starts)
        )

    def conclude(self, delivery: int, result: str, now: float) -> None:
        """Record the result of a delivery."""
        self._db.change(SQL["conclude"], id=delivery, result=result, now=now)

    def _delivery(self, row: Any) -> Delivery:
        return Delivery(
            row.id,
            row.workflow,
            self._db.paths.decode(row.directory),
            row.token,
            _HOOK(row.hook),
            row.document,
            row.starts,
            None if row.owner is None else _OWNER(row.owner),
            row.taken,
        )
