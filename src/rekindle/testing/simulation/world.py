"""The simulated world: one clock, one source of randomness, processes that are only entries of a table, and a log.

While a world is entered, the functions of the standard library and of rekindle that read a clock, draw random numbers,
look at processes or write files are replaced, for the thread that entered it alone. A replacement in one place also
reaches calls that a later change of the engine adds."""

from __future__ import annotations

import concurrent.futures
import errno
import os
import random
import select
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import msgspec

from rekindle.engine import machine
from rekindle.journal import processes
from rekindle.journal.processes import CANCEL_SIGNAL
from rekindle.testing.fakes import Crash, InlineExecutor
from rekindle.testing.simulation.faults import Fault, Faults

EPOCH = 1_000_000_000.0
"""The wall clock at the start of a simulation, in seconds since the epoch."""

FIRST_PID = 1 << 24
"""Above the highest pid of Linux, so that no signal can reach a real process."""


class Process(msgspec.Struct, eq=False):
    """A simulated process: a runner, a worker or a person's command."""

    name: str
    pid: int
    space: int  # its pid namespace: only processes of the same one see it
    boot: str
    alive: bool = True
    paused: float = 0.0  # it does nothing until then (monotonic), as after SIGSTOP
    canceled: bool = False  # it got CANCEL_SIGNAL
    end: int = -1  # an eventfd that is readable once it has ended
    on_death: list[Callable[[], None]] = msgspec.field(default_factory=list)

    @property
    def started(self) -> int:
        """Return its start time in clock ticks after boot."""
        return self.pid * 7


