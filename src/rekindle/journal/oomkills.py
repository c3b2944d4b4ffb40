"""How often the kernel has killed processes for want of memory: what tells such a kill from anybody else's SIGKILL.

The counter is that of this process's own memory cgroup (its jobs are in it, unless they left it), of either version;
where there is none, that of the whole machine. See cgroups(7), "memory.events" in the kernel's cgroup-v2.rst and
"memory.oom_control" in its cgroup-v1/memory.rst.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

_MACHINE = "/proc/vmstat"
_MOST = 65536  # bytes of such a file


class OomKills:
    """The counter, read when it must be exact and at most a few times a second otherwise."""

    def __init__(self, process: str = "/proc/self") -> None:
        """`process`: whose cgroup is meant."""
        self.path, self._fd = _open(process)
        self._at = float("-inf")
        self._count = 0

    def count(self, now: float, age: float = 0.2) -> int:
        """How often it was by `now` (monotonic seconds), or at most `age` seconds before."""
        if now - self._at > age:
            self._count, self._at = self._read(), now
        return self._count

    def since(self, before: int) -> dict[str, Any] | None:
        """The evidence that there were more since it was `before`; None: there were none."""
        after = self._read()
        if after <= before:
            return None
        return {"seen": f"the kernel counts {after - before} in {self.path}", "oom_kills": after - before}

    def _read(self) -> int:
        if self._fd < 0:
            return 0
        try:
            text = os.pread(self._fd, _MOST, 0)
        except OSError:  # the cgroup has been removed
            return self._count
        return next((int(line.split()[1]) for line in text.splitlines() if line.startswith(b"oom_kill ")), 0)


def _open(process: str) -> tuple[str, int]:
    """(path, descriptor) of the nearest counter there is; -1: there is none."""
    for path in (*_of_cgroups(process), _MACHINE):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        if b"oom_kill " in os.pread(fd, _MOST, 0):
            return path, fd
        os.close(fd)
    return "", -1


def _of_cgroups(process: str) -> Iterator[str]:
    """Where the counters of a process's cgroups should be: version 1's memory controller, then version 2."""
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
    """The file of a cgroup, wherever its hierarchy is mounted; see proc_pid_mountinfo(5) for the fields."""
    for fields in mounts:
        dash = fields.index("-")
        if fields[dash + 1] != kind or (option and option not in fields[-1].split(",")):
            continue
        root, point = fields[3], fields[4]
        inside = group if root == "/" else group.removeprefix(root)
        yield f"{point}/{inside.strip('/')}/{name}".replace("//", "/")
