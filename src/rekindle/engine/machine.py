"""What this machine gives to those who run on it."""

from __future__ import annotations

import os
import resource

from rekindle.domain.errors import Refused
from rekindle.domain.packing import Room

_FILES, _FILES_OF_SLOT = 40, 4
"""Open files that a runner or a worker needs, and how many more for each slot (also for each subtask at once)."""


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


def provide_files(slots: int) -> None:
    """Raise this process's limit of open files, where that is too low for a runner with so many slots. Refused when
    the hard limit is too low."""
    needed = _FILES + _FILES_OF_SLOT * slots
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        fewer = (hard - _FILES) // _FILES_OF_SLOT
        raise Refused(
            f"this process may open {hard} files at once, and a run with -j {slots} needs {needed}",
            hint=f"`ulimit -n {max(1024, needed)}`" + (f", or fewer slots: -j {fewer}" if fewer > 0 else ""),
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
