"""Which process is meant: a pid alone is not enough, because numbers come round again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator
from functools import cache

# Positions in /proc/PID/stat behind the command's closing parenthesis (proc(5) counts from 1, with the pid first).
_STATE = 0
_PARENT = 1
_SESSION = 3
_FLAGS = 6
_START = 19
_BOUNDS = {"cmdline": 45, "environ": 47}  # of the start; the end is the next
_KERNEL_THREAD = 0x00200000  # PF_KTHREAD of linux/sched.h
_LOOKS_WITHIN_EXEC, _LOOK_EVERY = 200, 0.001  # seconds


CANCEL = signal.SIGUSR1
"""Tells a worker, which has lost its runner and reads no orders any more, to cancel what it runs."""


@cache
def boot_id() -> str:
    """What the kernel calls the time since it was started; another boot has another."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


@cache
def pid_space() -> int:
    """The number of the namespace in which this process sees others: the same pid is another's in another one. 0: the
    kernel does not tell."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


def start_of(pid: int) -> int | None:
    """When a process started, in clock ticks after boot; None: there is none (a zombie counts as none)."""
    fields = _stat(pid)
    if fields is None or fields[_STATE] in (b"Z", b"X"):
        return None
    return int(fields[_START])


def command_of(pid: int) -> str:
    """The beginning of a process's command line, or its name where it has none; "" when there is no such process."""
    try:
        words = _read(pid, "cmdline")[:_LONGEST_COMMAND].split(b"\0")
        if not words[0]:
            with open(f"/proc/{pid}/comm", "rb") as file:
                words = [file.read().strip()]
    except OSError:
        return ""
    return b" ".join(words).strip().decode(errors="replace")


_LONGEST_COMMAND = 120


def session_members(leader: int) -> list[int]:
    """The living processes of the session that `leader` leads or led."""
    wanted = b"%d" % leader
    return [pid for pid, fields in _living() if fields[_SESSION] == wanted]


def children_of(parent: int) -> list[int]:
    """The children of a process, zombies included."""
    try:
        with open(f"/proc/{parent}/task/{parent}/children", "rb") as file:
            return [int(pid) for pid in file.read().split()]
    except FileNotFoundError:  # a kernel without that file
        wanted = b"%d" % parent
        return [pid for pid, fields in _all() if fields[_PARENT] == wanted]


def ancestors_of(pid: int) -> list[tuple[int, int]]:
    """Return (pid, start) of the parent of a process, of its parent, and so on, as far as they can be seen."""
    found: list[tuple[int, int]] = []
    fields = _stat(pid)
    while fields is not None and (parent := int(fields[_PARENT])):
        fields = _stat(parent)
        if fields is not None:
            found.append((parent, int(fields[_START])))
    return found


def descendants_of(roots: Iterable[int]) -> list[int]:
    """These processes and all that they and theirs have started, zombies included; parents first."""
    children = _children_of_threads if _tells_children() else _by_parent().get
    waiting, found = list(roots), dict[int, None]()
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found[pid] = None
            waiting += children(pid) or ()
    return list(found)


@cache
def _tells_children() -> bool:
    """Whether the kernel has a file of each thread's children."""
    return os.path.exists(f"/proc/self/task/{os.getpid()}/children")


def _children_of_threads(parent: int) -> list[int]:
    """The children of a process, whichever of its threads has started them."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{parent}/task")
    except (FileNotFoundError, ProcessLookupError):
        return found
    for thread in threads:
        try:
            with open(f"/proc/{parent}/task/{thread}/children", "rb") as file:
                found += [int(pid) for pid in file.read().split()]
        except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            continue
    return found


def _by_parent() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for pid, fields in _all():
        found.setdefault(int(fields[_PARENT]), []).append(pid)
    return found


def started_with(variables: dict[bytes, str]) -> list[tuple[int, str]]:
    """(pid, value) of the living processes whose environment at their start held one of the keys of `variables`
    (each a whole `NAME=value`). Other users' processes are passed over."""
    found = []
    for pid, fields in _living():
        if int(fields[_FLAGS]) & _KERNEL_THREAD:
            continue
        try:
            environment = _read(pid, "environ").split(b"\0")
        except OSError:
            continue  # gone meanwhile, or another user's
        found += [(pid, variables[entry]) for entry in environment if entry in variables]
    return found


def _read(pid: int, name: str) -> bytes:
    """Read /proc/PID/cmdline or environ of a process, after the exec(2) that it may be in.

    While exec(2) builds the new memory of a process, both files are empty and stat shows 0 for where they
    start and end (fs/proc/base.c, environ_read). Raises OSError when the process is gone or another user's.
    """
    start = _BOUNDS[name]
    for _ in range(_LOOKS_WITHIN_EXEC):
        with open(f"/proc/{pid}/{name}", "rb") as file:
            text = file.read()
        fields = None if text else _stat(pid)
        if fields is None or fields[_STATE] in (b"Z", b"X") or b"0" != fields[start] == fields[start + 1]:
            return text
        time.sleep(_LOOK_EVERY)
    return b""


def _living() -> Iterator[tuple[int, list[bytes]]]:
    return ((pid, fields) for pid, fields in _all() if fields[_STATE] not in (b"Z", b"X"))


def _all() -> Iterator[tuple[int, list[bytes]]]:
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := _stat(int(name))) is not None:
            yield int(name), fields


def _stat(pid: int) -> list[bytes] | None:
    """The fields of /proc/PID/stat behind the command, which may itself hold blanks and parentheses."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text[text.rindex(b")") + 2 :].split()
