"""The cpus, memory and open files of this machine."""

from __future__ import annotations

import os
import resource

from rekindle.domain.errors import Refused
from rekindle.domain.packing import Capacity

_FILES, _FILES_PER_SLOT = 40, 4
"""Open files that a runner or a worker needs, and how many more for each slot or concurrent subtask."""


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0))


def memory() -> int:
    """Return how many bytes of memory this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def machine_capacity() -> Capacity:
    """Return the capacity of a runner that is started without options."""
    return Capacity(float(processors()), memory())


def capacity_owner(room: Capacity) -> str:
    """Return, for a message, who has this capacity: "this machine", or "this runner" if its options set another."""
    return "this machine" if room == machine_capacity() else "this runner"


def files_needed(slots: int) -> int:
    """Return how many files a runner with `slots` slots opens at once."""
    return _FILES + _FILES_PER_SLOT * slots


def raise_file_limit(slots: int) -> None:
    """Raise the soft limit of open files where it is too low for a runner with `slots` slots.

    Raise Refused when the hard limit is too low."""
    needed = files_needed(slots)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        fewer = (hard - _FILES) // _FILES_PER_SLOT
        raise Refused(
            f"this process may open {hard} files at once, and a run with -j {slots} needs {needed}",
            hint=f"`ulimit -n {max(1024, needed)}`" + (f", or fewer slots: -j {fewer}" if fewer > 0 else ""),
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
