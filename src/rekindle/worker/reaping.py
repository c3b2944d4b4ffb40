"""The end of processes: what a step started ends with it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Collection

from rekindle.domain.models import LeftProcess, LeftRunning
from rekindle.journal.processes import children_of, command_of, descendants_of, start_of
from rekindle.worker.findings import MOST_NAMED

PATIENCE = 5.0
"""Seconds that a killed process is given to go; one that hangs in the kernel is left behind then."""


def kill_group(leader: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to a process group, if it is still there."""
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):  # none left, or only some with another user's rights
        return


def signal_trees(leader: int, orphans: Collection[int], number: int) -> None:
    """Send a signal to a process group (0: none), to what its leader has started outside of it, and to the trees of
    `orphans`; none gets it twice."""
    trees = descendants_of([leader, *orphans] if leader else orphans)
    outside = [pid for pid in trees if not in_group(pid, leader)]
    if leader:
        kill_group(leader, number)
    signal_each(outside, number)


def signal_each(pids: Collection[int], number: int) -> None:
    """Send a signal to processes, as far as they are there and ours."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def in_group(pid: int, leader: int) -> bool:
    """A process belongs to a process group; one that is gone does not."""
    try:
        return os.getpgid(pid) == leader
    except ProcessLookupError:
        return False


def orphans(keep: Collection[int], leader: int = 0) -> list[int]:
    """The living children of this process but those of `keep`, of which only those of the group of `leader` count."""
    return [
        pid
        for pid in children_of(os.getpid())
        if pid != leader and (pid not in keep or in_group(pid, leader)) and start_of(pid) is not None
    ]


def left_running(keep: Collection[int], leader: int = 0, *, killed: bool = True) -> LeftRunning | None:
    """The living processes that a step has left: `orphans` and all that they have started. None: there is none."""
    roots = orphans(keep, leader)
    if not roots:
        return None
    living = [pid for pid in descendants_of(roots) if start_of(pid) is not None]
    return LeftRunning(killed, len(living), tuple(LeftProcess(pid, command_of(pid)) for pid in living[:MOST_NAMED]))


def end_leftovers(keep: Collection[int] = ()) -> tuple[bool, float]:
    """Kill and reap every child but those of `keep`. As the nearest subreaper, this process is the parent of whatever
    a dead step has left behind, in whatever group or session. Returns whether there was any, and what they took of
    processor time."""
    if not keep and childless():
        return False, 0.0
    found, cpu = False, 0.0
    limit = time.monotonic() + PATIENCE
    while left := [pid for pid in children_of(os.getpid()) if pid not in keep]:
        found = True
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        for pid in left:
            cpu += _reap(pid, limit)
        if time.monotonic() >= limit:
            break
    return found, cpu


def childless() -> bool:
    """This process has no children, not even dead ones."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False


def _reap(pid: int, limit: float) -> float:
    handle = os.pidfd_open(pid)
    try:
        wait_for(handle, limit - time.monotonic())
    finally:
        os.close(handle)
    _, _, usage = os.wait4(pid, os.WNOHANG)
    return usage.ru_utime + usage.ru_stime


def wait_for(handle: int, seconds: float) -> bool:
    """Wait until the process of a pidfd has ended, for at most so long; whether it has."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(max(0, seconds) * 1000))


def become_subreaper() -> None:
    """Become the parent of orphaned descendants: prctl(PR_SET_CHILD_SUBREAPER), see prctl(2)."""
    _prctl(36, 1)


def die_with_parent(parent: int) -> None:
    """Be killed when the parent dies: prctl(PR_SET_PDEATHSIG). Ends at once when it has died already."""
    _prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _prctl(option: int, value: int) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")