class World:
    """Everything that a simulation shares. `switch` is called where another process may go on first."""

    def __init__(self, seed: int, faults: Faults) -> None:
        self.random, self.faults = random.Random(seed), faults
        self.wall, self.passed = EPOCH, 0.0
        self.log: list[str] = []
        self.processes: dict[int, Process] = {}
        self.good: dict[tuple[int, int], set[int]] = {}  # subtasks that succeeded, by (attempt, step)
        self.durable = self.random.random() < 0.25  # each line of a journal and each commit is synced
        self.boots = 0
        self.switch: Callable[[], None] = lambda: None
        self.sleep: Callable[[float], None] = self.advance
        self.current = self.start("simulation")
        self._pidfds: dict[int, int] = {}  # pids by descriptor
        self._thread = threading.get_ident()
        self._quiet = 0

    # --- time

    def clock(self) -> float:
        """Return the wall clock, which faults may set."""
        return self.wall

    def monotonic(self) -> float:
        """Return the seconds that have passed."""
        return self.passed

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.wall += max(0.0, seconds)
        self.passed += max(0.0, seconds)

    def note(self, text: str) -> None:
        """Add a line to the log."""
        self.log.append(f"{self.passed:11.4f} {self.current.name}: {text}")

    # --- processes

    def start(self, name: str, space: int = 1) -> Process:
        """Start a process."""
        pid = FIRST_PID + len(self.processes)
        self.processes[pid] = made = Process(name, pid, space, f"boot-{self.boots}")
        return made

    def kill(self, process: Process, why: str = "is killed") -> None:
        """End a process. Everybody who watches it notices."""
        if process.alive:
            self.note(f"{process.name} {why}")
            process.alive = False
            if process.end >= 0:
                os.eventfd_write(process.end, 1)
            for call in process.on_death:
                call()

    def cut_power(self) -> None:
        """Kill every process at once, and boot again."""
        self.note("the power is cut")
        for process in self.processes.values():
            if process.alive and process is not self.current:
                self.kill(process)
        self.boots += 1
        self.current.boot = f"boot-{self.boots}"

    @contextmanager
    def running(self, process: Process) -> Iterator[None]:
        """Run the block as this process."""
        before, self.current = self.current, process
        try:
            yield
        finally:
            self.current = before

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Let no fault happen in the block, and nobody else run."""
        self._quiet += 1
        try:
            yield
        finally:
            self._quiet -= 1

    @property
    def is_quiet(self) -> bool:
        """Return whether the block of `quiet` is entered."""
        return self._quiet > 0

    # --- faults

    def fault(self, seam: str) -> Fault | None:
        """Return the fault that happens at this seam. A kill raises Crash."""
        if self._quiet or self.current.name == "simulation":
            return None
        if not self.current.alive:
            raise Crash
        found = self.faults.at(seam)
        if found is not None:
            self.note(f"{found.value} at {seam}")
        if found is Fault.KILL:
            self.kill(self.current)
            raise Crash
        return found

    def file_fault(self, seam: str) -> None:
        """Raise the OSError of the fault that happens at this seam."""
        found = self.fault(seam)
        if found is not None:
            number = errno.ENOSPC if found is Fault.FULL else errno.EIO
            raise OSError(number, os.strerror(number))

    # --- replacements

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Replace the functions for this thread."""
        system = self._system_functions()
        own: dict[Any, Any] = {
            processes.start_of: self._start_of,
            processes.boot_id: lambda: self.current.boot,
            processes.pid_namespace: lambda: self.current.space,
            processes.host_name: lambda: "simulated",
            processes.processes_with: lambda _: [],  # an attempt is a part of its worker
            processes.session_members: lambda _: [],
            processes.ancestors_of: lambda _: [],
            processes.wait_readable: self._wait_readable,
            machine.processors: lambda: 2,
            machine.memory: lambda: 1 << 33,
            concurrent.futures.ThreadPoolExecutor: InlineExecutor,
        }
        with ExitStack() as undo:
            for module, name, fake in system:
                real = getattr(module, name)
                undo.callback(setattr, module, name, real)
                setattr(module, name, self._in_this_thread(real, fake))
            undo.callback(_replace_everywhere, {fake: real for real, fake in own.items()})
            _replace_everywhere(own)
            undo.callback(self._close)
            yield

    def _in_this_thread(self, real: Callable[..., Any], fake: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            return (fake if threading.get_ident() == self._thread else real)(*args, **kwargs)

        return call

    def _system_functions(self) -> Sequence[tuple[Any, str, Callable[..., Any]]]:
        write, replace, rename, sync, data_sync = os.write, os.replace, os.rename, os.fsync, os.fdatasync

        def faulty_write(fd: int, data: bytes) -> int:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return write(fd, data)
            if not self._quiet and self.faults.tears() and len(data) > 1:
                write(fd, data[: self.random.randrange(1, len(data))])
                self.note("a write is torn")
                self.file_fault("torn write")
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.file_fault("write")
            return write(fd, data)

        def faulty(seam: str, real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                self.file_fault(seam)
                return real(*args, **kwargs)

            return call

        return [
            (time, "time", self.clock),
            (time, "monotonic", self.monotonic),
            (time, "sleep", lambda seconds: self.sleep(seconds)),
            (os, "urandom", self.random.randbytes),
            (os, "getpid", lambda: self.current.pid),
            (os, "pidfd_open", self._pidfd_open),
            (os, "write", faulty_write),
            (os, "replace", faulty("rename", replace)),
            (os, "rename", faulty("rename", rename)),
            (os, "fsync", faulty("sync", sync)),
            (os, "fdatasync", faulty("sync", data_sync)),
            (signal, "signal", lambda *_: signal.SIG_DFL),
            (signal, "pidfd_send_signal", self._send_signal),
        ]

    def _close(self) -> None:
        for process in self.processes.values():
            if process.end >= 0:
                os.close(process.end)
                process.end = -1

    def _start_of(self, pid: int) -> int | None:
        found = self.processes.get(pid)
        return found.started if found is not None and found.alive and found.space == self.current.space else None

    def _pidfd_open(self, pid: int, _flags: int = 0) -> int:
        found = self.processes.get(pid)
        if found is None or not found.alive:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        if found.end < 0:
            found.end = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        handle = os.dup(found.end)
        self._pidfds[handle] = pid
        return handle

    def _send_signal(self, handle: int, number: int, *_: object) -> None:
        target = self.processes[self._pidfds[handle]]
        if not target.alive:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        if number == CANCEL_SIGNAL:
            target.canceled = True
        else:
            self.kill(target)

    def _wait_readable(self, descriptors: Iterable[int], seconds: float | None = None) -> set[int]:
        handles = list(descriptors)
        readable = ready(handles)
        if not readable and seconds is not None and seconds > 0:
            self.sleep(seconds)
            readable = ready(handles)
        return readable


def ready(descriptors: Iterable[int]) -> set[int]:
    """Return the descriptors that are readable now."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return {descriptor for descriptor, _ in poll.poll(0)}


def _replace_everywhere(fakes: dict[Any, Any]) -> None:
    """Replace objects in every loaded module of rekindle that has imported them by name."""
    wanted = {id(real): fake for real, fake in fakes.items()}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "rekindle" and ".testing.simulation" not in name:
            for key, value in list(vars(module).items()):
                if id(value) in wanted:
                    setattr(module, key, wanted[id(value)])
