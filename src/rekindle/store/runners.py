"""Runners with their leases and journals, and supervisions with their owners."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.batches.supervision import BatchJob, Supervision, SupervisionEnd
from rekindle.domain.models import ProcessIdentity, Runner, RunnerCapacity
from rekindle.domain.verdicts import VerdictLevel
from rekindle.journal.encoding import from_json
from rekindle.store.paths import path_of, stored_text
from rekindle.store.queries import load
from rekindle.store.rows import CAUSES, STATES

if TYPE_CHECKING:
    from rekindle.store.database import Database

SQL = load("runners")
SUPERVISION_SQL = load("supervisions")

_VERDICTS: dict[str | None, VerdictLevel | None] = {None: None, **{word.value: word for word in VerdictLevel}}


class Runners:
    """Runners, their leases, and the journals of their workers."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def register(
        self,
        place: ProcessIdentity,
        executor: str,
        slots: int,
        now: float,
        lease: float,
        label: str = "",
        offer: RunnerCapacity | None = None,
    ) -> Runner:
        """Insert a runner of epoch 1 with a lease until now + `lease`. `label` names it; `offer` is its capacity."""
        number = self._db.insert(
            SQL["insert_runner"],
            host=place.host,
            boot_id=place.boot_id,
            pid=place.pid,
            pid_start=place.pid_start,
            pid_space=place.pid_space,
            executor=executor,
            slots=slots,
            started=now,
            expires=now + lease,
            label=label,
            store=stored_text(self._db.paths.folder),
            store_file=self._db.file,
            offer=None if offer is None else msgspec.json.encode(offer).decode(),
        )
        return Runner(
            number,
            place.host,
            place.boot_id,
            place.pid,
            place.pid_start,
            executor,
            slots,
            now,
            now + lease,
            epoch=1,
            pid_space=place.pid_space,
            label=label,
            store=self._db.paths.folder,
            offer=offer,
        )

    def renew(self, runner: int, epoch: int, until: float) -> bool:
        """Extend the lease. Return False if another runner has taken over (the epoch has changed) or it was ended."""
        return self._db.change(SQL["renew"], runner=runner, epoch=epoch, until=until) == 1

    def end(self, runner: int, now: float) -> None:
        """Mark a runner ended: it stopped, or was found dead."""
        self._db.change(SQL["end_runner"], runner=runner, now=now)

    def abandon(self, runner: int, epoch: int) -> None:
        """Mark a runner dead although its process lives, as it does nothing more. Has no effect once another runner has
        taken over."""
        self._db.change(SQL["abandon"], runner=runner, epoch=epoch)

    def take_over(self, runner: int, epoch: int, keeper: int | None = None) -> bool:
        """Raise the epoch of a dead runner, if it is still `epoch`: exactly one caller gets True. `keeper` is the
        runner that tracks its orphans from now on, if any."""
        return self._db.change(SQL["take_over"], runner=runner, epoch=epoch, keeper=keeper) == 1

    def find(self, runner: int) -> Runner | None:
        """Return a runner, ended or not."""
        row = self._db.named_row(SQL["runner"], runner=runner)
        return None if row is None else self._runner(row)

    def alive(self) -> list[Runner]:
        """Return the runners that have not ended by their rows. engine.presence decides whether they are alive."""
        return [self._runner(row) for row in self._db.named_rows(SQL["alive"])]

    def with_free_slots(self) -> list[int]:
        """Return the ids of those of them with fewer active attempts than slots."""
        return [row[0] for row in self._db.rows(SQL["with_free_slots"])]

    def open_journal(self, runner: int, worker: str, path: str, pid: int, pid_start: int) -> None:
        """Record a worker's journal, at `path` relative to the store's folder."""
        self._db.change(SQL["open_journal"], runner=runner, worker=worker, path=path, pid=pid, pid_start=pid_start)

    def journals(self, runner: int) -> list[tuple[str, str, int, int, int]]:
        """Return (worker, path, pid, pid_start, position) of a runner's open journals."""
        rows = self._db.named_rows(SQL["journals"], runner=runner)
        return [(row.worker, row.path, row.pid, row.pid_start, row.position) for row in rows]

    def advance(self, worker: str, position: int) -> None:
        """Record that this transaction has ingested a worker's journal up to `position`."""
        self._db.change(SQL["advance"], worker=worker, position=position)

    def damage(self, worker: str, byte: int, length: int) -> str:
        """Record that `length` bytes of a worker's journal, from `byte`, could not be read. Return the journal's path,
        relative to the store's folder."""
        return str(self._db.value(SQL["damage"], worker=worker, byte=byte, length=length))

    def damages(self, runner: int) -> list[tuple[str, int, int]]:
        """Return (path, byte, length) of the first damage in each of a runner's open journals."""
        rows = self._db.named_rows(SQL["damages"], runner=runner)
        return [(row.path, row.damaged, row.damaged_length) for row in rows]

    def close_journal(self, worker: str) -> None:
        """Mark a worker's journal complete."""
        self._db.change(SQL["close_journal"], worker=worker)

    def _runner(self, row: Any) -> Runner:
        return Runner(
            row.id,
            row.host,
            row.boot_id,
            row.pid,
            row.pid_start,
            row.executor,
            row.slots,
            row.started,
            row.expires,
            row.epoch,
            row.ended,
            row.pid_space,
            row.keeper,
            row.label,
            None if row.store is None else path_of(row.store),
            row.store_file not in (None, self._db.file),
            None if row.offer is None else msgspec.json.decode(row.offer, type=RunnerCapacity),
        )


