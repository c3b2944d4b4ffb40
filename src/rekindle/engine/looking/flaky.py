"""How flaky jobs are: the store's aggregates over all history, by the conditions that the law tells apart."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from rekindle.domain.batches.flakiness import Flakiness, Passed, Tried, by_certainty, flakiness, merged, passed
from rekindle.domain.changes.prints import ABSENT, Content
from rekindle.domain.changes.staleness import OPAQUE, Defined, came_to, essence
from rekindle.domain.definition import JobTemplate
from rekindle.domain.overrides import modified_of
from rekindle.engine.session import Session
from rekindle.journal.encoding import from_json, json_reader
from rekindle.store.port import Archive
from rekindle.store.port_tries import Alike, Tally

_INPUTS = json_reader(tuple[Content, ...])
_NEEDED = json_reader(dict[int, int])


def flaky(session: Session, jobs: Collection[int], *, every: bool = False) -> list[Flakiness]:
    """How often these jobs fail, over all of their attempts, archived ones too; what fails most often for certain comes
    first. Only those that have failed under conditions under which they pass, unless `every` is wanted: then all that
    have ever passed or failed."""
    with session.store.read() as archive:
        tallies = {job: one for job, one in archive.tries.tallies(jobs).items() if one.newest is not None}
        wanted = {job for job, one in tallies.items() if _is_told(one) and (every or (one.failures and one.passes))}
        found = {job: flakiness(tried) for job, tried in _tried(archive, wanted).items()}
        if every:
            found |= {job: flakiness([_plain(one)]) for job, one in tallies.items() if job not in found}
        else:
            found = {job: one for job, one in found.items() if one.mixed}
        failing, hosts = archive.tries.failing(found), archive.tries.hosts(found)
    return by_certainty(
        {
            job: replace(
                one,
                lost=tallies[job].lost,
                last=tallies[job].last,
                last_failure=tallies[job].last_failure,
                signatures=tuple(failing.get(job, ())),
                hosts=tuple(hosts.get(job, ())),
            )
            for job, one in found.items()
        }
    )


def how_passed(session: Session, jobs: Collection[int]) -> dict[int, Passed]:
    """How these jobs came to where they stand; those that have never passed or failed are left out."""
    with session.store.read() as archive:
        tallies = {job: one for job, one in archive.tries.tallies(jobs).items() if one.newest is not None}
        tried = _tried(archive, {job for job, one in tallies.items() if _is_told(one)})
    return {job: passed(tried[job]) if job in tried else Passed.PLAIN for job in tallies}


def _is_told(one: Tally) -> bool:
    """It depends on under which conditions they were made, what its attempts say."""
    return bool(one.failures or one.modified)


def _plain(one: Tally) -> Tried:
    """A job that has never failed, and of which nobody has modified anything."""
    return Tried(one.job, None, passes=one.passes, newest=one.newest or 0, newest_passed=True)


def _tried(archive: Archive, jobs: Collection[int]) -> dict[int, list[Tried]]:
    """The attempts of jobs under the conditions under which they were made."""
    if not jobs:
        return {}
    of: dict[int, list[Alike]] = {}
    for row in archive.tries.alike(jobs):
        of.setdefault(row.job, []).append(row)
    conditions = _Conditions(archive, of.values())
    return merged(_told(row, made) for rows in of.values() for row, made in zip(rows, conditions.of(rows), strict=True))


def _told(row: Alike, conditions: Hashable) -> Tried:
    modified = row.overrides is not None or row.partial
    return Tried(
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
    """What attempts depended on, looked at closely only where a job's attempts are not all alike anyway."""

    def __init__(self, archive: Archive, jobs: Iterable[Sequence[Alike]]) -> None:
        self._archive = archive
        unlike = [rows for rows in jobs if len({row.needed for row in rows}) > 1]
        needed = {attempt for rows in unlike for row in rows for attempt in _needed(row).values()}
        prints = archive.fingerprints.files(needed)
        self._came: dict[int, str] = {}
        for attempt, (_, result) in archive.measures.results(needed).items():
            came = came_to(attempt, result, prints[attempt].outputs if attempt in prints else ())
            self._came[attempt] = "" if came.startswith(OPAQUE) else came  # it handed over nothing that is recorded
        self._definitions: dict[tuple[Any, ...], str] = {}
        self._templates: dict[int, JobTemplate] = {}
        self._params: dict[tuple[int, int], dict[str, Any]] = {}

    def of(self, rows: Sequence[Alike]) -> list[Hashable]:
        """The conditions of each row of a job: equal where nothing that is recorded differs."""
        if len(rows) == 1:
            return [None]
        parts: list[list[Hashable]] = [
            _unless_alike(rows, _made_from, self._definition),
            _unless_alike(rows, lambda one: one.inputs, _inputs),
            _unless_alike(rows, lambda one: one.needed, self._results),
        ]
        return [(row.partial, row.code, row.env, *told) for row, *told in zip(rows, *parts, strict=True)]

    def _definition(self, row: Alike) -> str:
        key = _made_from(row)
        found = self._definitions.get(key)
        if found is None:
            found = self._definitions[key] = self._essence(row)
        return found

    def _essence(self, row: Alike) -> str:
        revision = (row.workflow, row.revision)
        if revision not in self._params:
            self._params[revision] = self._archive.workflows.params(*revision)
        params = self._params[revision] | (from_json(row.patched) if row.patched else {})
        template, modified = self._template(row.template), modified_of(row.overrides)
        takes = modified.resources(template.resources)
        return f"{essence(Defined(template, params, from_json(row.binding)), modified)} {takes}"

    def _template(self, number: int) -> JobTemplate:
        if number not in self._templates:
            self._templates[number] = self._archive.workflows.template(number)
        return self._templates[number]

    def _results(self, row: Alike) -> Hashable:
        """What the jobs that it needs came to; those that left nothing to compare do not count."""
        return tuple(sorted((job, self._came.get(attempt, "")) for job, attempt in _needed(row).items()))


def _made_from(row: Alike) -> tuple[Any, ...]:
    return (row.workflow, row.template, row.revision, row.binding, row.overrides, row.patched)


def _needed(row: Alike) -> dict[int, int]:
    return _NEEDED(row.needed) if row.needed else {}


def _inputs(row: Alike) -> Hashable:
    """What its inputs held, wherever they lay. Files that its commands name and that were not there, or that it wrote
    itself, do not count."""
    if row.inputs is None:
        return None
    found = tuple(
        (one.name, one.digest)
        for one in _INPUTS(row.inputs)
        if not one.implicit or (one.compared and one.digest != ABSENT)
    )
    return found or None


def _unless_alike(
    rows: Sequence[Alike], raw: Callable[[Alike], Hashable], told: Callable[[Alike], Hashable]
) -> list[Hashable]:
    """What is told of a part of what rows depended on; nothing where that is the same for all of them as it stands."""
    first = raw(rows[0])
    return [None] * len(rows) if all(raw(one) == first for one in rows) else [told(one) for one in rows]
