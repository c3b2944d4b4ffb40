"""Canaries: which jobs run first, and which wait for them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from rekindle.domain.batches.canaries import Canary, Choice, Group, Outcome, Struck
from rekindle.domain.errors import PlanOutdated
from rekindle.domain.rerunning.naming import named
from rekindle.domain.rerunning.rerun import How
from rekindle.store.database import Database, Row
from rekindle.store.queries import as_set, load
from rekindle.store.rowshape import STATES

SQL = load("canaries")

_HOW = msgspec.json.Decoder(How)
_ENCODER = msgspec.json.Encoder()


class Canaries:
    """See rekindle.store.port_canaries.Canaries."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def struck(self, jobs: Collection[int]) -> list[Struck]:
        return [Struck(*row) for row in self._db.rows(SQL["struck"], jobs=as_set(jobs))]

    def begin(self, rerun: int, choices: Sequence[Choice]) -> None:
        for one in choices:
            self.leave([job for job, _ in one.waits])
            how = _ENCODER.encode(one.how).decode()
            values = {"rerun": rerun, "workflow": one.workflow, "signature": one.signature, "how": how}
            group = self._db.insert(SQL["insert_group"], **values)
            rows: list[Row] = [(group, "canary", job, None) for job, _ in one.canaries]
            rows += [(group, "waits", job, attempt) for job, attempt in one.waits]
            self._db.change_each(SQL["insert_canary"], rows)
            if moved := self._db.rows(SQL["moved"], canary_group=group):
                verb = "has" if len(moved) == 1 else "have"
                raise PlanOutdated(
                    f"{named(row[0] for row in moved)} {verb} moved since the plan was made",
                    hint="plan the rerun again",
                )

    def open(self) -> list[Group]:
        rows = self._db.rows(SQL["open"])
        return self._groups(rows, counted=False) if rows else []

    def waiting(self, group: int) -> tuple[list[int], How]:
        jobs = [row[0] for row in self._db.rows(SQL["waiting"], canary_group=group)]
        return jobs, _HOW.decode(self._db.value(SQL["how"], canary_group=group))

    def decide(self, group: int, outcome: Outcome, why: str, released: int | None, now: float) -> None:
        values = {"outcome": outcome.value, "why": why, "released": released, "now": now}
        self._db.change(SQL["decide"], canary_group=group, **values)

    def drop(self, rerun: int, now: float) -> None:
        self._db.change(SQL["drop"], rerun=rerun, now=now)

    def leave(self, jobs: Collection[int]) -> None:
        self._db.change(SQL["leave"], jobs=as_set(jobs))

    def of_rerun(self, rerun: int) -> list[Group]:
        return self._groups(self._db.rows(SQL["of_rerun"], rerun=rerun))

    def of_workflow(self, workflow: int) -> list[Group]:
        found = self._groups(self._db.rows(SQL["of_workflow"], workflow=workflow))
        return [one for one in found if one.outcome is None or one.waiting]

    def of_jobs(self, jobs: Collection[int]) -> dict[int, Group]:
        rows = self._db.rows(SQL["of_jobs"], jobs=as_set(jobs))
        found = self._groups(self._db.rows(SQL["groups"], groups=as_set({group for _, group in rows})))
        known = {one.id: one for one in found}
        return {job: known[group] for job, group in rows}

    def decided(self, workflow: int | None, since: float) -> list[Group]:
        return self._groups(self._db.rows(SQL["decided"], workflow=workflow, since=since))

    def _groups(self, rows: Sequence[Row], *, counted: bool = True) -> list[Group]:
        groups = as_set(row[0] for row in rows)
        counts = self._db.rows(SQL["how_many_wait"], groups=groups) if rows and counted else []
        waiting: dict[int, int] = dict(counts)
        canaries: dict[int, list[Canary]] = {}
        for group, job, name, state, held, retired, digest in self._db.rows(SQL["canaries"], groups=groups):
            canaries.setdefault(group, []).append(Canary(job, name, STATES[state], held, retired != 0, digest))
        return [_group(row, tuple(canaries.get(row[0], ())), waiting.get(row[0], 0)) for row in rows]


def _group(row: Row, canaries: tuple[Canary, ...], waiting: int) -> Group:
    number, rerun, workflow, signature, kind, message, outcome, why, released, ended = row
    return Group(
        number,
        rerun,
        workflow,
        signature,
        kind,
        message,
        canaries,
        waiting,
        None if outcome is None else Outcome(outcome),
        why or "",
        released,
        ended,
    )
