"""What earlier attempts took, for the cost of a plan: a few queries, however many jobs there are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from statistics import median

from rekindle.domain.rerunning.costs import Past
from rekindle.store.database import Database, Row
from rekindle.store.queries import as_set, load

SQL = load("attempts")


def past_of(database: Database, jobs: Collection[int], resuming: Collection[int], cores: float) -> Past:
    """See rekindle.store.port_attempts.Attempts.past."""
    own = _medians(database.rows(SQL["durations"], jobs=as_set(jobs)))
    without = [job for job in jobs if job not in own]
    past = Past(own, _alike(database, without), cores=cores)
    if not resuming:
        return past
    templates = _templates(database, resuming)
    steps = _by_name(database.rows(SQL["step_durations"], jobs=as_set(resuming)))
    alike = _by_name(database.rows(SQL["step_durations_alike"], templates=as_set(set(templates.values()))))
    steps_alike = {job: alike[template] for job, template in templates.items() if template in alike}
    return Past(past.jobs, past.alike, steps, steps_alike, cores)


def _alike(database: Database, jobs: Collection[int]) -> dict[int, float]:
    """For each of these jobs what others of its template took."""
    if not jobs:
        return {}
    templates = _templates(database, jobs)
    found = _medians(database.rows(SQL["durations_alike"], templates=as_set(set(templates.values()))))
    return {job: found[template] for job, template in templates.items() if template in found}


def _templates(database: Database, jobs: Collection[int]) -> dict[int, int]:
    return dict(database.rows(SQL["templates_of"], jobs=as_set(jobs)))


def _medians(rows: Iterable[Row]) -> dict[int, float]:
    """The median of the second column, by the first."""
    found: dict[int, list[float]] = {}
    for key, seconds in rows:
        found.setdefault(key, []).append(seconds)
    return {key: _median(every) for key, every in found.items()}


def _by_name(rows: Iterable[Row]) -> dict[int, Mapping[str, float]]:
    """The median of the third column, by the first and the second."""
    found: dict[int, dict[str, list[float]]] = {}
    for key, name, seconds in rows:
        found.setdefault(key, {}).setdefault(name, []).append(seconds)
    return {key: {name: _median(every) for name, every in steps.items()} for key, steps in found.items()}


def _median(every: list[float]) -> float:
    return max(0.0, every[0] if len(every) == 1 else median(every))
