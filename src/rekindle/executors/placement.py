"""The public interface of a placement: another engine (Slurm, Dask, HyperQueue, ...) that starts batches of elements.

An element is one worker process with attempts of its own: it runs `Batch.argv` with its index as the last argument, on
whatever host the engine chooses. It reads its attempts from the store's spool folder, which all hosts share, and
writes their outcomes to a journal there. A placement therefore carries no results. It starts elements, says how far
each is and why it ended, and cancels. Whether an attempt has ended is decided from the journal first.

rekindle calls a placement from one thread, which is not that of the runner's loop. Each call should return or raise
within CALL_SECONDS; a longer one delays only the news of other elements.

Two processes may try to start one element, for example after a crash in the middle of `submit`: the journal, which each
element creates with O_EXCL, lets only one of them work. A placement need not care.

A package offers a placement as an entry point of the group `rekindle.placements`, whose name is the executor's:
`--executor NAME` then calls it with the address that the user gave (`--address`, or None), and it returns a Placement.
The suite `rekindle.testing.placements` checks one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import Enum
from typing import Any, Protocol

import msgspec

from rekindle.domain.errors import ExecutorError
from rekindle.domain.states import Cause

CALL_SECONDS = 10.0
"""The time in which a call of a placement should return or raise PlacementUnreachable."""

ENTRY_POINTS = "rekindle.placements"
"""The group of entry points in which packages offer placements."""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Elements to start, all alike. `elements` of them have the indices 0, 1, ..."""

    token: str  # unique, 16 hexadecimal digits: `adopt` finds the batch by it
    name: str  # a name for the engine's own lists; ends with the token
    argv: tuple[str, ...]  # the command of each element, without its index
    elements: int
    folder: str  # absolute, on the shared file system, and there: for the engine's own files, such as INDEX.err
    cpus: int = 1  # of each element
    memory: int = 0  # bytes of each element; 0: no request
    gpus: int = 0
    seconds: float | None = None  # of wall time of each element; None: the engine's own limit
    at_once: int | None = None  # the most elements that may run at the same time; None: no limit
    options: tuple[str, ...] = ()  # further arguments for the engine, as the user gave them

    def command(self, index: int) -> tuple[str, ...]:
        """Return the command of one element."""
        return (*self.argv, str(index))


class Phase(Enum):
    """How far an element is."""

    PENDING = "pending"
    RUNNING = "running"
    ENDED = "ended"  # its processes are gone, or the engine believes so


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine says of one element. Of an ended one: its `cause`, or None for an end without one, and `message`
    and `evidence` as the engine gives them (its state, exit code, node, ...)."""

    handle: str
    element: int
    phase: Phase
    cause: Cause | None = None
    message: str = ""
    evidence: Mapping[str, Any] = msgspec.field(default_factory=dict)
    restarts: int = 0  # how often the engine has started it again by itself
    node_down: bool = False  # it ended because its node did not answer: processes may still run there
    waits_for: str = ""  # the engine's reason why it is pending
    never_starts: bool = False  # it waits for something that will not happen without a change by somebody


class PlacementRefused(ExecutorError):
    """The engine will never take the batch as it is. Nothing of it was taken."""


class PlacementBusy(ExecutorError):
    """The engine takes no more at present, for example because of a limit on submitted jobs. Nothing was taken; a
    smaller batch may be."""


class PlacementUnreachable(ExecutorError):
    """The engine does not answer. It may have done what was asked of it."""


class Placement(Protocol):
    """Starts batches of elements on another engine. Every method may raise PlacementUnreachable."""

    name: str

    def max_elements(self) -> int | None:
        """Return how many elements a batch may have; None: any number."""
        return None

    def submit(self, batch: Batch) -> str:
        """Start a batch, and return a handle: a text that names it to the engine, also in a later process.

        Raise PlacementRefused or PlacementBusy if the engine does not take it."""
        ...

    def poll(self, handles: Collection[str]) -> Sequence[Seen]:
        """Return what the engine says now of each element of these batches. An element that the engine does not know
        (any more) is left out: that alone is no end."""
        ...

    def cancel(self, elements: Mapping[str, Collection[int]]) -> None:
        """Cancel elements, by handle. Those that have ended, or that the engine does not know, are ignored."""
        ...

    def adopt(self, tokens: Collection[str]) -> Mapping[str, str]:
        """Return the handles, by token, of those batches that the engine knows: an earlier process submitted them, or
        a call of `submit` was cut off."""
        ...

    def close(self) -> None:
        """Release connections. Elements continue."""
        ...
