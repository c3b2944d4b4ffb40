"""What a worker and its call host say to each other: JSON lines over two pipes, and a few shared bytes."""

from __future__ import annotations

import mmap
import os
import struct
from typing import Any

import msgspec

from rekindle.journal.encoding import json_reader, to_json
from rekindle.journal.orders import Assignment, Recipe
from rekindle.worker.findings import StepEnd

ORDERS, REPLIES, BOARD = 3, 4, 5
"""The descriptors that a call host is started with."""

TURN = 0.020
"""Seconds after which a host reports, so that its worker sees orders between short calls."""


class Batch(msgspec.Struct, tag="batch", frozen=True):
    """Make these attempts, each of one step that is a call. The host journals them; `code` is the digest of the modules
    that the function is."""

    work: tuple[Assignment, ...]
    code: str | None = None


class Subtask(msgspec.Struct, frozen=True):
    """One item of a fan-out step, in a run of it."""

    index: int
    item: str  # JSON text
    folder: str


class One(msgspec.Struct, tag="one", frozen=True):
    """Do one step of an attempt and answer how it ended. `kept` of the assignment holds earlier steps' results."""

    assignment: Assignment
    position: int
    items: bool = False  # of a fan-out step: find its items
    subtask: Subtask | None = None  # or do one of them


class Done(msgspec.Struct, tag="done", frozen=True):
    """The first `count` of a batch have ended and are journalled; the others have not been started. Unless `fresh`,
    the host is of no more use: its code is outdated, or a call has left processes behind."""

    count: int
    fresh: bool


class Answer(msgspec.Struct, tag="answer", frozen=True):
    """How a step ended; None: it was not started, because the host's code is outdated."""

    end: StepEnd | None
    fresh: bool


Task = Recipe | Batch | One
Reply = Done | Answer


def send(fd: int, message: Task | Reply) -> None:
    """Write one message; the pipe blocks when it is full. BrokenPipeError when nobody reads any more."""
    line = memoryview(to_json(message) + b"\n")
    while line:
        line = line[os.write(fd, line) :]


class Lines:
    """Whole lines out of a pipe."""

    def __init__(self, fd: int, kind: Any) -> None:
        self._fd = fd
        self._decode = json_reader(kind)
        self._rest = b""
        self.ended = False

    def take(self) -> list[Any]:
        """Read once and decode the whole lines there are now. `ended` tells that the writer has gone."""
        try:
            read = os.read(self._fd, 1 << 20)
        except BlockingIOError:
            return []
        if not read:
            self.ended = True
            return []
        *lines, self._rest = (self._rest + read).split(b"\n")
        return [self._decode(line) for line in lines]


_START, _CLAIMED, _HALT, _HELD, _TROUBLE = 0, 8, 12, 16, 24
_SIZE = 28


class Board:
    """The bytes that a worker and its host share: when the call that runs began (monotonic seconds; 0: none runs),
    what the host held before it (bytes; where the call has a limit), which of its batch the host has claimed,
    whether it shall claim no more, and the error with which the disk fails the host.

    The host claims first and looks for the halt then: what lies behind the claimed one when the halt was set, and the
    host was seen to stand still, is never started."""

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, _SIZE)

    @staticmethod
    def make() -> int:
        """A descriptor for a new board."""
        fd = os.memfd_create("rekindle-board", os.MFD_CLOEXEC)
        os.ftruncate(fd, _SIZE)
        return fd

    def reset(self) -> None:
        """Before a batch: nothing claimed, nothing runs, no halt."""
        self._memory[:] = bytes(_SIZE)

    def claim(self, position: int) -> bool:
        """The host's: claim one of the batch; whether it may be started."""
        struct.pack_into("=I", self._memory, _CLAIMED, position)
        return not self._memory[_HALT]

    @property
    def claimed(self) -> int:
        """The last position claimed."""
        return int(struct.unpack_from("=I", self._memory, _CLAIMED)[0])

    def halt(self) -> None:
        """Let the host claim no more."""
        self._memory[_HALT] = 1

    @property
    def start(self) -> float:
        """When the call that runs began."""
        return float(struct.unpack_from("=d", self._memory, _START)[0])

    @start.setter
    def start(self, at: float) -> None:
        struct.pack_into("=d", self._memory, _START, at)

    @property
    def held(self) -> int:
        """What the host held before the call that runs."""
        return int(struct.unpack_from("=Q", self._memory, _HELD)[0])

    @held.setter
    def held(self, size: int) -> None:
        struct.pack_into("=Q", self._memory, _HELD, size)

    @property
    def trouble(self) -> int:
        """With what error (its number) the disk keeps the host from going on; 0: it does not."""
        return int(struct.unpack_from("=I", self._memory, _TROUBLE)[0])

    def complain(self, number: int) -> None:
        """The host's: tell of that, or with 0 that it has ended."""
        struct.pack_into("=I", self._memory, _TROUBLE, number)

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()
