"""Whether a runner is there. Where its process can be seen, boot, pid and start time tell at once; where it cannot, on
another host or in another namespace of processes (a container), it is there as long as it renews its lease."""

from __future__ import annotations

import os
import socket
from enum import StrEnum

from rekindle.domain.models import Place, Runner
from rekindle.engine.results import DeadRunner
from rekindle.journal.processes import boot_id, pid_space, start_of
from rekindle.store.port import Archive

FIRST_EPOCH = 1


class Presence(StrEnum):
    """What can be said of a runner that has not ended."""

    ALIVE = "alive"
    GONE = "gone"  # its process is not there any more
    EXPIRED = "expired"  # its process cannot be seen, and its lease is over
    ELSEWHERE = "elsewhere"  # it works on the store that this one was copied from
    SUPERSEDED = "superseded"  # another has taken over, and it does not know yet


def here() -> Place:
    """This process."""
    return Place(socket.gethostname(), boot_id(), os.getpid(), start_of(os.getpid()) or 0, pid_space())


def is_seen(runner: Runner) -> bool:
    """Its process is, or was, one among those that can be seen from here."""
    return not runner.elsewhere and (runner.boot_id, runner.pid_space) == (boot_id(), pid_space())


def presence(runner: Runner, now: float) -> Presence:
    """What can be said of it at once. A later process with its pid does not count as its own, nor does one of before
    this host was started again."""
    if runner.elsewhere:
        return Presence.ELSEWHERE
    if is_seen(runner):
        if start_of(runner.pid) != runner.pid_start:
            return Presence.GONE
    elif runner.host == socket.gethostname() and runner.boot_id != boot_id():
        return Presence.GONE
    elif runner.expires <= now:
        return Presence.EXPIRED
    return Presence.ALIVE if runner.epoch == FIRST_EPOCH else Presence.SUPERSEDED


def is_alive(runner: Runner, now: float) -> bool:
    """It is there, and nobody has taken over."""
    return presence(runner, now) is Presence.ALIVE


def alive(archive: Archive, now: float) -> list[int]:
    """The ids of the runners that are there: whom to wake."""
    return [runner.id for runner in archive.runners.alive() if is_alive(runner, now)]


def roll_call(archive: Archive, now: float) -> tuple[list[Runner], list[DeadRunner]]:
    """The runners that are alive, and those that are not and have left something behind."""
    found = [(runner, presence(runner, now)) for runner in archive.runners.alive()]
    there = {runner.id: runner for runner, said in found if said is Presence.ALIVE}
    dead = [
        DeadRunner(runner, said.value, runner.keeper if runner.keeper in there else None)
        for runner, said in found
        if said is not Presence.ALIVE
    ]
    return list(there.values()), dead


def unattended(archive: Archive, now: float) -> list[Runner]:
    """Runners that are dead, and what they left nobody sees to who lives."""
    return [dead.runner for dead in roll_call(archive, now)[1] if dead.keeper is None]


def works_elsewhere(archive: Archive, host: str, now: float) -> bool:
    """A runner on another host than this one holds its lease."""
    runners = archive.runners.alive()
    return any(one.host != host and one.expires > now and not one.elsewhere for one in runners)


def is_there(place: Place) -> bool | None:
    """Whether a process is there; None: it cannot be seen from here, on another host or in another namespace of
    processes (a container)."""
    if place.elsewhere:
        return False
    if (place.boot_id, place.pid_space) == (boot_id(), pid_space()):
        return start_of(place.pid) == place.pid_start
    return False if place.host == socket.gethostname() and place.boot_id != boot_id() else None
