"""What a forecast reads: unfinished jobs, their needs, and the retries of the past. Durations are in `Statistics`."""

from __future__ import annotations

from collections.abc import Collection, Container
from itertools import chain
from typing import TYPE_CHECKING

from rekindle.domain.forecasts.forecast import OpenJob
from rekindle.store.queries import as_set, load
from rekindle.store.rows import STATES, next_attempt_of

if TYPE_CHECKING:
    from rekindle.store.database import Database

SQL = load("forecasts")


class Forecasts:
    """Unfinished jobs of workflows. Each query reads the workflows once."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def workflows(self) -> dict[int, tuple[str, int]]:
        """Return the workflows with unfinished jobs by id: the name, and how many; archived ones are left out."""
        return {number: (name, int(jobs)) for number, name, jobs in self._db.rows(SQL["workflows"])}

    def jobs(self, workflows: Collection[int]) -> list[OpenJob]:
        """Return the jobs that have not completed, also failed and canceled ones; retired ones are left out."""
        paths, found = self._db.paths, []
        rows = chain.from_iterable(self._db.batches(self._db.text(SQL["jobs"]), {"workflows": as_set(workflows)}))
        for job, workflow, template, state, priority, kind, held, canceled, lenient, started, runner, text in rows:
            delayed, step = None, 0
            if text is not None:
                following = next_attempt_of(text, paths)
                delayed, step = (
                    following.not_before,
                    following.resume_step if following.resume_attempt is not None else 0,
                )
            flags = held != 0, canceled != 0, lenient != 0
            head = job, workflow, template, STATES[state], priority, kind
            found.append(OpenJob(*head, *flags, delayed, step, started, runner))
        return found

    def needs(self, workflows: Collection[int], jobs: Container[int]) -> list[tuple[int, int]]:
        """Return (parent, child) of waiting jobs and those they need, where the parent is one of these jobs."""
        rows = chain.from_iterable(self._db.batches(self._db.text(SQL["needs"]), {"workflows": as_set(workflows)}))
        return [(parent, child) for parent, child in rows if parent in jobs]

    def names(self, jobs: Collection[int]) -> dict[int, str]:
        """Return the names of jobs by id."""
        return dict(self._db.rows(SQL["names"], jobs=as_set(jobs)))

    def retried(self, templates: Collection[int]) -> dict[int, list[float]]:
        """Return, by template, the seconds of the attempts that were retried as their policies say."""
        found: dict[int, list[float]] = {}
        for template, seconds in self._db.rows(SQL["retried"], templates=as_set(templates)):
            found.setdefault(template, []).append(max(0.0, seconds))
        return found
