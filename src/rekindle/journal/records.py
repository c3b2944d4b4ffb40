"""What a worker writes to its journal. One record a line; see journal.ledger for the line's form."""

from __future__ import annotations

import msgspec

from rekindle.domain.changes.prints import FileSeen, Prints
from rekindle.domain.models import Failure, LeftRunning, PartialOutput, StepOutcome
from rekindle.domain.subtasks import SubtaskEnd
from rekindle.domain.verdicts import Verdict

HEADER_VERSION = 1


class Opened(msgspec.Struct, tag="opened", frozen=True, omit_defaults=True):
    """The first line: whose journal this is."""

    worker: str
    host: str
    boot_id: str
    pid: int
    pid_start: int
    at: float
    version: int = HEADER_VERSION


class Sealed(msgspec.Struct, tag="sealed", frozen=True, omit_defaults=True):
    """The first line, and the only one, of a journal that its worker has not created in time: it begins nothing."""

    by: str  # who has reconciled what the worker's runner left
    at: float


class Started(msgspec.Struct, tag="started", frozen=True, omit_defaults=True):
    """An attempt begins. This is written before its first process is made, so that no death in between can hide
    that it may have run; `pid` is therefore known for a call only (the worker's call host, which leads a process
    group). All processes of an attempt belong to the session that the worker leads (Opened has its pid), unless they
    left it; those still have REKINDLE_TOKEN in their environment.

    Later records of the attempt are dated by `at` and the time that has passed since; with `clock` (monotonic seconds
    of this boot) another process can do so that tells its end."""

    attempt: int
    token: str
    at: float
    pid: int | None = None
    pid_start: int | None = None
    clock: float | None = None

    def now(self, clock: float) -> float:
        """The date when the monotonic clock shows `clock`."""
        return self.at if self.clock is None else self.at + max(0.0, clock - self.clock)


class StepStarted(msgspec.Struct, tag="step_started", frozen=True, omit_defaults=True):
    """A step of an attempt, not its first, begins (the first one is told by Started)."""

    attempt: int
    token: str
    step: int
    at: float
    pid: int | None = None
    pid_start: int | None = None


class StepEnded(msgspec.Struct, tag="step_ended", frozen=True, omit_defaults=True):
    """A step ended and another follows. The last step that ran is told by Ended."""

    attempt: int
    token: str
    step: StepOutcome


class Ended(msgspec.Struct, tag="ended", frozen=True, omit_defaults=True):
    """An attempt ended. `state` is COMPLETED, FAILED or CANCELED; the last two carry a cause."""

    attempt: int
    token: str
    at: float
    state: int
    started: float | None = None
    cause: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    failure: Failure | None = None
    cpu_seconds: float | None = None
    max_rss_bytes: int | None = None
    result: str | None = None  # JSON text of the last step's result, or None
    verdict: Verdict | None = None  # the worst of all steps, kept ones too
    evidence: str | None = None  # JSON text: what the cause was concluded from
    steps: tuple[StepOutcome, ...] = ()  # the step it ended with, and those left out behind it; () where none was begun
    partial: bool = False  # it went on with a part of a fan-out's subtasks
    prints: Prints | None = None  # what it depended on; None: it declares no files and names no outer variable
    seen: tuple[FileSeen, ...] = ()  # the files of `prints` that were read for it, for the cache
    code: str | None = None  # the digest of a `Sources` record that this journal holds: what its functions are
    left_running: LeftRunning | None = None
    left: tuple[PartialOutput, ...] = ()  # declared outputs that it has made or changed without completing


class FannedOut(msgspec.Struct, tag="fanned_out", frozen=True, omit_defaults=True):
    """A fan-out step knows its items. This is written before the first of its subtasks starts."""

    attempt: int
    token: str
    step: int
    total: int  # items, kept ones too
    run: tuple[tuple[int, str, int], ...]  # (index, item as JSON, how often it ran before) of each that will run
    base: int | None = None  # the attempt whose subtasks are kept
    gone: tuple[int, ...] = ()  # those of it that are no more
    held: dict[int, str] = {}  # by index, the digest of the item's file, for those of `run` where it is compared later


class Subtasks(msgspec.Struct, tag="subtasks", frozen=True, omit_defaults=True):
    """Subtasks have ended and others start. A start is written before its process is made."""

    attempt: int
    token: str
    step: int
    ended: tuple[SubtaskEnd, ...] = ()
    started: tuple[tuple[int, int], ...] = ()  # (index, for the so manieth time)


class Sources(msgspec.Struct, tag="sources", frozen=True):
    """What functions are made of, and the environment: see domain.changes.prints.METHOD. Written before the first
    Ended that names its `digest`."""

    digest: str
    modules: dict[str, str]


class Returned(msgspec.Struct, tag="returned", frozen=True, omit_defaults=True):
    """Attempts that this worker was given and will never start."""

    tokens: tuple[str, ...]
    attempts: tuple[int, ...]


class Leaving(msgspec.Struct, tag="leaving", frozen=True, omit_defaults=True):
    """The worker takes nothing more, because it was told to stop or has lost its runner. Of what it was given and has
    not told of it may begin these, and surely nothing else."""

    tokens: tuple[str, ...] = ()


class Closed(msgspec.Struct, tag="closed", frozen=True, omit_defaults=True):
    """The last line: the worker ended in order and everything it was given is told."""

    at: float


Record = (
    Opened
    | Sealed
    | Started
    | StepStarted
    | StepEnded
    | FannedOut
    | Subtasks
    | Sources
    | Ended
    | Returned
    | Leaving
    | Closed
)