class Supervisions:
    """Which process supervises which workflow, and the jobs it supervises."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def active(self, workflow: int) -> Supervision | None:
        """Return the supervision of a workflow that has not ended. There is at most one."""
        row = self._db.named_row(SUPERVISION_SQL["active"], workflow=workflow)
        return None if row is None else self._supervision(row)

    def get(self, supervision: int) -> Supervision | None:
        """Return a supervision."""
        row = self._db.named_row(SUPERVISION_SQL["supervision"], id=supervision)
        return None if row is None else self._supervision(row)

    def begin(self, workflow: int, options: str, owner: ProcessIdentity, now: float) -> Supervision:
        """Insert a supervision with `options` as JSON text. The caller has checked that none is active."""
        number = self._db.insert(
            SUPERVISION_SQL["begin"],
            workflow=workflow,
            asked=options,
            began=now,
            host=owner.host,
            **self._process(owner),
        )
        return Supervision(number, workflow, options, now, owner)

    def take(self, supervision: int, owner: ProcessIdentity) -> None:
        """Make another process the owner."""
        self._db.change(SUPERVISION_SQL["take"], id=supervision, host=owner.host, **self._process(owner))

    def is_of(self, supervision: int, owner: ProcessIdentity) -> bool:
        """Return whether this process owns the supervision, and it has not ended."""
        return bool(self._db.value(SUPERVISION_SQL["is_of"], id=supervision, **self._process(owner)))

    def conclude(self, supervision: int, outcome: SupervisionEnd, report: str | None) -> None:
        """Record the outcome: nothing more is rerun. The report is kept until it has been delivered."""
        self._db.change(SUPERVISION_SQL["conclude"], id=supervision, outcome=outcome.value, report=report)

    def close(self, supervision: int, now: float) -> None:
        """Record that the outcome has been reported."""
        self._db.change(SUPERVISION_SQL["close"], id=supervision, now=now)

    def reruns(self, supervision: int) -> list[tuple[int, Mapping[str, Any]]]:
        """Return (rerun, its request) of the reruns that it made, oldest first, undone ones included."""
        rows = self._db.named_rows(SUPERVISION_SQL["reruns"], id=supervision)
        return [(row.id, from_json(row.request)) for row in rows]

    def usage(self, workflow: int, first: int) -> tuple[int, float]:
        """Return (attempts, core-seconds) of a workflow's attempts with ids from `first`."""
        row = self._db.row(SUPERVISION_SQL["usage"], workflow=workflow, first=first)
        return (0, 0.0) if row is None else (row[0], row[1])

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
            )
            for row in self._db.named_rows(SUPERVISION_SQL["batch"], workflow=workflow)
        ]

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
