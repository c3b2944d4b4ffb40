"""Whether a runner is alive.

Where its process is visible, boot id, pid and start time decide. Where the process is not visible (another host, or
another pid namespace such as a container's), a runner counts as alive as long as it renews its lease.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING

from rekindle.domain.models import ProcessIdentity, Runner
from rekindle.engine.results import DeadRunner
from rekindle.journal.processes import boot_id, host_name, pid_namespace, start_of

if TYPE_CHECKING:
    from rekindle.store.archive import Snapshot

FIRST_EPOCH = 1


class Presence(StrEnum):
    """The condition of a runner whose row has no end."""

    ALIVE = "alive"
    GONE = "gone"  # its process has ended
    EXPIRED = "expired"  # its process is not visible, and its lease has expired
    ELSEWHERE = "elsewhere"  # it works on the store that this one was copied from
    SUPERSEDED = "superseded"  # another runner has taken over, and this one has not noticed yet


def this_process() -> ProcessIdentity:
    """Return the host, boot id, pid, start time and pid namespace of this process."""
    return ProcessIdentity(host_name(), boot_id(), os.getpid(), start_of(os.getpid()) or 0, pid_namespace())


def is_visible(runner: Runner) -> bool:
    """Return whether this process can see the runner's process, or could while that ran."""
    return not runner.elsewhere and (runner.boot_id, runner.pid_space) == (boot_id(), pid_namespace())


def presence(runner: Runner, now: float) -> Presence:
    """Return the condition of a runner at `now`.

    A later process with the same pid, and a process from before the host's last boot, are not the runner's."""
    if runner.elsewhere:
        return Presence.ELSEWHERE
    if is_visible(runner):
        if start_of(runner.pid) != runner.pid_start:
            return Presence.GONE
    elif runner.host == host_name() and runner.boot_id != boot_id():
        return Presence.GONE
    elif runner.expired_for(now) >= 0:
        return Presence.EXPIRED
    return Presence.ALIVE if runner.epoch == FIRST_EPOCH else Presence.SUPERSEDED


def is_runner_alive(runner: Runner, now: float) -> bool:
    """Return whether the runner is alive, and no other has taken over from it."""
    return presence(runner, now) is Presence.ALIVE


def live_runners(registered: Iterable[Runner], now: float) -> list[int]:
    """Return the ids of those registered runners that are alive. Looks into /proc: call it after a write transaction,
    with the rows that were read in it."""
    return [runner.id for runner in registered if is_runner_alive(runner, now)]


def live_and_dead_runners(archive: Snapshot, now: float) -> tuple[list[Runner], list[DeadRunner]]:
    """Return the runners that are alive, and the dead ones whose orphans are not resolved yet."""
    found = [(runner, presence(runner, now)) for runner in archive.runners.alive()]
    live = {runner.id: runner for runner, condition in found if condition is Presence.ALIVE}
    dead = [
        DeadRunner(runner, condition.value, runner.keeper if runner.keeper in live else None)
        for runner, condition in found
        if condition is not Presence.ALIVE
    ]
    return list(live.values()), dead


def unadopted_runners(archive: Snapshot, now: float) -> list[Runner]:
    """Return the dead runners whose orphans no living runner has adopted."""
    return [dead.runner for dead in live_and_dead_runners(archive, now)[1] if dead.keeper is None]


def works_elsewhere(archive: Snapshot, host: str, now: float) -> bool:
    """Return whether a runner on another host holds a lease."""
    runners = archive.runners.alive()
    return any(one.host != host and one.expired_for(now) < 0 and not one.elsewhere for one in runners)


def is_process_alive(place: ProcessIdentity) -> bool | None:
    """Return whether a process is alive, or None if it is not visible from here (another host or pid namespace)."""
    if place.elsewhere:
        return False
    if (place.boot_id, place.pid_space) == (boot_id(), pid_namespace()):
        return start_of(place.pid) == place.pid_start
    return False if place.host == host_name() and place.boot_id != boot_id() else None
