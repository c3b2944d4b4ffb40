"""The environment of a call host: os.environ and C's array, which hold the same variables. It is set for each attempt,
and restored after each call.

Some of rekindle's own variables differ from attempt to attempt. Each of these has a buffer that C's array points to
(putenv(3)), and whose text is replaced. setenv(3) would copy each value, and the C library frees none of them."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Mapping
from typing import Any

from rekindle.worker.attempt_environment import base_environment

_OWN = "REKINDLE_"
_LEAST = 256
"""Bytes of the smallest buffer."""


class ProcessEnvironment:
    """Sets and restores the variables of this process."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None)
        self._array = ctypes.c_void_p.in_dll(self._libc, "environ")
        self._ours: Any = os.environ  # a call may bind os.environ to another mapping
        self._base_variables = base_environment()
        self._imported: dict[str, str | None] = {}  # set (None: removed) by an imported module
        self._entered: Mapping[str, str] = {}  # the variables of the last attempt
        self._buffers: dict[str, _Buffer] = {}  # by variable
        self._linked: set[str] = set()  # variables for which C's array points to their buffer
        self._held = dict(os.environ)
        self._write()

    def enter(self, variables: Mapping[str, str]) -> None:
        """Before a call: set the variables of its attempt, over the host's own."""
        held, base = self._held, self._base_variables
        wanted: Mapping[str, str | None] = variables
        gone = self._entered.keys() - variables.keys()
        if gone or self._imported:
            wanted = {**{name: base.get(name) for name in gone}, **variables, **self._imported}
        self._entered, zone, moved = variables, held.get("TZ"), False
        for name, value in wanted.items():
            if held.get(name) == value:
                continue
            if value is None:
                del held[name]
                self._linked.discard(name)
                os.environ.pop(name, None)
                moved = True
            else:
                moved |= self._set(name, value)
                held[name] = value
        if moved:
            if held.get("TZ") != zone:
                time.tzset()
            self._pointers = self._look()

    def keep_imported(self) -> bool:
        """Keep what the import of a module has changed. Return whether it has changed anything."""
        if not self._changed():
            return False
        found, held = dict(os.environ), self._held
        names = [name for name in {**found, **held} if found.get(name) != held.get(name)]
        self._imported.update((name, found.get(name)) for name in names)
        self._held = found
        self._write()
        return bool(names)

    def restore(self) -> None:
        """After a call: set the variables to those that it found."""
        if self._changed():
            self._write()

    def _set(self, name: str, value: str) -> bool:
        """Set a variable. Return whether C's array has changed."""
        if not name.startswith(_OWN) or "\0" in value:
            os.environ[name] = value
            return True
        buffer, text = self._buffers.get(name), os.fsencode(value)
        fits = buffer is not None and buffer.set(text)
        if buffer is None or not fits:
            buffer = self._buffers[name] = _Buffer(name, text)
            self._linked.discard(name)
        self._ours._data[buffer.name] = text  # what os.environ[name] = value does, without setenv(3)
        if name in self._linked:
            return False
        self._libc.putenv(buffer.memory)
        self._linked.add(name)
        return True

    def _write(self) -> None:
        """Set both to the same variables: those set by C code are in its array only."""
        os.environ = self._ours  # noqa: B003 - it is not replaced, but put back
        self._libc.clearenv()
        self._linked.clear()
        os.environ.clear()
        os.environ.update(self._held)
        time.tzset()
        self._pointers = self._look()

    def _changed(self) -> bool:
        """Return whether a variable has been set or removed. That changes a pointer in the array, or moves the
        array, which may then be shorter and is not read."""
        moved = self._array.value != self._pointers[0]
        replaced = getattr(os, "environ", None) is not self._ours
        return moved or replaced or self._look() != self._pointers

    def _look(self) -> tuple[int | None, bytes]:
        at = self._array.value
        return at, ctypes.string_at(at, (len(self._held) + 1) * _POINTER) if at else b""


_POINTER = ctypes.sizeof(ctypes.c_void_p)


class _Buffer:
    """Memory that holds NAME=value, for as long as this process lives: C code may keep a pointer to it."""

    def __init__(self, name: str, value: bytes) -> None:
        self.name = os.fsencode(name)
        self._start = len(self.name) + 1
        self.memory = ctypes.create_string_buffer(
            b"%b=%b" % (self.name, value), self._start + max(_LEAST, 2 * len(value) + 1)
        )
        self._view = memoryview(self.memory).cast("B")
        _ALL.append(self)

    def set(self, value: bytes) -> bool:
        """Replace the value. Return False if it is too long."""
        end = self._start + len(value) + 1
        if end > len(self._view):
            return False
        self._view[self._start : end] = value + b"\0"
        return True


_ALL: list[_Buffer] = []
