"""What this machine gives to those who run on it."""

from __future__ import annotations

import os

from rekindle.domain.packing import Room


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


def memory() -> int:
    """How many bytes of memory this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def machine_room() -> Room:
    """What this machine has for jobs, where a runner is started without options."""
    return Room(float(processors()), memory())


def owner_of(room: Room) -> str:
    """Whose room that is, for a message: this machine's, or that of a runner with options of its own."""
    return "this machine" if room == machine_room() else "this runner"
