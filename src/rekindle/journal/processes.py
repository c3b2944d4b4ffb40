"""Processes of this host: identity, relations and kills by the kernel for lack of memory.

A pid alone does not identify a process, because the kernel reuses pids; a pid and a start time do.

The out-of-memory counter is the one of this process's own memory cgroup (its jobs are in it, unless they left it), of
either version. Without one, the counter of the whole machine is used. See cgroups(7), "memory.events" in the kernel's
cgroup-v2.rst and "memory.oom_control" in its cgroup-v1/memory.rst."""

from __future__ import annotations

# `signal` takes a millisecond to import.
import _signal  # type: ignore[import-not-found]
import math
import os
import time
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

# Positions in /proc/PID/stat behind the command's closing parenthesis (proc(5) counts from 1, with the pid first).
_STATE = 0
_PARENT = 1
_SESSION = 3
_FLAGS = 6
_START = 19
_BOUNDS = {"cmdline": 45, "environ": 47}  # of the start; the end is the next
_KERNEL_THREAD = 0x00200000  # PF_KTHREAD of linux/sched.h
_LOOKS_WITHIN_EXEC, _LOOK_EVERY = 200, 0.001  # seconds


CANCEL_SIGNAL = _signal.SIGUSR1
"""The signal that makes a worker whose runner is gone cancel its attempts."""


def host_name() -> str:
    """Return the name of this host, as `socket.gethostname` does; `socket` takes a millisecond to import."""
    return os.uname().nodename


@cache
def boot_id() -> str:
    """Return the kernel's identifier of this boot."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


@cache
def pid_namespace() -> int:
    """Return the number of this process's pid namespace; the same pid means another process in another namespace. 0
    if the kernel does not say."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


def start_of(pid: int) -> int | None:
    """Return the start time of a process in clock ticks after boot; None if there is no such process (a zombie
    counts as none)."""
    fields = _stat(pid)
    if fields is None or fields[_STATE] in (b"Z", b"X"):
        return None
    return int(fields[_START])


def command_of(pid: int) -> str:
    """Return the beginning of a process's command line, or its name if it has none; "" if there is no such process."""
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
    """Return the living processes of the session that `leader` leads or led."""
    wanted = b"%d" % leader
    return [pid for pid, fields in _living() if fields[_SESSION] == wanted]


def children_of(parent: int) -> list[int]:
    """Return the children of a process, zombies included."""
    try:
        with open(f"/proc/{parent}/task/{parent}/children", "rb") as file:
            return [int(pid) for pid in file.read().split()]
    except FileNotFoundError:  # a kernel without that file
        wanted = b"%d" % parent
        return [pid for pid, fields in _all() if fields[_PARENT] == wanted]


def own_children() -> list[int]:
    """Return the children of this process's first thread, zombies included, as `children_of` does. Their list stays
    open: to open it takes ten times as long as to read it. Not for a process in which functions of users run: they may
    close what they have not opened."""
    pid = os.getpid()
    fd = _children_fd(pid)
    content = os.pread(fd, _LONGEST_LIST, 0) if fd is not None else b""
    return children_of(pid) if fd is None or len(content) == _LONGEST_LIST else [int(one) for one in content.split()]


_LONGEST_LIST = 4096


