"""Runners with their leases and journals.

Leases expire by one clock: the server's in PostgreSQL, else this host's. The clocks of runners may differ from it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.models import ProcessIdentity, Runner, RunnerCapacity
from rekindle.store.queries import load
from rekindle.store.stored_paths import path_of, stored_text

if TYPE_CHECKING:
    from rekindle.store.database import Database

SQL = load("runners")


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
            until=now + lease,
            own=time.time(),
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
        """Extend the lease until the clock of this process shows `until`. Return False if another runner has taken over
        (the epoch has changed) or it was ended."""
        return self._db.change(SQL["renew"], runner=runner, epoch=epoch, until=until, own=time.time()) == 1

    def is_current(self, runner: int, epoch: int) -> bool:
        """Return whether no other runner has taken over, and it was not ended."""
        return self._db.row(SQL["is_current"], runner=runner, epoch=epoch) is not None

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
        row = self._db.named_row(SQL["runner"], runner=runner, own=time.time())
        return None if row is None else self._runner(row)

    def alive(self) -> list[Runner]:
        """Return the runners that have not ended by their rows. engine.presence decides whether they are alive.
        Those that stand for detached attempts are left out."""
        return [self._runner(row) for row in self._db.named_rows(SQL["alive"], own=time.time())]

    def detached(self) -> list[Runner]:
        """Return the runners that stand for detached attempts and have not ended."""
        return [self._runner(row) for row in self._db.named_rows(SQL["detached"], own=time.time())]

    def count_detached(self, workflow: int | None) -> int:
        """Return the number of detached attempts that have not ended; `workflow` None: of all workflows."""
        return int(self._db.value(SQL["count_detached"], workflow=workflow))

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
            row.skew,
        )
