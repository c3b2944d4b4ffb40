"""Supervisions and the processes that own them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from rekindle.domain.batches.supervision import BatchJob, Supervision, SupervisionEnd
from rekindle.domain.models import ProcessIdentity
from rekindle.domain.verdicts import VerdictLevel
from rekindle.journal.encoding import from_json
from rekindle.store.queries import load
from rekindle.store.rows import CAUSES, STATES

if TYPE_CHECKING:
    from rekindle.domain.batches.past_attempts import PastAttempt
    from rekindle.store.database import Database

SQL = load("supervisions")


class RecordedAttempt(NamedTuple):
    """An attempt that has ended: its id and its job, how it ended, and when it ran."""

    id: int
    job: int
    past: PastAttempt
    started: float | None
    ended: float | None


_VERDICTS: dict[str | None, VerdictLevel | None] = {None: None, **{word.value: word for word in VerdictLevel}}


class Supervisions:
    """Which process supervises which workflow, and the jobs it supervises."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def active(self, workflow: int) -> Supervision | None:
        """Return the supervision of a workflow that has not ended. There is at most one."""
        row = self._db.named_row(SQL["active"], workflow=workflow)
        return None if row is None else self._supervision(row)

    def get(self, supervision: int) -> Supervision | None:
        """Return a supervision."""
        row = self._db.named_row(SQL["supervision"], id=supervision)
        return None if row is None else self._supervision(row)

    def listing(self, limit: int) -> list[Supervision]:
        """Return the supervisions that have not ended, then the others, newest first."""
        return [self._supervision(row) for row in self._db.named_rows(SQL["listing"], limit=limit)]

    def begin(self, workflow: int, options: str, owner: ProcessIdentity, now: float) -> Supervision:
        """Insert a supervision with `options` as JSON text. The caller has checked that none is active."""
        number = self._db.insert(
            SQL["begin"],
            workflow=workflow,
            asked=options,
            began=now,
            host=owner.host,
            **self._process(owner),
        )
        return Supervision(number, workflow, options, now, owner)

    def take(self, supervision: int, owner: ProcessIdentity) -> None:
        """Make another process the owner."""
        self._db.change(SQL["take"], id=supervision, host=owner.host, **self._process(owner))

    def is_of(self, supervision: int, owner: ProcessIdentity) -> bool:
        """Return whether this process owns the supervision, and it has not ended."""
        return bool(self._db.value(SQL["is_of"], id=supervision, **self._process(owner)))

    def conclude(self, supervision: int, outcome: SupervisionEnd, report: str | None) -> None:
        """Record the outcome: nothing more is rerun. The report is kept until it has been delivered."""
        self._db.change(SQL["conclude"], id=supervision, outcome=outcome.value, report=report)

    def close(self, supervision: int, now: float) -> None:
        """Record that the outcome has been reported."""
        self._db.change(SQL["close"], id=supervision, now=now)

    def reruns(self, supervision: int) -> list[tuple[int, Mapping[str, Any]]]:
        """Return (rerun, its request) of the reruns that it made, oldest first, undone ones included."""
        rows = self._db.named_rows(SQL["reruns"], id=supervision)
        return [(row.id, from_json(row.request)) for row in rows]

    def usage(self, workflow: int, first: int) -> tuple[int, float]:
        """Return (attempts, core-seconds) of a workflow's attempts with ids from `first`."""
        row = self._db.row(SQL["usage"], workflow=workflow, first=first)
        return (0, 0.0) if row is None else (row[0], row[1])

    def policy_retries(self, workflow: int, since: float) -> int:
        """Return how many jobs of a workflow have run again as their policies say, since a time."""
        return int(self._db.value(SQL["policy_retries"], workflow=workflow, since=since))

    def batch(self, workflow: int) -> list[BatchJob]:
        """Return the workflow's jobs by id; retired jobs are left out."""
        return [
            BatchJob(
                row.id,
                row.name,
                STATES[row.state],
                row.template,
                row.binding,
                row.held != 0,
                row.attempts,
                CAUSES[row.cause],
                row.host,
                row.signature,
                _VERDICTS[row.verdict],
                row.undecided,
            )
            for row in self._db.named_rows(SQL["batch"], workflow=workflow)
        ]

    def needs(self, workflow: int) -> list[tuple[int, int]]:
        """Return (parent, child) for the jobs of a workflow; retired jobs are left out."""
        return [(parent, child) for parent, child in self._db.rows(SQL["needs"], workflow=workflow)]

    def classes(self, workflow: int) -> dict[int, tuple[int, float]]:
        """Return (priority, processors) of each job of a workflow."""
        rows = self._db.rows(SQL["classes"], workflow=workflow)
        return {job: (priority, cpus) for job, priority, cpus in rows}

    def past_attempts(self, workflow: int) -> Iterator[RecordedAttempt]:
        """Yield the attempts that have ended, archived ones included, by job and number; retired jobs are left out."""
        from rekindle.domain.batches.past_attempts import PastAttempt

        for row in self._db.named_rows(SQL["past_attempts"], workflow=workflow):
            past = PastAttempt(
                STATES[row.state],
                max(0.0, (row.ended or 0.0) - (row.started or row.ended or 0.0)),
                _VERDICTS[row.verdict],
                CAUSES[row.cause],
                row.signature,
                row.host,
                row.exit_code,
            )
            yield RecordedAttempt(row.id, row.job, past, row.started, row.ended)

    def _process(self, owner: ProcessIdentity) -> dict[str, Any]:
        """Return the columns that identify a process and the store file that it works on."""
        return {
            "boot_id": owner.boot_id,
            "pid": owner.pid,
            "pid_start": owner.pid_start,
            "pid_space": owner.pid_space,
            "store_file": self._db.file,
        }

    def _supervision(self, row: Any) -> Supervision:
        elsewhere = row.store_file not in (None, self._db.file)
        return Supervision(
            row.id,
            row.workflow,
            row.asked,
            row.began,
            ProcessIdentity(row.host, row.boot_id, row.pid, row.pid_start, row.pid_space, elsewhere),
            None if row.outcome is None else SupervisionEnd(row.outcome),
            row.report,
            row.ended,
        )
