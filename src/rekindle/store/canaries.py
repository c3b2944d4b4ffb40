"""Canaries: groups of failed jobs: a few run first, the rest once those have passed.

See rekindle.domain.batches.canaries. A job waits only while its live attempt is the one it had when the group was
made: a reset of the job takes it out of the group.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.batches.canaries import Canary, CanaryChoice, CanaryGroup, FailedJob, GroupOutcome
from rekindle.domain.errors import PlanOutdated
from rekindle.domain.rerun.request import How
from rekindle.domain.texts.display import list_names
from rekindle.journal.encoding import json_reader
from rekindle.store.queries import Row, as_set, load
from rekindle.store.rows import STATES

if TYPE_CHECKING:
    from rekindle.store.database import Database

SQL = load("canaries")

_HOW = json_reader(How)
_ENCODER = msgspec.json.Encoder()


class Canaries:
    """Canary groups, their canaries, and the jobs that wait for them."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def failed(self, jobs: Collection[int]) -> list[FailedJob]:
        """Return those of these jobs that have failed."""
        return [FailedJob(**row._asdict()) for row in self._db.named_rows(SQL["failed"], jobs=as_set(jobs))]

    def begin(self, rerun: int, choices: Sequence[CanaryChoice]) -> None:
        """Insert the groups whose canaries a rerun has reset. Their other jobs wait for these canaries only.

        Raise PlanOutdated, naming the jobs, if jobs that should wait have changed since the groups were chosen.
        """
        for one in choices:
            self.stop_waiting([job for job, _ in one.waits])
            how = _ENCODER.encode(one.how).decode()
            group = self._db.insert(
                SQL["insert_group"], rerun=rerun, workflow=one.workflow, signature=one.signature, how=how
            )
            rows: list[Row] = [(group, "canary", job, None) for job, _ in one.canaries]
            rows += [(group, "waits", job, attempt) for job, attempt in one.waits]
            self._db.change_each(SQL["insert_canary"], rows)
            if moved := self._db.rows(SQL["moved"], canary_group=group):
                verb = "has" if len(moved) == 1 else "have"
                raise PlanOutdated(
                    f"{list_names(row[0] for row in moved)} {verb} moved since the plan was made",
                    hint="plan the rerun again",
                )

    def open(self) -> list[CanaryGroup]:
        """Return the undecided groups, without the numbers of waiting jobs."""
        return self._groups(self._db.named_rows(SQL["open"]), counted=False)

    def waiting(self, group: int) -> tuple[list[int], How]:
        """Return the waiting jobs of a group, and how to rerun them."""
        jobs = [row[0] for row in self._db.rows(SQL["waiting"], canary_group=group)]
        return jobs, _HOW(self._db.value(SQL["how"], canary_group=group))

    def decide(self, group: int, outcome: GroupOutcome, why: str, released: int | None, now: float) -> None:
        """Record the outcome of a group; `released` is the rerun of the waiting jobs, if any."""
        values = {"outcome": outcome.value, "why": why, "released": released, "now": now}
        self._db.change(SQL["decide"], canary_group=group, **values)

    def drop(self, rerun: int, now: float) -> None:
        """Drop the groups of a rerun that was undone."""
        self._db.change(SQL["drop"], rerun=rerun, now=now)

    def stop_waiting(self, jobs: Collection[int]) -> None:
        """Take these jobs out of the groups that they wait in."""
        self._db.change(SQL["stop_waiting"], jobs=as_set(jobs))

    def of_rerun(self, rerun: int) -> list[CanaryGroup]:
        """Return the groups whose canaries a rerun ran."""
        return self._groups(self._db.named_rows(SQL["of_rerun"], rerun=rerun))

    def of_workflow(self, workflow: int) -> list[CanaryGroup]:
        """Return the undecided groups, and the stopped groups with jobs that still wait."""
        found = self._groups(self._db.named_rows(SQL["of_workflow"], workflow=workflow))
        return [one for one in found if one.outcome is None or one.waiting]

    def of_jobs(self, jobs: Collection[int]) -> dict[int, CanaryGroup]:
        """Return the group in which each job waits, or would wait if the group had not been stopped."""
        rows = self._db.rows(SQL["of_jobs"], jobs=as_set(jobs))
        if not rows:
            return {}
        found = self._groups(self._db.named_rows(SQL["groups"], groups=as_set({group for _, group in rows})))
        known = {one.id: one for one in found}
        return {job: known[group] for job, group in rows}

    def decided(self, workflow: int | None, since: float) -> list[CanaryGroup]:
        """Return the groups that were decided since, those of undone reruns included."""
        return self._groups(self._db.named_rows(SQL["decided"], workflow=workflow, since=since))

    def _groups(self, rows: Sequence[Any], *, counted: bool = True) -> list[CanaryGroup]:
        if not rows:
            return []
        groups = as_set(row.id for row in rows)
        counts = self._db.rows(SQL["count_waiting"], groups=groups) if counted else []
        waiting: dict[int, int] = dict(counts)
        canaries: dict[int, list[Canary]] = {}
        for row in self._db.named_rows(SQL["canaries"], groups=groups):
            canaries.setdefault(row.canary_group, []).append(
                Canary(row.id, row.name, STATES[row.state], row.held, row.retired != 0, row.digest)
            )
        return [_group(row, tuple(canaries.get(row.id, ())), waiting.get(row.id, 0)) for row in rows]


def _group(row: Any, canaries: tuple[Canary, ...], waiting: int) -> CanaryGroup:
    return CanaryGroup(
        row.id,
        row.rerun,
        row.workflow,
        row.digest,
        row.type,
        row.message,
        canaries,
        waiting,
        None if row.outcome is None else GroupOutcome(row.outcome),
        row.why or "",
        row.released,
        row.ended,
    )
