"""The process state that calls share in a call host: set up before each call, and restored after it.

Restored: the environment (also variables set by C code), umask, timers, signal handlers and the mask, resource limits,
nice value, cpu affinity, locale, time zone, stdin, stdout and stderr, and the interpreter's parts listed in `_PARTS`.
Not restored: module state (globals, import hooks, caches, random seeds, loggers) and open files."""

from __future__ import annotations

import gc
import locale
import os
import resource
import signal
import sys
import threading
from _signal import getsignal, pthread_sigmask  # type: ignore[import-not-found]  # signal's make enums: 90 us for all
from collections.abc import Callable, Mapping
from contextlib import suppress
from operator import attrgetter
from typing import Any

from rekindle.worker.function_calls import flush_streams
from rekindle.worker.process_environment import ProcessEnvironment

_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
_SIGNALS = sorted(signal.valid_signals())
_SYS_HOOKS = ("excepthook", "unraisablehook", "displayhook", "breakpointhook")
_sys_hooks = attrgetter(*_SYS_HOOKS)
_SIG_BLOCK = int(signal.SIG_BLOCK)
_LIMITS = sorted({getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")})


class Irreversible(Exception):
    """A call has changed something that its process cannot restore."""


_ERRORS = (OSError, ValueError, TypeError, AttributeError, RecursionError, locale.Error, Irreversible)
"""Errors of a part that a call has left in a state that cannot be read or restored."""


class ProcessState:
    """The state of this process before any call. `enter` and `restore` enclose each call."""

    def __init__(self) -> None:
        self._environment = ProcessEnvironment()
        self._umask = _umask()
        self._values = _values()
        self._threads = threading.active_count()

    def enter(self, variables: Mapping[str, str]) -> None:
        """Before a call: set the environment of its attempt: `variables` over the host's own."""
        self._environment.enter(variables)

    def keep_imported(self) -> bool:
        """After the first import of a call's module: keep what that changed, since the module is not imported again.
        Return whether it changed anything; the process is then fit for calls of that module only."""
        values, umask = _values(), _umask()
        changed = values != self._values or umask != self._umask
        self._values, self._umask, self._threads = values, umask, threading.active_count()
        return self._environment.keep_imported() or changed

    def restore(self) -> bool:
        """After a call: flush its streams and restore the state. Return False if no other call may run in this
        process: something could not be restored, or a thread of the call is alive."""
        try:
            _disarm()
        except BaseException:  # noqa: BLE001 - a timer's handler of the call raised it
            _disarm()
        signal.set_wakeup_fd(-1)
        if "faulthandler" in sys.modules:
            sys.modules["faulthandler"].cancel_dump_traceback_later()
        flush_streams()
        try:
            restored = _values() == self._values
        except _ERRORS:
            restored = False
        restored = restored or self._restore_parts()
        os.umask(self._umask)
        if threading.active_count() > self._threads:  # a thread that reads the environment now could crash
            return False
        self._environment.restore()
        return restored

    def _restore_parts(self) -> bool:
        """Restore the parts that have changed. Return False if one could not be restored."""
        restored = True
        for (get, put), before in zip(_PARTS, self._values, strict=True):
            try:
                if get() != before:
                    put(before)
            except _ERRORS:
                restored = False
        return restored


def _disarm() -> None:
    for timer in _TIMERS:
        signal.setitimer(timer, 0)


def _values() -> list[Any]:
    """Return the values of all parts."""
    return [get() for get in _GETTERS]


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _handlers() -> list[Any]:
    return list(map(getsignal, _SIGNALS))


def _put_handlers(before: list[Any]) -> None:
    for number, handler in zip(_SIGNALS, before, strict=True):
        if getsignal(number) is not handler:
            signal.signal(number, handler)


def _blocked() -> set[int]:
    found: set[int] = pthread_sigmask(_SIG_BLOCK, ())
    return found


def _put_blocked(before: set[int]) -> None:
    """Discard pending signals: they were the call's."""
    while signal.sigtimedwait(_blocked() - before, 0) is not None:
        continue
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _limits() -> list[tuple[int, int]]:
    return list(map(resource.getrlimit, _LIMITS))


def _put_limits(before: list[tuple[int, int]]) -> None:
    """Restore the limits up to the hard limits, which only a privileged process can raise."""
    for kind, (soft, hard) in zip(_LIMITS, before, strict=True):
        now = resource.getrlimit(kind)
        if now != (soft, hard):
            try:
                resource.setrlimit(kind, (soft, hard))
            except (ValueError, PermissionError):
                resource.setrlimit(kind, (now[1], now[1]))
    if _limits() != before:
        raise Irreversible("a hard limit was lowered")


def _user() -> tuple[Any, ...]:
    root = os.stat("/")
    return os.getresuid(), os.getresgid(), os.getgroups(), (root.st_dev, root.st_ino)


def _put_user(before: tuple[Any, ...]) -> None:
    """End the process if the user or the root directory cannot be restored: it could write neither logs nor journal,
    so its worker has to."""
    users, groups, more, _ = before
    with suppress(PermissionError):
        os.setresuid(*users)
        os.setresgid(*groups)
        os.setgroups(more)
    if _user() != before:
        os.write(2, b"the call has changed the user or the root directory of its process, which cannot be put back\n")
        os._exit(1)


def _refuse(before: object) -> None:
    raise Irreversible(f"the process had {before}")


def _streams() -> tuple[Any, ...]:
    return sys.stdin, sys.stdout, sys.stderr


def _put_streams(before: tuple[Any, ...]) -> None:
    sys.stdin, sys.stdout, sys.stderr = before
    flush_streams()


def _closed() -> tuple[Any, ...]:
    return tuple([one is None or one.closed for one in (sys.__stdin__, sys.__stdout__, sys.__stderr__)])


def _hooks() -> tuple[Any, ...]:
    traces = sys.gettrace(), sys.getprofile(), threading.gettrace(), threading.getprofile(), threading.excepthook
    return *traces, *_sys_hooks(sys)


def _put_hooks(before: tuple[Any, ...]) -> None:
    sys.settrace(before[0])
    sys.setprofile(before[1])
    threading.settrace(before[2])  # None: no function, as before any call
    threading.setprofile(before[3])
    threading.excepthook = before[4]
    for name, hook in zip(_SYS_HOOKS, before[5:], strict=True):
        setattr(sys, name, hook)


def _put_path(before: list[str]) -> None:
    sys.path = before.copy()


def _put_argv(before: list[str]) -> None:
    sys.argv = before.copy()


_PARTS: tuple[tuple[Callable[[], Any], Callable[[Any], Any]], ...] = (
    (sys.getrecursionlimit, sys.setrecursionlimit),  # first: the rest needs room on the stack
    (_hooks, _put_hooks),
    (sys.get_int_max_str_digits, sys.set_int_max_str_digits),
    (sys.getswitchinterval, sys.setswitchinterval),
    (threading.stack_size, threading.stack_size),
    (gc.get_threshold, lambda before: gc.set_threshold(*before)),
    (_handlers, _put_handlers),
    (_blocked, _put_blocked),
    (_limits, _put_limits),
    (_streams, _put_streams),
    (_closed, _refuse),
    (lambda: list(sys.path), _put_path),
    (lambda: list(sys.argv), _put_argv),
    (gc.isenabled, lambda before: gc.enable() if before else gc.disable()),
    (lambda: locale.setlocale(locale.LC_ALL), lambda before: locale.setlocale(locale.LC_ALL, before)),
    (lambda: os.getpriority(os.PRIO_PROCESS, 0), lambda before: os.setpriority(os.PRIO_PROCESS, 0, before)),
    (lambda: os.sched_getaffinity(0), lambda before: os.sched_setaffinity(0, before)),
    (os.getpgrp, lambda before: os.setpgid(0, before)),
    (_user, _put_user),
)
"""How each part of the state is read and restored."""

_GETTERS = tuple(get for get, _ in _PARTS)
