"""Workers of the local executor without the start of an interpreter: it is most of the time of a worker of one job.

A host process, one for each process of the test run, has imported the modules of a worker. It forks for each worker
that this process starts. A forked worker has the words, environment, folder, mask, descriptors and session that it
would have as a new process, and is a child of this process (CLONE_PARENT of clone(2)), which reaps it. Different are
/proc/PID/cmdline and /proc/PID/environ, which are the host's."""

from __future__ import annotations

import ctypes
import fcntl
import gc
import json
import os
import platform
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

_CLONE = {"x86_64": 56, "aarch64": 220}.get(platform.machine())  # the number of the system call
_CLONE_PARENT = 0x8000
_WORDS = [sys.executable, "-P", "-m", "rekindle.worker"]
_NUMBER = struct.Struct("i")
_MOST_BYTES = 150_000  # of an order: a packet is smaller than the buffer of a socket
_ABOVE = 64  # descriptors of an order are lifted above this number before they are put in place

_spawn = os.posix_spawn


class WorkerHost:
    """The host, which is started for the first worker. It ends when this process has ended."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """`environment`: of the host. Python and libc read some variables when they start."""
        self._environment = dict(environment)
        self._turn = threading.Lock()
        self._link: socket.socket | None = None
        self._host: subprocess.Popen[bytes] | None = None

    def close(self) -> None:
        """End the host."""
        if self._link is not None and self._host is not None:
            self._link.close()
            self._host.wait(timeout=60)

    def spawn(
        self, path: str, argv: Sequence[str], env: Mapping[str, str], *, file_actions: Sequence[Any] = (), **more: Any
    ) -> int:
        """Do as os.posix_spawn does, but let the host fork a worker that needs no interpreter of its own."""
        if list(argv[: len(_WORDS)]) != _WORDS or not self._is_like(env):
            return _spawn(path, argv, env, file_actions=file_actions, **more)
        order = json.dumps({"words": argv[len(_WORDS) :], "env": dict(env), "umask": _umask()}).encode()
        if len(order) > _MOST_BYTES:
            return _spawn(path, argv, env, file_actions=file_actions, **more)
        assert more == {"setsid": True, "setsigmask": ()}, more
        places: dict[int, int] = {}
        folder = os.open(".", os.O_PATH | os.O_CLOEXEC)
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            for action, *words in file_actions:
                if action == os.POSIX_SPAWN_OPEN:
                    assert words[1] == os.devnull
                    places[words[0]] = null
                else:
                    places[words[1]] = words[0]
            return self._fork(order, [places[number] for number in range(len(places))], folder)
        finally:
            os.close(null)
            os.close(folder)

    def _is_like(self, env: Mapping[str, str]) -> bool:
        from forked_commands import read_at_start  # not in the host, which needs less

        return _CLONE is not None and read_at_start(env) == read_at_start(self._environment)

    def _fork(self, order: bytes, descriptors: list[int], folder: int) -> int:
        """Fork a worker with these descriptors as 0, 1, 2 and so on. Return its pid."""
        with self._turn:
            link = self._started()
            socket.send_fds(link, [order], [*descriptors, folder])
            answer = link.recv(_NUMBER.size)
        assert answer, "the host of forked workers has ended"
        return int(_NUMBER.unpack(answer)[0])

    def _started(self) -> socket.socket:
        if self._link is None:
            self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._host = subprocess.Popen(
                    [sys.executable, "-P", __file__, str(theirs.fileno())],
                    env=self._environment,
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    cwd="/",
                )
        return self._link


def _umask() -> int:
    """Return the mask of new files. os.umask(2) would change it for the other threads too."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1], 8) for line in file if line.startswith("Umask:"))


def _serve(link: socket.socket) -> list[str]:
    """Fork for each order. Return the words of the worker in the forked process."""
    assert threading.active_count() == 1
    gc.collect()
    gc.freeze()
    while True:
        order, descriptors, _flags, _address = socket.recv_fds(link, 2 * _MOST_BYTES, 8, socket.MSG_CMSG_CLOEXEC)
        if not order:
            os._exit(0)
        if not _fork_sibling():
            return _become(json.loads(order), descriptors, link)
        for descriptor in descriptors:
            os.close(descriptor)


def _fork_sibling() -> int:
    """Do as os.fork() does, but make the new process a child of this process's parent."""
    python = ctypes.pythonapi
    python.PyOS_BeforeFork()
    words = (_CLONE, _CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0)
    if not (pid := python.syscall(*map(ctypes.c_long, words))):
        python.PyOS_AfterFork_Child()
        return 0
    python.PyOS_AfterFork_Parent()
    assert pid > 0, "a worker cannot be forked"
    return int(pid)


def _become(order: dict[str, Any], descriptors: list[int], link: socket.socket) -> list[str]:
    """Take the session, folder, environment and descriptors of the worker, and report the process. Return its words."""
    os.setsid()
    *streams, folder = descriptors
    os.fchdir(folder)
    os.umask(order["umask"])
    os.environ.clear()
    os.environ.update(order["env"])
    lifted = [fcntl.fcntl(stream, fcntl.F_DUPFD, _ABOVE) for stream in streams]
    link.send(_NUMBER.pack(os.getpid()))
    link.close()
    for number, stream in enumerate(lifted):
        os.dup2(stream, number)
    os.closerange(len(streams), max(*lifted, *descriptors) + 1)
    return list(order["words"])


if __name__ == "__main__":
    from rekindle.worker import __main__ as worker

    sys.argv = [worker.__file__, *_serve(socket.socket(fileno=int(sys.argv[1])))]
    worker.main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(0)
