"""A runner's lease: its right to write, which it renews with whatever it writes, and loses to whoever takes over."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rekindle.domain.errors import Superseded
from rekindle.domain.models import Runner
from rekindle.engine.session import Session
from rekindle.store.port import Archive

LEASE_SECONDS = 30.0
"""For how long a runner whose process cannot be seen may be silent before another takes it for dead."""

RENEW_SECONDS = LEASE_SECONDS / 3
"""How often a runner renews its lease although it has nothing to write."""


class Lease:
    """What a runner writes, it writes through this: nothing of it is written once another has taken over."""

    def __init__(self, session: Session, runner: Runner) -> None:
        self._session, self._runner = session, runner
        self._renewed = time.monotonic()

    @property
    def due(self) -> float:
        """When it is to be renewed, at the latest (monotonic)."""
        return self._renewed + RENEW_SECONDS

    @contextmanager
    def write(self, now: float) -> Iterator[Archive]:
        """A transaction that renews the lease, whatever else it writes. Superseded when it is lost."""
        runner, renewed = self._runner, time.monotonic()
        with self._session.store.write() as archive:
            if not archive.runners.renew(runner.id, runner.epoch, now + LEASE_SECONDS):
                raise _superseded(archive, runner)
            yield archive
        self._renewed = renewed


def _superseded(archive: Archive, runner: Runner) -> Superseded:
    found = archive.runners.find(runner.id)
    keeper = archive.runners.find(found.keeper) if found is not None and found.keeper is not None else None
    who = "another" if keeper is None else f"runner {keeper.id} (pid {keeper.pid} on {keeper.host})"
    return Superseded(
        f"runner {runner.id} was taken for dead, and {who} has taken over: it has changed nothing since",
        hint="what its workers run goes on to its end; `rekindle work` starts another runner",
    )
