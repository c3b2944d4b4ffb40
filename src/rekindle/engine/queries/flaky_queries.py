"""How often jobs fail under equal conditions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from rekindle.domain.batches.flakiness import (
    ConditionStatistics,
    Flakiness,
    PassHistory,
    measure_flakiness,
    merge_statistics,
    pass_history,
    sort_by_certainty,
)
from rekindle.domain.changes.fingerprints import ABSENT, FileContent
from rekindle.domain.changes.staleness import OPAQUE_PREFIX, FilledTemplate, definition_text, result_digest
from rekindle.domain.overrides import decode_overrides
from rekindle.engine.queries import job_queries
from rekindle.journal.encoding import from_json, json_reader

if TYPE_CHECKING:
    from rekindle.domain.definition import JobTemplate
    from rekindle.engine.results import JobRow
    from rekindle.engine.session import Session
    from rekindle.store.archive import Snapshot
    from rekindle.store.statistics import AttemptTotals, EqualAttempts

_INPUTS = json_reader(tuple[FileContent, ...])

_NEEDED = json_reader(dict[int, int])


def flaky_jobs(session: Session, jobs: Collection[int], *, every: bool = False) -> list[Flakiness]:
    """Return how often these jobs fail over all their attempts, archived ones included; the most certain failures
    first. Only jobs that both failed and passed under the same conditions are returned, unless `every`: then all that
    have ever passed or failed."""
    with session.store.read() as archive:
        tallies = {job: one for job, one in archive.statistics.totals(jobs).items() if one.newest is not None}
        wanted = {
            job for job, one in tallies.items() if _needs_conditions(one) and (every or (one.failures and one.passes))
        }
        found = {job: measure_flakiness(tried) for job, tried in _attempts_by_condition(archive, wanted).items()}
        if every:
            found |= {
                job: measure_flakiness([_without_conditions(one)]) for job, one in tallies.items() if job not in found
            }
        else:
            found = {job: one for job, one in found.items() if one.mixed}
        failing, hosts = archive.statistics.failures(found), archive.statistics.hosts(found)
        verified = archive.verifications.newest(found)
    return sort_by_certainty(
        {
            job: replace(
                one,
                lost=tallies[job].lost,
                last=tallies[job].last,
                last_failure=tallies[job].last_failure,
                signatures=tuple(failing.get(job, ())),
                hosts=tuple(hosts.get(job, ())),
                verified=verified.get(job),
            )
            for job, one in found.items()
        }
    )


def flaky_jobs_with_rows(
    session: Session, jobs: Collection[int], *, every: bool = False
) -> tuple[list[Flakiness], dict[int, JobRow]]:
    """Return the same as `flaky_jobs`, and the rows of the returned jobs by id."""
    found = flaky_jobs(session, jobs, every=every)
    return found, {row.job.id: row for row in job_queries.jobs(session, sorted(one.job for one in found))}


def pass_conditions(session: Session, jobs: Collection[int]) -> dict[int, PassHistory]:
    """Return, by job, how it came to pass or fail. Jobs that have never passed or failed are left out."""
    with session.store.read() as archive:
        tallies = {job: one for job, one in archive.statistics.totals(jobs).items() if one.newest is not None}
        tried = _attempts_by_condition(archive, {job for job, one in tallies.items() if _needs_conditions(one)})
    return {job: pass_history(tried[job]) if job in tried else PassHistory.PLAIN for job in tallies}


def _needs_conditions(one: AttemptTotals) -> bool:
    """Return whether the conditions of the job's attempts matter."""
    return bool(one.failures or one.modified)


def _without_conditions(one: AttemptTotals) -> ConditionStatistics:
    """Return the statistics of a job that has never failed and was never modified."""
    return ConditionStatistics(one.job, None, passes=one.passes, newest=one.newest or 0, newest_passed=True)


def _attempts_by_condition(archive: Snapshot, jobs: Collection[int]) -> dict[int, list[ConditionStatistics]]:
    """Return the attempts of jobs, grouped by the conditions that they ran under."""
    if not jobs:
        return {}
    of: dict[int, list[EqualAttempts]] = {}
    for row in archive.statistics.equal_attempts(jobs):
        of.setdefault(row.job, []).append(row)
    conditions = _Conditions(archive, of.values())
    return merge_statistics(
        _tried(row, made) for rows in of.values() for row, made in zip(rows, conditions.of(rows), strict=True)
    )


