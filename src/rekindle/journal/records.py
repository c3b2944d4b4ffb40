"""The records of a worker's journal, one a line; see journal.log for the form of a line."""

from __future__ import annotations

import msgspec

from rekindle.domain.changes.fingerprints import FileFingerprints, FileRecord
from rekindle.domain.models import AttemptEnd, PartialOutput, StepOutcome
from rekindle.domain.subtasks import SubtaskEnd

HEADER_VERSION = 1

ALLOCATION = "allocation"
"""The key of the evidence of an attempt that was canceled because its allocation ends."""


class Opened(msgspec.Struct, tag="opened", frozen=True, omit_defaults=True):
    """The first line: identifies the worker."""

    worker: str
    host: str
    boot_id: str
    pid: int
    pid_start: int
    at: float
    version: int = HEADER_VERSION
    pid_space: int = 0  # the number of its pid namespace; 0: that of its runner


class Sealed(msgspec.Struct, tag="sealed", frozen=True, omit_defaults=True):
    """The first and only line of a journal that its worker has not created in time: the worker starts nothing."""

    by: str  # the runner that has reconciled the dead one
    at: float


class Started(msgspec.Struct, tag="started", frozen=True, omit_defaults=True):
    """An attempt starts. The record is written before its first process is made, so that every attempt that may have
    run is known. `pid` is therefore known for a call only (the worker's call host, which leads a process group). All
    processes of an attempt belong to the session that the worker leads (Opened has its pid), unless they left it;
    those still have REKINDLE_TOKEN in their environment.

    Later records of the attempt are dated `at` plus the time passed since. `clock` (monotonic seconds of this boot)
    lets another process date the attempt's end in the same way."""

    attempt: int
    token: str
    at: float
    pid: int | None = None
    pid_start: int | None = None
    clock: float | None = None

    def now(self, clock: float) -> float:
        """Return the date at which the monotonic clock shows `clock`."""
        return self.at if self.clock is None else self.at + max(0.0, clock - self.clock)


class StepStarted(msgspec.Struct, tag="step_started", frozen=True, omit_defaults=True):
    """A step of an attempt other than its first starts (Started stands for the first)."""

    attempt: int
    token: str
    step: int
    at: float
    pid: int | None = None
    pid_start: int | None = None


class StepEnded(msgspec.Struct, tag="step_ended", frozen=True, omit_defaults=True):
    """A step ended and another follows. Ended stands for the last step."""

    attempt: int
    token: str
    step: StepOutcome


class CachedOutputs(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an attempt has left and is kept in the content store: the number of contents, and their bytes. `problem`:
    why nothing is kept."""

    contents: int = 0
    bytes: int = 0
    problem: str = ""


class Ended(AttemptEnd, tag="ended", frozen=True, omit_defaults=True, kw_only=True):
    """An attempt ended. Beside the end: the token, and what is known of the attempt's files."""

    token: str
    prints: FileFingerprints | None = None  # its fingerprint; None: it declares no files and names no outer variable
    seen: tuple[FileRecord, ...] = ()  # digests of files that were read for `prints`, for the cache
    left: tuple[PartialOutput, ...] = ()  # declared outputs that an incomplete attempt has made or changed
    cached: CachedOutputs | None = None  # of a completed attempt of a job with `cache: true`


class FannedOut(msgspec.Struct, tag="fanned_out", frozen=True, omit_defaults=True):
    """The items of a fan-out step are known. The record is written before the first of its subtasks starts."""

    attempt: int
    token: str
    step: int
    total: int  # items, kept ones too
    run: tuple[tuple[int, str, int], ...]  # (index, item as JSON, earlier runs) of each that will run
    base: int | None = None  # the attempt whose subtasks are kept
    gone: tuple[int, ...] = ()  # indexes of its subtasks that no longer exist
    held: dict[int, str] = {}  # by index of `run`: the digest of the item's file, if it is compared later


class Depended(msgspec.Struct, tag="depended", frozen=True, omit_defaults=True):
    """What an attempt with a fan-out step depends on, as it found it before its first step. Written before FannedOut:
    a later attempt may keep subtasks of this one, also if this one is lost."""

    attempt: int
    token: str
    prints: FileFingerprints | None = None  # see Ended
    code: str | None = None  # see AttemptEnd


class Subtasks(msgspec.Struct, tag="subtasks", frozen=True, omit_defaults=True):
    """Subtasks have ended and others start. A start is written before its process is made."""

    attempt: int
    token: str
    step: int
    ended: tuple[SubtaskEnd, ...] = ()
    started: tuple[tuple[int, int], ...] = ()  # (index, number of the run)


class RecordedCode(msgspec.Struct, tag="sources", frozen=True):
    """The code of functions and the environment: see domain.changes.fingerprints.METHOD. Written before the first Ended
    that names its `digest`."""

    digest: str
    modules: dict[str, str]


class Returned(msgspec.Struct, tag="returned", frozen=True, omit_defaults=True):
    """Attempts that were assigned to this worker and that it will never start."""

    tokens: tuple[str, ...]
    attempts: tuple[int, ...]


class Leaving(msgspec.Struct, tag="leaving", frozen=True, omit_defaults=True):
    """The worker takes no more work, because of an order or because its runner is gone. Of its unreported attempts,
    only these may still start."""

    tokens: tuple[str, ...] = ()


class Closed(msgspec.Struct, tag="closed", frozen=True, omit_defaults=True):
    """The last line: the worker ended normally and has reported all its attempts."""

    at: float


Record = (
    Opened
    | Sealed
    | Started
    | StepStarted
    | StepEnded
    | FannedOut
    | Depended
    | Subtasks
    | RecordedCode
    | Ended
    | Returned
    | Leaving
    | Closed
)
