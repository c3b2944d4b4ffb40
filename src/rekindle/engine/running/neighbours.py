"""The other runners of a store, as one of them sees them: whom to wake, and who has died.

That one has died is known at once where its process can be seen: its pidfd tells. Of the others only their leases tell,
and these are dated by clocks that can be set: so one of them is dead once its lease is over and has not been renewed
while we looked on for longer than a renewal takes, or, whatever its date, while we looked on for as long as it lasts.
"""

from __future__ import annotations

import contextlib
import os
import time

from rekindle.domain.models import Runner
from rekindle.engine.presence import Presence, is_seen, presence
from rekindle.engine.running import lease
from rekindle.journal.processes import start_of
from rekindle.store.port import Archive

LOOK_SECONDS = 2.0
"""How often a runner looks at the others' rows: for those that have come, and those that cannot be seen."""


class Neighbours:
    """Those that have not ended, one's own row left out."""

    def __init__(self, runner: int) -> None:
        self._runner = runner
        self._handles: dict[int, int] = {}  # by runner: a pidfd of its process
        self._leases: dict[int, tuple[float, float]] = {}  # by runner: when it expires, and since when we see that
        self.others: list[int] = []
        """Those that were there when we looked last."""
        self.due = time.monotonic()

    @property
    def handles(self) -> list[int]:
        """Descriptors that become readable when one of them ends."""
        return list(self._handles.values())

    def look(self, archive: Archive, now: float) -> list[Runner]:
        """Those that are dead, and for whom no living one cares."""
        moment = time.monotonic()
        found = {runner.id: runner for runner in archive.runners.alive() if runner.id != self._runner}
        dead = {number for number, runner in found.items() if self._is_dead(runner, now, moment)}
        self.others = [number for number in found if number not in dead]
        self._watch([found[number] for number in self.others])
        self._leases = {number: one for number, one in self._leases.items() if number in found}
        self.due = moment + LOOK_SECONDS
        cared = {*self.others, self._runner}
        return [found[number] for number in sorted(dead) if found[number].keeper not in cared]

    def close(self) -> None:
        """Look no more."""
        self._watch([])

    def _is_dead(self, runner: Runner, now: float, moment: float) -> bool:
        said = presence(runner, now)
        if said in (Presence.GONE, Presence.ELSEWHERE, Presence.SUPERSEDED):
            return True
        if is_seen(runner):
            return False
        expires, since = self._leases.get(runner.id, (None, moment))
        if expires != runner.expires:
            since = moment
        self._leases[runner.id] = runner.expires, since
        patience = 1.5 * lease.RENEW_SECONDS if said is Presence.EXPIRED else lease.LEASE_SECONDS
        return moment - since >= patience

    def _watch(self, runners: list[Runner]) -> None:
        """Have a handle of each of these that can be seen, and of no other."""
        seen = {runner.id: runner for runner in runners if is_seen(runner)}
        for number in self._handles.keys() - seen.keys():
            os.close(self._handles.pop(number))
        for number in seen.keys() - self._handles.keys():
            with contextlib.suppress(ProcessLookupError):
                handle = os.pidfd_open(seen[number].pid)
                if start_of(seen[number].pid) == seen[number].pid_start:
                    self._handles[number] = handle
                else:
                    os.close(handle)
