"""The protocol between a worker and its call host: JSON lines over two pipes, and a few shared bytes."""

from __future__ import annotations

import mmap
import os
import struct
from typing import Any

import msgspec

from rekindle.journal.encoding import json_reader, to_json
from rekindle.journal.orders import Assignment, TaskTemplate
from rekindle.worker.steps import StepEnd

TASKS_FD, REPLIES_FD, STATUS_FD, WAKE_FD = 3, 4, 5, 6
"""The descriptors that a call host is started with. A byte written to the last wakes the runner."""

REPORT_INTERVAL = 0.020
"""Seconds after which a host replies, so that its worker sees orders between short calls."""


class BatchTask(msgspec.Struct, tag="batch", frozen=True):
    """Run these attempts of one call step each. The host journals them; `code` is the digest of the function's
    modules."""

    work: tuple[Assignment, ...]
    code: str | None = None


class SubtaskRun(msgspec.Struct, frozen=True):
    """One run of one item of a fan-out step."""

    index: int
    item: str  # JSON text
    folder: str


class StepTask(msgspec.Struct, tag="one", frozen=True):
    """Run one step of an attempt and reply with its end. `kept` of the assignment has earlier steps' results."""

    assignment: Assignment
    position: int
    items: bool = False  # of a fan-out step: find its items
    subtask: SubtaskRun | None = None  # or do one of them


class BatchReply(msgspec.Struct, tag="done", frozen=True):
    """The first `count` attempts have ended and are journaled; the others have not started. Unless `fresh`, the host
    cannot be used again: its code is outdated, or a call has left processes behind."""

    count: int
    fresh: bool


class StepReply(msgspec.Struct, tag="answer", frozen=True):
    """How a step ended; None: it was not started, because the host's code is outdated."""

    end: StepEnd | None
    fresh: bool


Task = TaskTemplate | BatchTask | StepTask
Reply = BatchReply | StepReply


def send(fd: int, *messages: Task | Reply) -> None:
    """Write messages; block while the pipe is full. Raise BrokenPipeError if the reader is gone."""
    lines = memoryview(b"".join(to_json(message) + b"\n" for message in messages))
    while lines:
        lines = lines[os.write(fd, lines) :]


_PIPE_SIZE, _FILE_SIZE = 1 << 16, 1 << 20
"""The bytes that are read at once: a pipe holds no more, and each read would map memory for more."""


class LineReader:
    """Reads whole lines from a pipe, or from a file that grows."""

    def __init__(self, fd: int, kind: Any, *, grows: bool = False) -> None:
        """`grows`: the end of the file is not the end of its lines."""
        self._fd = fd
        self._grows = grows
        self._most = _FILE_SIZE if grows else _PIPE_SIZE
        self._decode = json_reader(kind)
        self._rest = b""
        self.ended = False

    def take(self) -> list[Any]:
        """Read once and return the decoded complete lines. `ended` is set when the writer has gone."""
        try:
            read = os.read(self._fd, self._most)
        except BlockingIOError:
            return []
        if not read:
            self.ended = not self._grows
            return []
        *lines, self._rest = (self._rest + read).split(b"\n")
        return [one for line in lines if line and (one := self._decoded(line)) is not None]

    def _decoded(self, line: bytes) -> Any:
        """Return a line's document; None: a writer of the file died within the line, and another went on."""
        try:
            return self._decode(line)
        except ValueError:
            if not self._grows:
                raise
            return None


_START, _CLAIMED, _STOP, _HELD, _DISK_ERROR = 0, 8, 12, 16, 24
_SIZE = 28


class SharedStatus:
    """Memory shared by a worker and its host: the start of the running call (monotonic seconds; 0: none), the bytes
    that the host held before it (if limited), the claimed position in the batch, a flag that stops claims, and the
    host's disk error.

    The host first claims, then checks the flag. So once the flag is set and the host was seen stopped, no attempt
    behind the claimed one starts."""

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, _SIZE)

    @staticmethod
    def make() -> int:
        """Return a descriptor for new shared memory."""
        fd = os.memfd_create("rekindle-board", os.MFD_CLOEXEC)
        os.ftruncate(fd, _SIZE)
        return fd

    def reset(self) -> None:
        """Clear everything before a batch."""
        self._memory[:] = bytes(_SIZE)

    def claim(self, position: int) -> bool:
        """Claim a position of the batch (host). Return whether it may start."""
        struct.pack_into("=I", self._memory, _CLAIMED, position)
        return not self._memory[_STOP]

    @property
    def claimed(self) -> int:
        """The last claimed position."""
        return int(struct.unpack_from("=I", self._memory, _CLAIMED)[0])

    def stop_claims(self) -> None:
        """Make the host claim no more."""
        self._memory[_STOP] = 1

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
    def disk_error(self) -> int:
        """The number of the disk error that stops the host; 0: none."""
        return int(struct.unpack_from("=I", self._memory, _DISK_ERROR)[0])

    def report_disk_error(self, number: int) -> None:
        """Set the disk error (host); 0 clears it."""
        struct.pack_into("=I", self._memory, _DISK_ERROR, number)

    def close(self) -> None:
        """Release the memory."""
        self._memory.close()
