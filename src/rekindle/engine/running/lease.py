"""Runner leases: the runner's own, which each of its transactions checks, and those of its peers.

A peer whose process is visible is dead as soon as that has ended (its pidfd becomes readable). For any other peer only
its lease counts, so a runner renews it three times while it lasts, and no more often. Because clocks can be set, such a
peer is dead once its lease has expired and was not renewed while this runner watched for longer than a renewal takes,
or, whatever its date, for as long as a lease lasts.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rekindle.domain.errors import Superseded
from rekindle.engine.presence import Presence, is_visible, presence
from rekindle.journal.processes import host_name, start_of

if TYPE_CHECKING:
    from rekindle.domain.models import Runner
    from rekindle.engine.running.claims import Claims
    from rekindle.engine.session import Session
    from rekindle.store.archive import Snapshot, Transaction

LEASE_SECONDS = 30.0
"""Time without renewal after which a runner whose process is not visible counts as dead."""

RENEW_SECONDS = LEASE_SECONDS / 3
"""The longest time between two renewals of a lease."""

PEER_CHECK_SECONDS = 2.0
"""Time between two reads of the peers' rows while a peer is not visible. New peers notify; for one that died before it
did, the rows are also read with each renewal of the lease."""


class Lease:
    """A runner's lease. All its writes go through `write`, which fails once another runner has taken over."""

    def __init__(self, session: Session, runner: Runner) -> None:
        self._session, self._runner = session, runner
        self._renewed = time.monotonic()

    @property
    def due(self) -> float:
        """Return the time of the next renewal (monotonic)."""
        return self._renewed + RENEW_SECONDS

    def renew(self, now: float) -> None:
        """Renew the lease if that is due. Raise Superseded if another runner has it."""
        if time.monotonic() >= self.due:
            with self.write(now, alone=False):
                pass

    @contextmanager
    def write(self, now: float, *, alone: bool = True) -> Iterator[Transaction]:
        """Open a writing transaction that also renews the lease if that is due; unless `alone`, one that may run beside
        those of other runners (see `Store.turn`). Raise Superseded if another runner has the lease."""
        runner, began = self._runner, time.monotonic()
        store, renews = self._session.store, began >= self.due
        with store.write() if alone else store.turn(runner.id) as archive:
            runners = archive.runners
            if not (
                runners.renew(runner.id, runner.epoch, now + LEASE_SECONDS)
                if renews
                else runners.is_current(runner.id, runner.epoch)
            ):
                raise _superseded(archive, runner)
            yield archive
        if renews:
            self._renewed = began


def _superseded(archive: Snapshot, runner: Runner) -> Superseded:
    found = archive.runners.find(runner.id)
    keeper = archive.runners.find(found.keeper) if found is not None and found.keeper is not None else None
    who = "another" if keeper is None else f"runner {keeper.id} (pid {keeper.pid} on {keeper.host})"
    return Superseded(
        f"runner {runner.id} was taken for dead, and {who} has taken over: it has changed nothing since",
        hint="what its workers run goes on to its end; `rekindle work` starts another runner",
    )


class PeerWatch:
    """Watches the other runners of the store: which are alive, and which have died."""

    def __init__(self, runner: int) -> None:
        self._runner = runner
        self._handles: dict[int, int] = {}  # pidfds of visible peers, by runner
        self._leases: dict[int, tuple[float, float]] = {}  # by runner: expiry, and since when it is unchanged
        self.peers: list[int] = []
        """The peers that were alive at the last check."""
        self.works_elsewhere = False  # some of them on another host
        self.due = time.monotonic()

    @property
    def handles(self) -> list[int]:
        """Return descriptors that become readable when a peer ends."""
        return list(self._handles.values())

    def idle_peers(self, archive: Snapshot, claims: Claims | None, busy: bool) -> list[int]:
        """Return the runners with free slots, if peers can claim jobs that this runner left, or have nothing to wait
        for any more."""
        concerned = claims is None or claims.left or not (claims.work or busy)
        return archive.runners.with_free_slots() if self.peers and concerned else []

    def dead_peers(self, registered: Iterable[Runner], now: float) -> list[Runner]:
        """Check all peers among the registered runners. Return the dead ones whose orphans no living runner has
        adopted."""
        moment = time.monotonic()
        found = {runner.id: runner for runner in registered if runner.id != self._runner}
        dead = {number for number, runner in found.items() if self._is_dead(runner, now, moment)}
        self.peers = [number for number in found if number not in dead]
        self.works_elsewhere = any(found[number].host != host_name() for number in self.peers)
        self._watch([found[number] for number in self.peers])
        self._leases = {number: one for number, one in self._leases.items() if number in found}
        hidden = len(self._handles) < len(self.peers)
        self.due = moment + (PEER_CHECK_SECONDS if hidden else RENEW_SECONDS)
        keepers = {*self.peers, self._runner}
        return [found[number] for number in sorted(dead) if found[number].keeper not in keepers]

    def close(self) -> None:
        """Close all handles."""
        self._watch([])

    def _is_dead(self, runner: Runner, now: float, moment: float) -> bool:
        condition = presence(runner, now)
        if condition in (Presence.GONE, Presence.ELSEWHERE, Presence.SUPERSEDED):
            return True
        if is_visible(runner):
            return False
        expires, since = self._leases.get(runner.id, (None, moment))
        if expires != runner.expires:
            since = moment
        self._leases[runner.id] = runner.expires, since
        limit = 1.5 * RENEW_SECONDS if condition is Presence.EXPIRED else LEASE_SECONDS
        return moment - since >= limit

    def _watch(self, runners: list[Runner]) -> None:
        """Hold a pidfd of each of these runners that is visible, and of no other."""
        visible = {runner.id: runner for runner in runners if is_visible(runner)}
        for number in self._handles.keys() - visible.keys():
            os.close(self._handles.pop(number))
        for number in visible.keys() - self._handles.keys():
            with contextlib.suppress(ProcessLookupError):
                handle = os.pidfd_open(visible[number].pid)
                if start_of(visible[number].pid) == visible[number].pid_start:
                    self._handles[number] = handle
                else:
                    os.close(handle)
