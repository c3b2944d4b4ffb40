"""Encode and decode the rows of applied plans. Each row has its encoder and its decoder here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.errors import RefusedJob
from rekindle.domain.rerun.plan import (
    Columns,
    ExpectedCost,
    JobSet,
    OverrideChange,
    PlannedJob,
    PlannedJobs,
    Reason,
    RerunPlan,
    RerunRecord,
    set_of,
)
from rekindle.domain.rerun.plan_json import rolled_back_from_json
from rekindle.domain.rerun.views import OWN
from rekindle.journal.encoding import from_json, json_reader, to_json
from rekindle.store.paths import with_reasons, with_request
from rekindle.store.rows import STATES, next_attempt_of, next_attempt_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rekindle.store.queries import Row
    from rekindle.store.stored_paths import StoredPaths

_CHANGES = json_reader(tuple[OverrideChange, ...])
_REASONS = json_reader(tuple[Reason, ...])

Restored = tuple[str | None, int, str | None]
"""What undo restores of a job beside its attempt: the columns `held`, `canceled` and `next_attempt`."""

NOTHING_TO_RESTORE: Restored = (None, 0, None)


def json_text(value: Any) -> str:
    """Return a value as JSON text."""
    return to_json(value).decode()


def change_row(rerun: int, number: int, change: PlannedJob, restored: Restored, paths: StoredPaths) -> Row:
    """Return the row of `insert_rerun_change`: what a rerun does to a set of jobs, and what undo restores of them."""
    encode = paths.encode
    return (
        rerun,
        number,
        int(change.before),
        int(change.after),
        change.unmet,
        change.start,
        json_text(change.keeps),
        json_text(with_reasons(change.reasons, encode)),
        json_text(change.archives),
        next_attempt_text(change.next, paths),
        json_text(change.changes) if change.changes else None,
        json_text([encode(path) for path in change.saves]) if change.saves else None,
        int(change.stays),
        change.holds,
        int(change.releases),
        *restored,
    )


def change_of(row: Any, paths: StoredPaths) -> PlannedJob:
    """Return the change of a row of `rerun_changes`."""
    return PlannedJob(
        id=0,
        name="",
        version=0,
        before=STATES[row.before],
        after=STATES[row.after],
        start=row.start,
        reasons=with_reasons(_REASONS(row.reasons), paths.decode),
        archives=tuple(from_json(row.archives)),
        keeps=tuple(from_json(row.keeps)),
        unmet=row.unmet,
        next=next_attempt_of(row.next_attempt, paths),
        changes=() if row.changes is None else _CHANGES(row.changes),
        saves=() if row.saves is None else tuple(map(paths.decode, from_json(row.saves))),
        stays=row.stays != 0,
        holds=row.holds,
        releases=row.releases != 0,
    )


def job_rows(rerun: int, number: int, one: JobSet, live: bool) -> Iterable[Row]:
    """Return the rows of `insert_rerun_job` of a set of jobs whose change has this number. `live`: until the rerun,
    their own attempts are live."""
    own, near = _nulls(one.attempts), _nulls(one.near)
    return zip(repeat(rerun), one.ids, repeat(number), one.versions, own if live else repeat(None), own, near)


def _nulls(column: Sequence[int]) -> Sequence[int | None]:
    """Return a column with null in place of OWN."""
    return [None if one == OWN else one for one in column]


def planned_jobs_of(changes: Mapping[int, PlannedJob], rows: Iterable[Row], names: Mapping[int, str]) -> PlannedJobs:
    """Return the jobs of the rows of `rerun_changes`, by number, and `rerun_jobs`. `names`: those of other jobs that
    reasons name."""
    parts: dict[int, list[Row]] = {}
    for row in rows:
        parts.setdefault(row[0], []).append(row)
    return PlannedJobs(set_of(changes[number], _columns(part, names)) for number, part in parts.items())


def _columns(rows: Sequence[Row], names: Mapping[int, str]) -> Columns:
    """Return the columns of rows of `rerun_jobs`."""
    ids, own_names, versions = ([row[at] for row in rows] for at in (1, 2, 3))
    own, upstream = ([OWN if row[at] is None else row[at] for row in rows] for at in (4, 5))
    return Columns(ids, own_names, versions, own, upstream, names)


def rerun_of(row: Any, jobs: PlannedJobs, paths: StoredPaths) -> RerunRecord:
    """Return the rerun of a row of `rerun_columns`, with these planned jobs."""
    plan = RerunPlan(
        jobs,
        refused=msgspec.json.decode(row.refused, type=tuple[RefusedJob, ...]),
        warnings=tuple(from_json(row.warnings)),
        expected=msgspec.json.decode(row.expected, type=ExpectedCost),
        overwrites=tuple(from_json(row.overwrites)),
        digest=row.digest,
        dynamic=tuple(rolled_back_from_json(one) for one in from_json(row.dynamic).get("taken", ())),
    )
    request = with_request(from_json(row.request), paths.decode)
    return RerunRecord(row.id, row.kind, row.at, row.note, row.undone, request, plan)