@cache
def _children_fd(pid: int) -> int | None:
    """Return a descriptor for the list of the children of a process; None if the kernel has no such list."""
    try:
        return os.open(f"/proc/{pid}/task/{pid}/children", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None


def ancestors_of(pid: int) -> list[tuple[int, int]]:
    """Return (pid, start) of the parent of a process, of that parent's parent and so on, as far as they are visible."""
    found: list[tuple[int, int]] = []
    fields = _stat(pid)
    while fields is not None and (parent := int(fields[_PARENT])):
        fields = _stat(parent)
        if fields is not None:
            found.append((parent, int(fields[_START])))
    return found


def descendants_of(roots: Iterable[int]) -> list[int]:
    """Return these processes and all their descendants, zombies included; parents first."""
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
    """Return whether the kernel provides the children of each thread as a file."""
    return os.path.exists(f"/proc/self/task/{os.getpid()}/children")


def _children_of_threads(parent: int) -> list[int]:
    """Return the children of all threads of a process."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{parent}/task")
    except (FileNotFoundError, ProcessLookupError):
        return found
    for thread in threads:
        try:
            with open(f"/proc/{parent}/task/{thread}/children", "rb") as file:
                found += [int(pid) for pid in file.read().split()]
        except (FileNotFoundError, ProcessLookupError):  # the thread has ended
            continue
    return found


def _by_parent() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for pid, fields in _all():
        found.setdefault(int(fields[_PARENT]), []).append(pid)
    return found


def processes_with(variables: dict[bytes, str]) -> list[tuple[int, str]]:
    """Return (pid, value) of the living processes whose environment contained one of the keys of `variables`
    (`NAME=value` each) at their start. Other users' processes are skipped."""
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
    """Return the fields of /proc/PID/stat behind the command, which may itself hold blanks and parentheses."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text[text.rindex(b")") + 2 :].split()


def wait_readable(descriptors: Iterable[int], seconds: float | None = None) -> set[int]:
    """Return the descriptors that are readable, or whose process has ended, as soon as there is one; at most `seconds`
    later, which may be negative. None waits without a limit.

    poll(2) takes any descriptor; select(2) takes none above 1023.
    """
    import select

    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    milliseconds = None if seconds is None else max(0, math.ceil(seconds * 1000))
    return {descriptor for descriptor, _ in poll.poll(milliseconds)}


_MACHINE = "/proc/vmstat"
_MOST = 65536  # bytes to read of such a file


class OomKillCounter:
    """The counter of out-of-memory kills. It is read when the number must be exact, and otherwise a few times a
    second at most."""

    def __init__(self, process: str = "/proc/self") -> None:
        """`process`: the process whose cgroup is used, as a path in /proc."""
        self.path = _counter_file(process)
        self._at = float("-inf")
        self._count = 0

    def count(self, now: float, age: float = 0.2) -> int:
        """Return the number of kills by `now` (monotonic seconds), or at most `age` seconds before."""
        if now - self._at > age:
            self._count, self._at = self._read(), now
        return self._count

    def since(self, before: int) -> dict[str, Any] | None:
        """Return evidence of kills since the count was `before`; None if there were none."""
        after = self._read()
        if after <= before:
            return None
        return {"seen": f"the kernel counts {after - before} in {self.path}", "oom_kills": after - before}

    def _read(self) -> int:
        found = _kills_counted_in(self.path)
        return self._count if found is None else found  # None: the cgroup has been removed


def _counter_file(process: str) -> str:
    """Return the path of the nearest counter; "" if there is none."""
    paths = (*_of_cgroups(process), _MACHINE)
    return next((path for path in paths if _kills_counted_in(path) is not None), "")


def _kills_counted_in(path: str) -> int | None:
    """Return the number of kills that a file counts; None if the file cannot be read or counts none."""
    try:
        with open(path, "rb", buffering=0) as file:
            text = file.read(_MOST)
    except OSError:
        return None
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith(b"oom_kill ")), None)


def _of_cgroups(process: str) -> Iterator[str]:
    """Yield the paths of the counters of a process's cgroups: version 1's memory controller, then version 2."""
    try:
        with open(f"{process}/cgroup") as file:
            groups = [line.rstrip("\n").split(":", 2) for line in file]
        with open(f"{process}/mountinfo") as file:
            mounts = [line.split() for line in file]
    except OSError:
        return
    for number, controllers, path in groups:
        if "memory" in controllers.split(","):
            yield from _mounted(mounts, "cgroup", "memory", path, "memory.oom_control")
        elif number == "0":
            yield from _mounted(mounts, "cgroup2", "", path, "memory.events")


def _mounted(mounts: list[list[str]], kind: str, option: str, group: str, name: str) -> Iterator[str]:
    """Yield the file of a cgroup wherever its hierarchy is mounted; see proc_pid_mountinfo(5) for the fields."""
    for fields in mounts:
        dash = fields.index("-")
        if fields[dash + 1] != kind or (option and option not in fields[-1].split(",")):
            continue
        root, point = fields[3], fields[4]
        inside = group if root == "/" else group.removeprefix(root)
        yield f"{point}/{inside.strip('/')}/{name}".replace("//", "/")
