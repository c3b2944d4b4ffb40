"""The command `rekindle` in a process of its own that imports nothing: imports are most of the time of a short command.

A host process, one for each process of the test run, has imported the modules of rekindle. It forks for each command.
The forked process has the words, environment, folder, streams and session that it would have as a new one. Different
are /proc/PID/cmdline and /proc/PID/environ, which are the host's, and the parent, which is the host."""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import json
import os
import pkgutil
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

COMMAND = Path(sys.executable).parent / "rekindle"
_IMPORTED = ("cli", "engine", "executors", "presentation", "query", "spec", "store", "web")
_LEFT_OUT = re.compile(r".*\.(__main__|top|dask\w*|light_imports)")  # they import large libraries, or need them absent
_NUMBER = struct.Struct("i")
_MOST_BYTES = 150_000  # of an order: a packet is smaller than the buffer of a socket


def can_fork(command: list[str], env: Mapping[str, str]) -> bool:
    """Return whether a forked command is as good as a new one. Python and libc read their variables when they start."""
    return command == [str(COMMAND)] and read_at_start(env) == read_at_start(os.environ)


def read_at_start(env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that Python and libc read when they start."""
    return {name: value for name, value in env.items() if name.startswith(("PYTHON", "LC_", "LANG", "LD_", "TZ"))}


@functools.cache
def _host() -> tuple[socket.socket, threading.Lock, subprocess.Popen[bytes]]:
    """Start the host. It ends when this process has ended."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        host = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
    return ours, threading.Lock(), host


class ForkedCommand(subprocess.Popen[bytes]):
    """A command that the host forks. The host is its parent, and reports its end in a pipe."""

    def _execute_child(
        self, args: Any, executable: Any, preexec_fn: Any, close_fds: Any, pass_fds: Any, cwd: Any, env: Any, *rest: Any
    ) -> None:
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite = rest[3:9]
        streams = [theirs if theirs >= 0 else own for own, theirs in enumerate((p2cread, c2pwrite, errwrite))]
        order = {"words": args[1:], "folder": os.fspath(cwd), "env": dict(env), "session": rest[-2]}
        self._status, write_end = os.pipe()
        link, turn, _ = _host()
        with turn:
            socket.send_fds(link, [json.dumps(order).encode()], [*streams, write_end])
        os.close(write_end)
        self.pid = self._read_number()
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)

    def _read_number(self) -> int:
        found = os.read(self._status, _NUMBER.size)
        assert found, "the host of forked commands has ended"
        return _NUMBER.unpack(found)[0]

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if wait_flags & os.WNOHANG:
            look = select.poll()
            look.register(self._status)
            if not look.poll(0):
                return 0, 0
        status = self._read_number()
        os.close(self._status)
        return self.pid, status

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        if self.returncode is None:
            with self._waitpid_lock:
                pid, status = self._try_wait(os.WNOHANG) if self.returncode is None else (0, 0)
                if pid:
                    self._handle_exitstatus(status)
        return self.returncode


def _serve(link: socket.socket) -> list[str]:
    """Fork for each order. Return the words of the command in the forked process."""
    for package in _IMPORTED:
        top = importlib.import_module(f"rekindle.{package}")
        for module in pkgutil.walk_packages(top.__path__, f"{top.__name__}."):
            if not _LEFT_OUT.fullmatch(module.name):
                importlib.import_module(module.name)
    assert threading.active_count() == 1
    gc.collect()
    gc.freeze()
    ended, wake = os.pipe()
    os.set_blocking(ended, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    look = select.poll()
    look.register(link, select.POLLIN)
    look.register(ended, select.POLLIN)
    forked: dict[int, int] = {}
    while True:
        ready = [descriptor for descriptor, _ in look.poll()]
        if ended in ready:
            os.read(ended, 1 << 12)
            _report_ends(forked)
        if link.fileno() not in ready:
            continue
        order, descriptors, _flags, _address = socket.recv_fds(link, 2 * _MOST_BYTES, 4, socket.MSG_CMSG_CLOEXEC)
        if not order:
            os._exit(0)
        *streams, status = descriptors
        if not (pid := os.fork()):
            for descriptor in (ended, wake, *forked.values()):
                os.close(descriptor)
            link.close()
            return _become(json.loads(order), streams, status)
        forked[pid] = status
        for descriptor in streams:
            os.close(descriptor)


def _report_ends(forked: dict[int, int]) -> None:
    """Write the status of each process that has ended to its pipe."""
    for pid in list(forked):
        ended, code = os.waitpid(pid, os.WNOHANG)
        if ended:
            status = forked.pop(pid)
            with contextlib.suppress(BrokenPipeError):  # nobody waits for the command
                os.write(status, _NUMBER.pack(code))
            os.close(status)


def _become(order: dict[str, Any], streams: list[int], status: int) -> list[str]:
    """Take the environment, folder, session and streams of the command, and report the process. Return the words."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if order["session"]:
        os.setsid()
    os.write(status, _NUMBER.pack(os.getpid()))
    os.close(status)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["env"])
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(min(streams), max(streams) + 1)
    sys.stdin = sys.__stdin__ = _stream(0, "r", sys.stdin)
    sys.stdout = sys.__stdout__ = _stream(1, "w", sys.stdout)
    sys.stderr = sys.__stderr__ = _stream(2, "w", sys.stderr, buffering=1)
    return order["words"]


def _stream(number: int, mode: str, like: TextIO, buffering: int = -1) -> TextIO:
    """Open a standard stream as the interpreter does when it starts."""
    return open(number, mode, buffering, encoding=like.encoding, errors=like.errors, closefd=False)


if __name__ == "__main__":
    sys.argv = [str(COMMAND), *_serve(socket.socket(fileno=int(sys.argv[1])))]
    sys.path[0] = str(COMMAND.parent)
    from rekindle.__main__ import main

    sys.exit(main())