def _tried(row: EqualAttempts, conditions: Hashable) -> ConditionStatistics:
    modified = row.overrides is not None or row.partial
    return ConditionStatistics(
        row.job,
        conditions,
        row.passes,
        row.failures,
        row.first_failure,
        row.newest,
        row.newest_passed,
        modified,
    )


class _Conditions:
    """The conditions of attempts: what they depended on. Computed only for jobs whose attempts differ."""

    def __init__(self, archive: Snapshot, jobs: Iterable[Sequence[EqualAttempts]]) -> None:
        self._archive = archive
        unlike = [rows for rows in jobs if len({row.needed for row in rows}) > 1]
        needed = {attempt for rows in unlike for row in rows for attempt in _needed(row).values()}
        prints = archive.fingerprints.files(needed)
        self._came: dict[int, str] = {}
        for attempt, (_, result, came_from) in archive.staleness.results(needed).items():
            came = result_digest(came_from, result, prints[attempt].outputs if attempt in prints else ())
            self._came[attempt] = (
                "" if came.startswith(OPAQUE_PREFIX) else came
            )  # nothing that it produced was recorded
        self._definitions: dict[tuple[Any, ...], str] = {}
        self._templates: dict[int, JobTemplate] = {}
        self._params: dict[tuple[int, int], dict[str, Any]] = {}

    def of(self, rows: Sequence[EqualAttempts]) -> list[Hashable]:
        """Return the conditions of each row of a job. They are equal if nothing that is recorded differs."""
        if len(rows) == 1:
            return [None]
        parts: list[list[Hashable]] = [
            _where_different(rows, _definition_key, self._definition),
            _where_different(rows, lambda one: one.inputs, _inputs),
            _where_different(rows, lambda one: one.needed, self._results),
        ]
        return [(row.partial, row.code, row.env, *values) for row, *values in zip(rows, *parts, strict=True)]

    def _definition(self, row: EqualAttempts) -> str:
        key = _definition_key(row)
        found = self._definitions.get(key)
        if found is None:
            found = self._definitions[key] = self._essence(row)
        return found

    def _essence(self, row: EqualAttempts) -> str:
        revision = (row.workflow, row.revision)
        if revision not in self._params:
            self._params[revision] = self._archive.workflows.params(*revision)
        params = self._params[revision] | (from_json(row.patched) if row.patched else {})
        template, modified = self._template(row.template), decode_overrides(row.overrides)
        takes = modified.resources(template.resources)
        return f"{definition_text(FilledTemplate(template, params, from_json(row.binding)), modified)} {takes}"

    def _template(self, number: int) -> JobTemplate:
        if number not in self._templates:
            self._templates[number] = self._archive.workflows.template(number)
        return self._templates[number]

    def _results(self, row: EqualAttempts) -> Hashable:
        """Return the results of needed jobs; jobs that left nothing to compare do not count."""
        return tuple(sorted((job, self._came.get(attempt, "")) for job, attempt in _needed(row).items()))


def _definition_key(row: EqualAttempts) -> tuple[Any, ...]:
    return (row.workflow, row.template, row.revision, row.binding, row.overrides, row.patched)


def _needed(row: EqualAttempts) -> dict[int, int]:
    return _NEEDED(row.needed) if row.needed else {}


def _inputs(row: EqualAttempts) -> Hashable:
    """Return the contents of inputs, wherever they were. Named files that were missing, or that the attempt wrote, do
    not count."""
    if row.inputs is None:
        return None
    found = tuple(
        (one.name, one.digest)
        for one in _INPUTS(row.inputs)
        if not one.implicit or (one.compared and one.digest != ABSENT)
    )
    return found or None


def _where_different(
    rows: Sequence[EqualAttempts], raw: Callable[[EqualAttempts], Hashable], value: Callable[[EqualAttempts], Hashable]
) -> list[Hashable]:
    """Return a value for each row; None for all rows if their raw parts are equal."""
    first = raw(rows[0])
    return [None] * len(rows) if all(raw(one) == first for one in rows) else [value(one) for one in rows]
