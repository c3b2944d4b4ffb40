"""Runners, leases and their workers' journals."""

from __future__ import annotations

from rekindle.domain.models import Runner
from rekindle.store.database import Database
from rekindle.store.queries import load

SQL = load("runners")


class Runners:
    """See rekindle.store.port.Runners."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def register(
        self, host: str, boot_id: str, pid: int, pid_start: int, executor: str, slots: int, now: float, lease: float
    ) -> Runner:
        number = self._db.insert(
            SQL["insert_runner"],
            host=host,
            boot_id=boot_id,
            pid=pid,
            pid_start=pid_start,
            executor=executor,
            slots=slots,
            started=now,
            expires=now + lease,
        )
        return Runner(number, host, boot_id, pid, pid_start, executor, slots, now, now + lease, epoch=1)

    def renew(self, runner: int, epoch: int, until: float) -> bool:
        return self._db.change(SQL["renew"], runner=runner, epoch=epoch, until=until) == 1

    def end(self, runner: int, now: float) -> None:
        self._db.change(SQL["end_runner"], runner=runner, now=now)

    def abandon(self, runner: int) -> None:
        self._db.change(SQL["abandon"], runner=runner)

    def take_over(self, runner: int, epoch: int) -> bool:
        return self._db.change(SQL["take_over"], runner=runner, epoch=epoch) == 1

    def alive(self) -> list[Runner]:
        return [Runner(*row) for row in self._db.rows(SQL["alive"])]

    def open_journal(self, runner: int, worker: str, path: str, pid: int, pid_start: int) -> None:
        self._db.change(SQL["open_journal"], runner=runner, worker=worker, path=path, pid=pid, pid_start=pid_start)

    def journals(self, runner: int) -> list[tuple[str, str, int, int, int]]:
        return [(row[0], row[1], row[2], row[3], row[4]) for row in self._db.rows(SQL["journals"], runner=runner)]

    def advance(self, worker: str, position: int) -> None:
        self._db.change(SQL["advance"], worker=worker, position=position)

    def close_journal(self, worker: str) -> None:
        self._db.change(SQL["close_journal"], worker=worker)
