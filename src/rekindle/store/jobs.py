"""Jobs: selecting and reading them, and the flags beside their states."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from rekindle.domain.models import Attempt, Failure, Job, JobFlags, UpstreamJob
from rekindle.store.attempts import live_attempts
from rekindle.store.queries import Row, as_set, column_names, load
from rekindle.store.rows import ATTEMPT_COLUMNS, JOB_COLUMNS, STATES, attempt_of, job_of, verdict_of
from rekindle.store.templates import class_resources

if TYPE_CHECKING:
    from rekindle.domain.definition import Resources
    from rekindle.domain.selection import JobFilter, Predicate
    from rekindle.store.database import Database

SQL = load("jobs")
SUBMIT_SQL = load("submitting")
QUEUE_SQL = load("queue")

_ATTEMPT_FROM = 1 + len(column_names(JOB_COLUMNS))
"""In a row of `list_jobs`, the position of the live attempt's first column."""

_TOGETHER = 20_000
"""Jobs that are held or released by one statement: a set of more takes more memory and no less time."""


class Jobs:
    """Jobs, and the flags beside their states."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def select(self, where: Predicate, workflow: int | None, retired: bool = False) -> list[int]:
        """Return the ids of the jobs that match, in order. Without `workflow`, archived workflows are left out."""
        from rekindle.store.candidates import find_jobs
        from rekindle.store.predicates import compile_selection

        return list(find_jobs(self._db, compile_selection(where, workflow, self._db, retired)))

    def listing(self, chosen: JobFilter, limit: int | None, offset: int) -> Iterator[tuple[str, Job, Attempt | None]]:
        """Yield a page of jobs by id, each with its workflow's name and its live attempt (without steps)."""
        from rekindle.store.predicates import compile_list

        columns = f"workflow.name, {JOB_COLUMNS}, {ATTEMPT_COLUMNS}"
        compiled = compile_list(chosen, columns, limit, offset, self._db)
        paths = self._db.paths
        for row in self._db.stream(compiled.text, compiled.values):
            live = row[_ATTEMPT_FROM:]
            yield row[0], job_of(row[1:_ATTEMPT_FROM], paths), None if live[0] is None else attempt_of(live, paths)

    def count(self, chosen: JobFilter) -> int:
        """Return the number of chosen jobs."""
        if chosen.ids is not None:
            return len(chosen.ids)
        from rekindle.store.predicates import compile_chosen

        compiled = compile_chosen(chosen, "count_jobs", self._db)
        return int(self._db.select(compiled.text, compiled.values)[0][0])

    def named(self, keys: Sequence[int | str], workflow: int | None) -> dict[int | str, list[int]]:
        """Return the jobs of each id or exact name. A key that no job has is missing from the result."""
        ids = as_set(key for key in keys if isinstance(key, int))
        names = as_set(key for key in keys if isinstance(key, str))
        if workflow is None:
            by_id = self._db.rows(SQL["ids_that_exist"], jobs=ids)
            by_name = self._db.rows(SQL["named"], names=names)
        else:
            by_id = self._db.rows(SQL["ids_in_workflow"], jobs=ids, workflow=workflow)
            by_name = self._db.rows(SQL["named_in_workflow"], names=names, workflow=workflow)
        found: dict[int | str, list[int]] = {number: [number] for (number,) in by_id}
        for wanted in (0, 1):  # a name means a retired job only where no other job has the name
            matches: dict[int | str, list[int]] = {}
            for name, number, retired in by_name:
                if retired == wanted and name not in found:
                    matches.setdefault(name, []).append(number)
            found |= matches
        return found

    def templates(self, workflow: int | None) -> list[str]:
        """Return the names of templates; without `workflow`, of all workflows that are not archived."""
        return [name for (name,) in self._db.rows(SQL["template_names"], workflow=workflow)]

    def get(self, ids: Sequence[int]) -> list[Job]:
        """Return jobs, in the order of `ids`. Unknown ids are left out."""
        if not ids:
            return []
        jobs = (job_of(row, self._db.paths) for row in self._db.rows(SQL["jobs_by_id"], jobs=as_set(ids)))
        known = {job.id: job for job in jobs}
        return [known[number] for number in ids if number in known]

    def flags(self, ids: Sequence[int]) -> Iterator[JobFlags]:
        """Yield what decides whether jobs are held, released or canceled, by id."""
        for number, workflow, name, state, taken, held, retired, attempt in self._db.stream(
            SQL["flags"].text, {"jobs": as_set(ids)}
        ):
            yield JobFlags(number, workflow, name, STATES[state], taken, held, retired != 0, attempt)

    def versions(self, ids: Iterable[int]) -> dict[int, tuple[int, str]]:
        """Return the version and the name of jobs, by id. Unknown ids are left out."""
        rows = self._db.rows(SQL["versions"], jobs=as_set(ids))
        return {number: (version, name) for number, version, name in rows}

    def workflows(self, ids: Sequence[int]) -> list[int]:
        """Return the workflows of jobs, each once, in order."""
        return [row[0] for row in self._db.rows(SQL["workflows_of"], jobs=as_set(ids))]

    def live(self, ids: Sequence[int]) -> dict[int, Attempt]:
        """Return the live attempts (without steps) of jobs, by job."""
        return live_attempts(self._db, ids)

    def unlike(self, ids: Sequence[int], reason: str | None, *, instead: bool = False) -> Iterator[tuple[int, int]]:
        """Yield (job, workflow) of those jobs that `hold` for this reason, or with None for none, is to change, by id.
        Jobs that are held keep their reason, unless `instead`."""
        name = "held" if reason is None else "held_otherwise" if instead else "not_held"
        values = {"reason": reason} if name == "held_otherwise" else {}
        ordered = sorted(ids)
        for at in range(0, len(ordered), _TOGETHER):
            yield from self._db.rows(SQL[name], jobs=as_set(ordered[at : at + _TOGETHER]), **values)

    def hold(self, ids: Sequence[int], reason: str | None) -> None:
        """Hold jobs for a reason, or with None release them."""
        for at in range(0, len(ids), _TOGETHER):
            self._db.change(SQL["hold"], jobs=as_set(ids[at : at + _TOGETHER]), reason=reason)

    def count_held(self, workflow: int | None) -> dict[str, int]:
        """Return the number of held READY jobs by reason. Without `workflow`, archived workflows are left out."""
        if workflow is None:
            return dict(self._db.rows(SQL["count_held"]))
        return dict(self._db.rows(SQL["count_held_in_workflow"], workflow=workflow))

    def cancel(self, ids: Sequence[int]) -> None:
        """Set the canceled flag of those jobs that have no live attempt. `Queue.move` changes their states."""
        self._db.change(SQL["cancel"], jobs=as_set(ids))

    def parents(self, ids: Sequence[int]) -> dict[int, list[int]]:
        """Return the jobs that each of these needs."""
        return _grouped(self._db.rows(SQL["parents"], jobs=as_set(ids)), ids)

    def children(self, ids: Sequence[int]) -> dict[int, list[int]]:
        """Return the jobs that need each of these."""
        return _grouped(self._db.rows(SQL["children"], jobs=as_set(ids)), ids)

    def resources(self, classes: Iterable[int]) -> dict[int, Resources]:
        """Return the resources of resource classes, by class."""
        return class_resources(self._db, set(classes))

    def begin_ids_again(self, attempt: int) -> bool:
        """Let the ids of new jobs and attempts follow the highest in the store, those of attempts also `attempt`. New
        jobs have higher versions than all deleted ones, so that no id has a version twice. Return False, and change
        nothing, while a runner has not ended, as its journals name attempts."""
        if self._db.value(SUBMIT_SQL["count_runners"]):
            return False
        self._db.change(SUBMIT_SQL["begin_ids_again"])
        self._db.change(SUBMIT_SQL["begin_attempts_after"], attempt=attempt)
        self._db.change(SUBMIT_SQL["begin_versions_again"])
        self._db.driver.continue_ids(())
        return True

    def highest_attempts(self) -> tuple[int, int]:
        """Return the highest attempt id in the store, and the highest that was ever used."""
        stored, used = SUBMIT_SQL["highest_stored_attempt"], QUEUE_SQL["highest_attempt"]
        return int(self._db.value(stored)), int(self._db.value(used))

    def upstream(self, ids: Sequence[int]) -> dict[int, list[UpstreamJob]]:
        """Return the jobs that each of these needs, with the results of those that have completed."""
        found: dict[int, list[UpstreamJob]] = {}
        for row in self._db.named_rows(SQL["upstream"], jobs=as_set(ids)):
            texts = (row.error_type, row.error_message, row.error_traceback, row.error_stderr)
            failure = None if row.error_type is None else Failure(*(text or "" for text in texts))
            verdict = verdict_of(row.verdict, row.verdict_message)
            found.setdefault(row.child, []).append(
                UpstreamJob(
                    row.name,
                    row.result,
                    row.job,
                    row.attempt,
                    row.template,
                    STATES[row.state],
                    row.number,
                    verdict,
                    failure,
                )
            )
        return found


def _grouped(rows: Sequence[Row], ids: Sequence[int]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {number: [] for number in ids}
    for number, other in rows:
        found[number].append(other)
    return found
