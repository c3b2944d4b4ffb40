"""Statistics over the attempts of jobs, live and archived: durations for cost estimates, and outcomes for flakiness."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.rerun.costs import DurationHistory
from rekindle.domain.rerun.views import own_attempt
from rekindle.store.attempts import raw_messages
from rekindle.store.queries import Row, as_set, load

if TYPE_CHECKING:
    from rekindle.domain.batches.flakiness import FailureKind, HostStatistics
    from rekindle.domain.rerun.views import JobTable
    from rekindle.domain.run_plots import TimedAttempt
    from rekindle.store.database import Database

SQL = load("statistics")


class AttemptTotals(msgspec.Struct, frozen=True):
    """The outcomes of all attempts of a job, live and archived."""

    job: int
    passes: int
    failures: int
    lost: int  # attempts that were lost or canceled: neither passes nor failures
    modified: int  # attempts with overrides
    last: float | None  # when the newest pass or failure ended
    last_failure: float | None
    newest: int | None  # the newest attempt that passed or failed


class EqualAttempts(msgspec.Struct, frozen=True):
    """The passes and failures of attempts of a job with the same definition and the same fingerprints. Texts are
    JSON."""

    job: int
    workflow: int
    template: int
    revision: int
    binding: str
    overrides: str | None
    patched: str | None  # parameters changed by dynamic actions
    code: str | None  # digest of modules
    partial: bool
    inputs: str | None  # as in domain.changes.fingerprints.Prints
    env: str | None
    needed: str | None  # the attempts of the jobs that it needs, by job
    passes: int
    failures: int
    first_failure: int | None  # attempt
    newest: int  # attempt
    newest_passed: bool


class Statistics:
    """Aggregates over the attempts of jobs, live and archived. Attempts that were lost or canceled are neither passes
    nor failures."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def has_removed_outputs(self) -> bool:
        """Return whether any temporary output of the store was removed, or is to be: see `TemporaryOutputs`."""
        return self._db.row(SQL["has_removed_outputs"]) is not None

    def has_pruned(self) -> bool:
        """Return whether any attempt of the store was ever pruned: see `Retention`."""
        return self._db.row(SQL["has_pruned"]) is not None

    def durations(self, views: JobTable, resuming: Collection[int], cores: float) -> DurationHistory:
        """Return how long attempts of these jobs, and of other jobs with their templates, took; for the jobs
        `resuming` also by step. `cores` is the capacity to run on."""
        ran = views.having(lambda view: view.template > 0 and own_attempt(view) is not None)
        own = _medians(self._db.rows(SQL["durations"], jobs=as_set(sorted(ran))))
        unknown = _templates_without(views, own)
        past = DurationHistory(own, self.durations_of_templates(unknown) if unknown else {}, cores=cores)
        if not resuming:
            return past
        steps = self.step_durations({job: views.kind(job).template for job in resuming if job in views})
        return DurationHistory(past.jobs, past.alike, *steps, cores)

    def step_durations(
        self, templates: Mapping[int, int]
    ) -> tuple[dict[int, Mapping[str, float]], dict[int, Mapping[str, float]]]:
        """Return how long steps took, by job and name: in attempts of the job, and of others with its template. The
        jobs are mapped to their templates."""
        own = _medians_by_name(self._db.rows(SQL["step_durations"], jobs=as_set(templates)))
        wanted = as_set(set(templates.values()))
        others = _medians_by_name(self._db.rows(SQL["step_durations_of_templates"], templates=wanted))
        return own, {job: others[template] for job, template in templates.items() if template in others}

    def past_seconds(
        self, jobs: Collection[int], templates: Collection[int]
    ) -> tuple[dict[int, list[float]], dict[int, list[float]]]:
        """Return the seconds of each attempt that `durations` takes the median of: by job, and by template."""
        own = _by_first(self._db.rows(SQL["durations"], jobs=as_set(jobs)))
        return own, _by_first(self._db.rows(SQL["durations_of_templates"], templates=as_set(templates)))

    def expected_seconds(self, jobs: Collection[int]) -> list[float]:
        """Return how long attempts of these jobs, else of others with their templates, took, where that is known."""
        own = _medians(self._db.rows(SQL["durations"], jobs=as_set(jobs)))
        others = [job for job in jobs if job not in own]
        templates: dict[int, int] = dict(self._db.rows(SQL["templates_of"], jobs=as_set(others)))
        alike = self.durations_of_templates(set(templates.values())) if others else {}
        return [*own.values(), *(alike[one] for one in templates.values() if one in alike)]

    def attempts_in_time(self, workflow: int) -> list[TimedAttempt]:
        """Return when and where the attempts of a workflow ran, by their start."""
        return self._timed("attempts_in_time", workflow)

    def completed_otherwise(self, workflow: int) -> list[TimedAttempt]:
        """Return the live attempts of a workflow that were completed without running, by their start: with the times of
        the attempt that they stand for, or, if there is none, with that when they were recorded."""
        return self._timed("completed_otherwise", workflow)

    def _timed(self, query: str, workflow: int) -> list[TimedAttempt]:
        from rekindle.domain.run_plots import TimedAttempt
        from rekindle.domain.states import State

        return [
            TimedAttempt(
                row.id,
                row.job,
                row.name,
                row.template,
                row.number,
                State(row.state),
                row.cause,
                row.host or "",
                row.worker or "",
                row.started,
                row.ended,
                row.max_rss_bytes,
                bool(row.archived),
            )
            for row in self._db.named_rows(SQL[query], workflow=workflow)
        ]

    def totals(self, jobs: Collection[int]) -> dict[int, AttemptTotals]:
        """Return the outcomes by job, for jobs with an attempt that has ended."""
        rows = self._db.named_rows(SQL["totals"], jobs=as_set(jobs))
        return {row.job: AttemptTotals(**row._asdict()) for row in rows}

    def equal_attempts(self, jobs: Collection[int]) -> list[EqualAttempts]:
        """Return the attempts of these jobs that passed or failed, grouped by definition and fingerprints."""
        rows = (row._asdict() for row in self._db.named_rows(SQL["equal_attempts"], jobs=as_set(jobs)))
        return [
            EqualAttempts(**{**row, "partial": row["partial"] != 0, "newest_passed": row["newest_passed"] != 0})
            for row in rows
        ]

    def failures(self, jobs: Collection[int]) -> dict[int, list[FailureKind]]:
        """Return the failure signatures of each job, the most frequent first."""
        from rekindle.domain.batches.flakiness import FailureKind

        found: dict[int, list[FailureKind]] = {}
        rows = self._db.named_rows(SQL["failures"], jobs=as_set(jobs))
        messages = raw_messages(self._db, [row.newest for row in rows])
        for row in rows:
            message = messages[row.newest][1]
            failing = FailureKind(row.digest, row.cause, row.type, row.message, row.n, row.newest, message)
            found.setdefault(row.job, []).append(failing)
        return found

    def hosts(self, jobs: Collection[int]) -> dict[int, list[HostStatistics]]:
        """Return the outcomes of each job by host, the host with most failures first."""
        from rekindle.domain.batches.flakiness import HostStatistics

        found: dict[int, list[HostStatistics]] = {}
        for row in self._db.named_rows(SQL["hosts"], jobs=as_set(jobs)):
            found.setdefault(row.job, []).append(HostStatistics(row.host, row.passes, row.failures))
        return found

    def durations_of_templates(self, templates: Iterable[int]) -> dict[int, float]:
        """Return how long attempts of all jobs that have these templates now took, by template."""
        return _medians(self._db.rows(SQL["durations_of_templates"], templates=as_set(templates)))


def _templates_without(views: JobTable, own: Mapping[int, float]) -> set[int]:
    """Return the templates of the jobs without durations of their own."""
    kinds = {row[0] for job, row in views.rows.items() if job not in own}
    return {views.kinds[kind].template for kind in kinds} - {0}


def _medians(rows: Iterable[Row]) -> dict[int, float]:
    """Return the median of the second column by the first."""
    return {key: _median(values) for key, values in _by_first(rows).items()}


def _by_first(rows: Iterable[Row]) -> dict[int, list[float]]:
    """Return the values of the second column by the first."""
    found: dict[int, list[float]] = {}
    for key, seconds in rows:
        found.setdefault(key, []).append(seconds)
    return found


def _medians_by_name(rows: Iterable[Row]) -> dict[int, Mapping[str, float]]:
    """Return the median of the third column by the first and the second."""
    found: dict[int, dict[str, list[float]]] = {}
    for key, name, seconds in rows:
        found.setdefault(key, {}).setdefault(name, []).append(seconds)
    return {key: {name: _median(values) for name, values in steps.items()} for key, steps in found.items()}


def _median(values: list[float]) -> float:
    ordered, half = sorted(values), len(values) // 2
    return max(0.0, (ordered[half] + ordered[~half]) / 2)
