"""Runners, leases and their workers' journals."""

from __future__ import annotations

import msgspec

from rekindle.domain.models import Offer, Place, Runner
from rekindle.store.database import Database, Row
from rekindle.store.paths import path_of, stored_text
from rekindle.store.queries import load

SQL = load("runners")


class Runners:
    """See rekindle.store.port.Runners."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def register(
        self,
        place: Place,
        executor: str,
        slots: int,
        now: float,
        lease: float,
        label: str = "",
        offer: Offer | None = None,
    ) -> Runner:
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
        return self._db.change(SQL["renew"], runner=runner, epoch=epoch, until=until) == 1

    def end(self, runner: int, now: float) -> None:
        self._db.change(SQL["end_runner"], runner=runner, now=now)

    def abandon(self, runner: int, epoch: int) -> None:
        self._db.change(SQL["abandon"], runner=runner, epoch=epoch)

    def take_over(self, runner: int, epoch: int, keeper: int | None = None) -> bool:
        return self._db.change(SQL["take_over"], runner=runner, epoch=epoch, keeper=keeper) == 1

    def find(self, runner: int) -> Runner | None:
        row = self._db.row(SQL["runner"], runner=runner)
        return None if row is None else self._runner(row)

    def alive(self) -> list[Runner]:
        return [self._runner(row) for row in self._db.rows(SQL["alive"])]

    def _runner(self, row: Row) -> Runner:
        *values, store, file, offer = row
        values += [None if store is None else path_of(store), file not in (None, self._db.file)]
        values.append(None if offer is None else msgspec.json.decode(offer, type=Offer))
        return Runner(*values)

    def with_room(self) -> list[int]:
        return [row[0] for row in self._db.rows(SQL["with_room"])]

    def open_journal(self, runner: int, worker: str, path: str, pid: int, pid_start: int) -> None:
        self._db.change(SQL["open_journal"], runner=runner, worker=worker, path=path, pid=pid, pid_start=pid_start)

    def journals(self, runner: int) -> list[tuple[str, str, int, int, int]]:
        return [(row[0], row[1], row[2], row[3], row[4]) for row in self._db.rows(SQL["journals"], runner=runner)]

    def advance(self, worker: str, position: int) -> None:
        self._db.change(SQL["advance"], worker=worker, position=position)

    def damage(self, worker: str, byte: int, length: int) -> str:
        return str(self._db.value(SQL["damage"], worker=worker, byte=byte, length=length))

    def damages(self, runner: int) -> list[tuple[str, int, int]]:
        return [(row[0], row[1], row[2]) for row in self._db.rows(SQL["damages"], runner=runner)]

    def close_journal(self, worker: str) -> None:
        self._db.change(SQL["close_journal"], worker=worker)
